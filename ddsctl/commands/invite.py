"""``ddsctl invite``: people who are asked to join and have not answered yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ddsctl import completion, output, session
from ddsctl.confirm import DryRun, Yes, confirm, tell_dry_run
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv
from ddsd.contract.words import Role

if TYPE_CHECKING:
    from ddsd.contract.admin import Invite, NewInvite

app = typer.Typer(help="Invites: people asked to join.", no_args_is_help=True)


@app.command()
def create(
    ctx: typer.Context,
    email: Annotated[
        str, typer.Argument(help="Whom to ask; the link is mailed there.", show_default=False)
    ],
    role: Annotated[
        Role, typer.Option(help="What they will be; not researcher.", show_default=False)
    ],
    unit: Annotated[
        str | None,
        typer.Option(
            help="Public ID of their unit; for unit-admin and unit-personnel.",
            autocompletion=completion.units,
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Invite a super admin, or somebody to a unit.

    They choose their own username and password. Projects that their unit has already stay closed to them until a
    colleague runs dds project access fix: an operator holds no keys to pass on.

    Example: ddsctl invite create maria@example.org --role unit-admin --unit genomics
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import CreateInvite, NewInvite

    here = session.of(ctx, as_json, as_tsv)
    wanted = CreateInvite(email=email, role=role, unit=unit, dry_run=dry_run)
    with Daemon(here.socket) as daemon:
        made = daemon.post("/invites", wanted, NewInvite)
    output.show_record(made, _lines(), here.format)
    tell_dry_run(dry_run)
    if made.closed:
        typer.echo(
            f"They will not be able to open these projects: {', '.join(made.closed)}. Once they have registered, a "
            f"colleague in {made.invite.unit} gives access: dds project access fix {made.invite.email}",
            err=True,
        )


@app.command()
def ls(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """List the invites that wait, newest first.

    Example: ddsctl invite ls
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Invite

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/invites", Invite)
    output.show_list(found, _columns(), here.format, empty="There are no invites.")


@app.command()
def delete(
    ctx: typer.Context,
    email: Annotated[
        str,
        typer.Argument(help="Whose invite.", autocompletion=completion.invited, show_default=False),
    ],
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Withdraw an invite: its link leads nowhere from then on, and what waited for it is forgotten.

    Example: ddsctl invite delete maria@example.org
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Invite

    here = session.of(ctx, as_json, as_tsv)
    confirm(f"Withdraw the invite of {email}?", yes=yes)
    with Daemon(here.socket) as daemon:
        gone = daemon.delete("/invites", Invite, email=email)
    output.show_record(gone, _columns(), here.format)


@app.command()
def expire(
    ctx: typer.Context, dry_run: DryRun = False, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Forget the invites whose time is over, with what waited for them. The daemon does so by itself every night.

    Example: ddsctl invite expire --dry-run
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import ExpiredInvites, ExpireInvites

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        told = daemon.post("/invites/expire", ExpireInvites(dry_run=dry_run), ExpiredInvites)
    output.show_record(told, [Column("invites forgotten", lambda one: one.count)], here.format)
    tell_dry_run(dry_run)


def _columns() -> list[Column[Invite]]:
    return [
        Column("email", lambda one: one.email),
        Column("role", lambda one: one.role.value),
        Column("unit", lambda one: one.unit),
        Column("projects", lambda one: ", ".join(one.projects)),
        Column("invited", lambda one: one.created_at),
        Column("until", lambda one: one.expires_at),
    ]


def _lines() -> list[Column[NewInvite]]:
    return [
        Column("email", lambda one: one.invite.email),
        Column("role", lambda one: one.invite.role.value),
        Column("unit", lambda one: one.invite.unit),
        Column("until", lambda one: one.invite.expires_at),
    ]
