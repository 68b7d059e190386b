"""``ddsctl user``: accounts. No password ever passes through here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ddsctl import output, session
from ddsctl.output import Column, Format
from ddsctl.session import AsJson, AsTsv
from ddsd.contract.words import Role

if TYPE_CHECKING:
    from ddsd.contract.admin import NewUser, User

app = typer.Typer(help="Accounts of people.", no_args_is_help=True)


@app.command()
def create(
    ctx: typer.Context,
    username: Annotated[
        str,
        typer.Argument(
            help="What they log in with: 3 to 30 letters, digits, '_', '.' and '-'.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option(help="The person's name.", show_default=False)],
    email: Annotated[str, typer.Option(help="Where they are written to.", show_default=False)],
    role: Annotated[Role, typer.Option(help="What they are.", show_default=False)],
    unit: Annotated[
        str | None,
        typer.Option(
            help="Public ID of their unit; for unit-admin and unit-personnel.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Make an account, and the link its person sets the password with.

    The link is shown once and works once. Send it to that person alone: whoever opens it first chooses the
    password. Nobody, you included, can read or choose the password for them.

    Example: ddsctl user create maria --name "Maria Berg" --email maria@example.org --role unit-admin --unit genomics
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import CreateUser, NewUser

    here = session.of(ctx, as_json, as_tsv)
    wanted = CreateUser(username=username, name=name, email=email, role=role, unit=unit)
    with Daemon(here.socket) as daemon:
        made = daemon.post("/users", wanted, NewUser)
    output.show_record(made, _new_lines(), here.format)
    if here.format is Format.TABLE:
        typer.echo(
            f"\nSend this link to {name} ({email}) alone, now: it is not shown again, works once and for "
            f"{made.link_hours} hours, and whoever opens it first chooses the password."
        )


@app.command()
def ls(
    ctx: typer.Context,
    unit: Annotated[
        str | None, typer.Option(help="Only the people of this unit.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """List the accounts.

    Example: ddsctl user ls --unit genomics
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import User

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/users", User, unit=unit)
    output.show_list(
        found,
        _columns(),
        here.format,
        empty="There are no accounts. See: ddsctl user create --help",
    )


def _columns() -> list[Column[User]]:
    return [
        Column("username", lambda one: one.username),
        Column("name", lambda one: one.name),
        Column("email", lambda one: one.email),
        Column("role", lambda one: one.role.value),
        Column("unit", lambda one: one.unit),
        Column("active", lambda one: one.active),
        Column("has password", lambda one: one.has_password),
    ]


def _new_lines() -> list[Column[NewUser]]:
    return [
        Column("username", lambda one: one.username),
        Column("link", lambda one: one.link),
        Column("link hours", lambda one: one.link_hours),
    ]
