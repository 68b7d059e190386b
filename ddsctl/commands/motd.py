"""``ddsctl motd``: messages of the day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ddsctl import output, session
from ddsctl.confirm import Yes, confirm
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv

if TYPE_CHECKING:
    from ddsd.contract.admin import Mailing, Motd

app = typer.Typer(
    help="Messages of the day: shown at every command of the stock client.", no_args_is_help=True
)
Number = Annotated[
    int, typer.Argument(help="The message's number in ddsctl motd ls.", show_default=False)
]


@app.command()
def add(
    ctx: typer.Context,
    message: Annotated[
        str, typer.Argument(help="What to tell everybody, in quotes.", show_default=False)
    ],
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Show a message to everybody from now on. Nothing is mailed.

    Example: ddsctl motd add "On Sunday the service is closed from 8:00 to 10:00 UTC."
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import AddMotd, Motd

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        made = daemon.post("/motds", AddMotd(message=message), Motd)
    output.show_record(made, _columns(), here.format)


@app.command()
def ls(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also those shown no more.")] = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """List the messages that are shown, newest first.

    Example: ddsctl motd ls --all
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Motd

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/motds", Motd, every=every)
    output.show_list(found, _columns(), here.format, empty="No message is shown.")


@app.command()
def deactivate(
    ctx: typer.Context, number: Number, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Show a message no more. Letters with it that have not left yet are withdrawn.

    Example: ddsctl motd deactivate 3
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Motd

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        ended = daemon.post(f"/motds/{number}/deactivate", None, Motd)
    output.show_record(ended, _columns(), here.format)


@app.command()
def send(
    ctx: typer.Context,
    number: Number,
    unit_only: Annotated[
        bool, typer.Option("--unit-only", help="Only to people who work for a unit.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell to how many people it would go.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Mail a message that is shown to everybody with an account; to nobody twice.

    A job writes the letters; it goes on where it was if the daemon is stopped. Sent again, a message goes only to
    those it has not reached: who has come since, and those whose letter has failed.

    Example: ddsctl motd send 3 --unit-only
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Mailing, SendMotd

    here = session.of(ctx, as_json, as_tsv)
    where = f"/motds/{number}/send"
    with Daemon(here.socket) as daemon:
        counted = daemon.post(where, SendMotd(unit_only=unit_only, dry_run=True), Mailing)
        if not dry_run:
            confirm(f"Mail message {number} to {counted.people} people?", yes=yes)
            counted = daemon.post(where, SendMotd(unit_only=unit_only), Mailing)
    output.show_record(counted, _mailing(), here.format)


def _columns() -> list[Column[Motd]]:
    return [
        Column("number", lambda one: one.id, right=True),
        Column("written", lambda one: one.created_at),
        Column("shown", lambda one: one.active),
        Column("message", lambda one: one.message),
    ]


def _mailing() -> list[Column[Mailing]]:
    return [
        Column("number", lambda one: one.id),
        Column("to", lambda one: "people of units" if one.unit_only else "everybody"),
        Column("people", lambda one: one.people),
    ]
