"""``ddsctl lifecycle``: what deadlines do by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from ddsctl import completion, output, session
from ddsctl.commands.jobs import until_ended
from ddsctl.confirm import DryRun, tell_dry_run
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv, Session

if TYPE_CHECKING:
    from ddsd.contract.admin import Due, NightRun, UndoDays

_LONGEST_WAIT_S: Final = 3600.0

app = typer.Typer(
    help="What deadlines do by themselves: expire, archive, remove.", no_args_is_help=True
)


@app.command()
def due(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """List what the next night will do, and what is held back and why. Changes nothing.

    Steps: expire; hide (archived, the data kept for the unit's undo window); archive (the data goes at once);
    purge (the data goes); finish (an end that was interrupted).

    Example: ddsctl lifecycle due
    """
    _show_due(session.of(ctx, as_json, as_tsv))


@app.command()
def run(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what is due, as ddsctl lifecycle due.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Do now what the next night would do, in the background.

    Example: ddsctl lifecycle run --dry-run
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import NightRun

    here = session.of(ctx, as_json, as_tsv)
    if dry_run:
        _show_due(here)
        return
    with Daemon(here.socket) as daemon:
        begun = daemon.post("/lifecycle/run", None, NightRun)
        if wait and begun.job is not None:
            until_ended(daemon, begun.job, _LONGEST_WAIT_S)
    output.show_record(begun, _lines(), here.format)


@app.command()
def configure(
    ctx: typer.Context,
    unit: Annotated[
        str,
        typer.Argument(
            help="The unit's public ID.", autocompletion=completion.units, show_default=False
        ),
    ],
    undo_days: Annotated[
        int,
        typer.Option(
            help="Days in which a project that its deadline archived can be restored, 0 (none) to 90.",
            show_default=False,
        ),
    ],
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Set a unit's undo window. Projects that wait in it already keep their moment.

    Example: ddsctl lifecycle configure genomics --undo-days 14
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import SetUndoDays, UndoDays

    here = session.of(ctx, as_json, as_tsv)
    wanted = SetUndoDays(days=undo_days, dry_run=dry_run)
    with Daemon(here.socket) as daemon:
        told = daemon.put(path("units", unit, "undo-days"), wanted, UndoDays)
    output.show_record(told, _window(), here.format)
    tell_dry_run(dry_run)


def _window() -> list[Column[UndoDays]]:
    return [Column("unit", lambda one: one.unit), Column("undo days", lambda one: one.days)]


def _show_due(here: Session) -> None:
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Due

    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/lifecycle/due", Due)
    output.show_list(found, _columns(), here.format, empty="Nothing is due.")


def _columns() -> list[Column[Due]]:
    return [
        Column("project", lambda one: one.project),
        Column("unit", lambda one: one.unit),
        Column("status", lambda one: one.status),
        Column("step", lambda one: one.step),
        Column("due since", lambda one: one.since),
        Column("held back by", lambda one: one.held),
    ]


def _lines() -> list[Column[NightRun]]:
    return [Column("started", lambda one: one.started), Column("job", lambda one: one.job)]
