"""One that failed is tried again by its number, or all that failed with ``--failed``, which asks first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from ddsctl import output
from ddsctl.confirm import confirm, tell_dry_run
from ddsctl.output import Column

if TYPE_CHECKING:
    from ddsctl.session import Session
    from ddsd.contract.admin import TriedAgain

Number = Annotated[
    int | None,
    typer.Argument(help="Which one, by its number in the list.", show_default=False),
]


def is_all(number: int | None, *, failed: bool, excluded: Mapping[str, bool]) -> bool:
    """Say whether all are meant, or one.

    Raises:
        BadParameter: both are, or neither; or all, with an option that goes with one only.
    """
    if (number is None) is not failed:
        raise typer.BadParameter("Give either a NUMBER or --failed.")
    if failed and any(excluded.values()):
        raise typer.BadParameter(f"--failed goes without {', '.join(excluded)}.")
    return failed


def refuse(*, dry_run: bool) -> None:
    """Refuse a dry run where one is tried again.

    Raises:
        BadParameter: it is asked for.
    """
    if dry_run:
        raise typer.BadParameter("--dry-run goes with --failed only.")


def try_all(here: Session, where: str, what: str, *, dry_run: bool, yes: bool) -> None:
    """Ask, and have all that failed tried again, a step at a time."""
    from ddsctl.client import Daemon
    from ddsd.contract.admin import TriedAgain, TryAgain

    with Daemon(here.socket) as daemon:
        told = daemon.post(where, TryAgain(dry_run=True), TriedAgain)
        if told.count and not dry_run:
            confirm(f"Try {told.count} failed {what} again?", yes=yes)
            told = step = daemon.post(where, TryAgain(), TriedAgain)
            while step.more:
                step = daemon.post(where, TryAgain(after=step.last), TriedAgain)
                told = TriedAgain(count=told.count + step.count, last=step.last)
    output.show_record(told, _lines(what), here.format)
    tell_dry_run(dry_run)


def _lines(what: str) -> list[Column[TriedAgain]]:
    return [Column(f"{what} tried again", lambda one: one.count)]
