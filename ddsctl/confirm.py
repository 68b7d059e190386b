"""Asks before something is done that hurts. The question goes to stderr: what is printed stays what was asked for."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ddsctl.failures import ExitCode, Failure

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if the person at the terminal says so.

    Raises:
        Failure: they say no, or there is nobody to ask and ``yes`` was not given.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(
            ExitCode.REFUSED_INPUT, f"{question} There is nobody to ask: say so with --yes."
        )
    if not typer.confirm(question, err=True):
        raise Failure(ExitCode.FAILED, "nothing was done.")
