"""Asks for secrets: from a file, from standard input, or from the person at the terminal, who does not see it typed.

Never from the command line itself, which everybody on the machine can read.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import typer

from ddsctl.failures import ExitCode, Failure

STDIN: Final = Path("-")


def secret(what: str, file: Path | None, option: str) -> str:
    """Return a secret without the line end.

    Args:
        what: how to ask for it.
        file: where it is; ``-`` is standard input; ``None``: ask, or read standard input where nobody can be asked.
        option: how the file is named on the command line.

    Raises:
        Failure: the file cannot be read, or there is none and nobody to ask.
    """
    if file is None and sys.stdin.isatty():
        return str(typer.prompt(what, hide_input=True, err=True))
    try:
        text = sys.stdin.readline() if file is None or file == STDIN else file.read_text("utf-8")
    except (OSError, ValueError) as wrong:
        raise Failure(
            ExitCode.REFUSED_INPUT, f"{option}: {file} cannot be read: {wrong}"
        ) from wrong
    found = text.strip("\r\n")
    if not found:
        raise Failure(
            ExitCode.REFUSED_INPUT,
            f"{what}: there is none. Name a file with {option}, or pipe it to standard input.",
        )
    return found
