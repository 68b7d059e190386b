"""``ddsctl store check``: does a store do what deliveries need of it?"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ddsctl import completion, output, session
from ddsctl.commands.jobs import until_ended
from ddsctl.output import Column, Format
from ddsctl.session import AsJson, AsTsv
from ddsd.contract.words import Verdict

if TYPE_CHECKING:
    from ddsd.contract.admin import StoreCheck

_LONGEST_WAIT_S: Final = 3600.0
_WIDTH: Final = 100
_WARNED, _UNFIT = 1, 2


def check(
    ctx: typer.Context,
    unit: Annotated[
        str | None,
        typer.Argument(
            help="The unit whose store is checked, by its public ID. If not given: the configured store.",
            autocompletion=completion.units,
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="Show the last check again, and perform none.")
    ] = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Check whether a store does what deliveries need, and how fast it is; say what to do where it does not.

    The daemon does it, with scratch buckets that it removes again. Projects are not touched, and go on meanwhile.

    Exit codes: 0 all is well; 1 deliveries work, with warnings; 2 something that deliveries need is missing. As
    everywhere: 2 also for a command line that cannot be understood, 65, 69 and 77 when no check was performed.

    Example: ddsctl store check
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import CheckStore, Job, StoreCheck

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        if not last:
            job = daemon.post("/store/checks", CheckStore(unit=unit), Job)
            until_ended(daemon, job.id, _LONGEST_WAIT_S)
        found = daemon.get_list("/store/checks", StoreCheck, unit=unit)
    columns = _exact_columns() if here.format is Format.TSV else _columns()
    output.show_list(found, columns, here.format, empty="This store was never checked.")
    if here.format is Format.TABLE:
        _tell(found)
    raise typer.Exit(_exit_code(found))


def _columns() -> list[Column[StoreCheck]]:
    return [
        Column("check", lambda one: one.name),
        Column("what the store does", lambda one: one.capability),
        Column("verdict", lambda one: one.verdict.value),
        Column("seen", lambda one: one.seen),
    ]


def _exact_columns() -> list[Column[StoreCheck]]:
    return [
        *_columns(),
        Column("meaning", lambda one: one.meaning),
        Column("remedy", lambda one: one.remedy),
        Column("seconds", lambda one: one.seconds),
        Column("checked", lambda one: one.checked_at),
    ]


def _tell(found: Sequence[StoreCheck]) -> None:
    """Say what each failure means and what to do, and then how it is altogether."""
    for one in found:
        if one.verdict in {Verdict.WARNING, Verdict.FAILED}:
            typer.echo(f"\n{one.name}: {one.verdict.value}")
            for title, text in (("What it means", one.meaning), ("What to do", one.remedy)):
                told = textwrap.fill(
                    output.printable(text),
                    _WIDTH,
                    initial_indent=f"  {title}: ",
                    subsequent_indent="    ",
                )
                typer.echo(told)
    if found:
        typer.echo(f"\n{_altogether(found)}")


def _altogether(found: Sequence[StoreCheck]) -> str:
    if found[0].verdict is Verdict.FAILED:
        return "The store does not answer: nothing else was tried."
    count = {verdict: sum(one.verdict is verdict for one in found) for verdict in Verdict}
    return (
        f"{count[Verdict.PASSED]} passed, {count[Verdict.WARNING]} warnings, {count[Verdict.FAILED]} failed, "
        f"{count[Verdict.NOT_TRIED]} not tried."
    )


def _exit_code(found: Sequence[StoreCheck]) -> int:
    verdicts = {one.verdict for one in found}
    if Verdict.FAILED in verdicts:
        return _UNFIT
    return _WARNED if Verdict.WARNING in verdicts else 0
