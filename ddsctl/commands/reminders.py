"""``ddsctl reminders``: letters before a project's deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ddsctl import completion, output, session
from ddsctl.confirm import Yes, confirm
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv

if TYPE_CHECKING:
    from ddsd.contract.admin import DueReminder, UnitReminders

app = typer.Typer(
    help="Letters before a deadline, to those who have not downloaded everything.",
    no_args_is_help=True,
)
_NOTHING = "No reminder is due."


@app.command()
def due(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """Tell which letters the next daily run would write. Nothing is written.

    Example: ddsctl reminders due
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import DueReminder

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/reminders/due", DueReminder)
    output.show_list(found, _due(), here.format, empty=_NOTHING)


@app.command()
def send(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The same as reminders due.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Write the letters that are due now, instead of at the next daily run. Nobody is reminded twice.

    Example: ddsctl reminders send --yes
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import DueReminder

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/reminders/due", DueReminder)
        if found and not dry_run:
            people = sum(len(one.to_remind) for one in found)
            confirm(f"Remind {people} people of {len(found)} projects?", yes=yes)
            found = daemon.post_for_list("/reminders/send", None, DueReminder)
    output.show_list(found, _due(), here.format, empty=_NOTHING)


@app.command()
def ls(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """List on which days before a deadline each unit's researchers are reminded.

    Example: ddsctl reminders ls
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import UnitReminders

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/reminders/units", UnitReminders)
    output.show_list(
        found, _units(), here.format, empty="There are no units yet. See: ddsctl unit create --help"
    )


@app.command("set")
def set_days(
    ctx: typer.Context,
    unit: Annotated[
        str,
        typer.Argument(
            help="The unit's public ID.", autocompletion=completion.units, show_default=False
        ),
    ],
    days: Annotated[
        str | None,
        typer.Option(help="Days before the deadline, such as 14,7,1.", show_default=False),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Remind nobody.")] = False,
    default: Annotated[
        bool, typer.Option("--default", help="As reminders.days in the configuration says.")
    ] = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Say on which days before a deadline a unit's researchers are reminded.

    Example: ddsctl reminders set genomics --days 21,7,2
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import SetReminders, UnitReminders

    if [days is not None, off, default].count(True) != 1:
        raise typer.BadParameter("give one of --days, --off and --default.")
    here = session.of(ctx, as_json, as_tsv)
    wanted = SetReminders(days="" if off else days)
    with Daemon(here.socket) as daemon:
        now = daemon.put(path("reminders", "units", unit), wanted, UnitReminders)
    output.show_record(now, _units(), here.format)


def _due() -> list[Column[DueReminder]]:
    return [
        Column("unit", lambda one: one.unit),
        Column("project", lambda one: one.public_id),
        Column("deadline", lambda one: one.deadline),
        Column("days before", lambda one: one.step, right=True),
        Column("lack files", lambda one: one.lacking, right=True),
        Column("to remind", lambda one: ", ".join(one.to_remind)),
        Column("unit is told", lambda one: one.tells_unit),
    ]


def _units() -> list[Column[UnitReminders]]:
    return [
        Column("unit", lambda one: one.unit),
        Column("days before", lambda one: ", ".join(map(str, one.days)) or "never"),
        Column("own", lambda one: one.own),
    ]
