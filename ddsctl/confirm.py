"""Asks before something is done that hurts. The question goes to stderr: what is printed stays what was asked for."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ddsctl.failures import ExitCode, Failure

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only tell what would come of it, and change nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def tell_dry_run(dry_run: bool) -> None:
    """Say that what was printed has not happened, if it has not."""
    if dry_run:
        typer.echo("Dry run: nothing was changed. This is how it would be.", err=True)


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
