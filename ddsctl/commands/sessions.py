"""``ddsctl session``: who is logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ddsctl import completion, output, session
from ddsctl.confirm import Yes, confirm
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv

if TYPE_CHECKING:
    from ddsd.contract.admin import Ended, Session

app = typer.Typer(help="Sessions: who is logged in.", no_args_is_help=True)

Whose = Annotated[
    str | None,
    typer.Option(
        "--user", help="Of this account.", autocompletion=completion.usernames, show_default=False
    ),
]


@app.command()
def ls(
    ctx: typer.Context, user: Whose = None, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """List the living sessions, newest first.

    Example: ddsctl session ls --user maria
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Session

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/sessions", Session, user=user)
    output.show_list(found, _columns(), here.format, empty="There are no sessions.")


@app.command()
def revoke(
    ctx: typer.Context,
    number: Annotated[
        int | None,
        typer.Argument(help="The session's number in ddsctl session ls.", show_default=False),
    ] = None,
    user: Whose = None,
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """End one session, or with --user all of an account. They are dead at once; the person can log in again.

    Example: ddsctl session revoke --user maria
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import Ended

    here = session.of(ctx, as_json, as_tsv)
    if (number is None) == (user is None):
        raise typer.BadParameter("Name one session by its number, or an account with --user.")
    confirm(f"End {f'session {number}' if user is None else f'every session of {user}'}?", yes=yes)
    with Daemon(here.socket) as daemon:
        if user is None:
            ended = daemon.delete(path("sessions", str(number)), Ended)
        else:
            ended = daemon.delete("/sessions", Ended, user=user)
    output.show_record(ended, _lines(), here.format)


def _columns() -> list[Column[Session]]:
    return [
        Column("number", lambda one: one.id, right=True),
        Column("user", lambda one: one.username),
        Column("kind", lambda one: one.kind),
        Column("from", lambda one: one.address),
        Column("client", lambda one: one.agent),
        Column("since", lambda one: one.created_at),
        Column("until", lambda one: one.expires_at),
        Column("second factor", lambda one: not one.partial),
    ]


def _lines() -> list[Column[Ended]]:
    return [Column("sessions ended", lambda one: one.sessions)]
