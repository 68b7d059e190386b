"""``ddsctl user``: accounts. No password ever passes through here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ddsctl import completion, output, session
from ddsctl.confirm import DryRun, Yes, confirm, tell_dry_run
from ddsctl.failures import ExitCode, Failure
from ddsctl.output import Column, Format
from ddsctl.session import AsJson, AsTsv, Session
from ddsd.contract.words import Role

if TYPE_CHECKING:
    from ddsd.contract.admin import DeletedUser, NewUser, User, UserDetails

app = typer.Typer(help="Accounts of people.", no_args_is_help=True)

Username = Annotated[
    str,
    typer.Argument(help="Which account.", autocompletion=completion.usernames, show_default=False),
]


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
            help="Public ID of their unit; for unit-admin and unit-personnel.",
            autocompletion=completion.units,
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
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
    wanted = CreateUser(
        username=username, name=name, email=email, role=role, unit=unit, dry_run=dry_run
    )
    with Daemon(here.socket) as daemon:
        made = daemon.post("/users", wanted, NewUser)
    if dry_run:
        output.show_record(made, _new_lines(), here.format)
        tell_dry_run(dry_run)
        return
    _show_link(made, f"{name} ({email})", here.format)


@app.command()
def ls(
    ctx: typer.Context,
    unit: Annotated[
        str | None,
        typer.Option(
            help="Only the people of this unit.",
            autocompletion=completion.units,
            show_default=False,
        ),
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


@app.command()
def show(
    ctx: typer.Context, username: Username, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Show an account with what hangs on it.

    Example: ddsctl user show maria
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import UserDetails

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get(path("users", username), UserDetails)
    output.show_record(found, _lines(), here.format)


@app.command()
def link(
    ctx: typer.Context, username: Username, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Make a new link for somebody who has not set a password yet. The one before it works no more.

    Example: ddsctl user link maria
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import NewUser

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        made = daemon.post(path("users", username, "link"), None, NewUser)
    _show_link(made, username, here.format)


@app.command()
def activate(
    ctx: typer.Context, username: Username, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Let a deactivated account be used again, with the projects and keys it had.

    Example: ddsctl user activate maria
    """
    _switch(session.of(ctx, as_json, as_tsv), username, "activate")


@app.command()
def deactivate(
    ctx: typer.Context,
    username: Username,
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Close an account: its sessions end at once and nobody can log in to it. Its projects and keys stay.

    Example: ddsctl user deactivate maria
    """
    here = session.of(ctx, as_json, as_tsv)
    confirm(f"Close the account {username} and end its sessions?", yes=yes)
    _switch(here, username, "deactivate")


@app.command("reset-2fa")
def reset_second_factor(
    ctx: typer.Context,
    username: Username,
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Make mailed codes the second factor again: for somebody who has lost the phone or the key.

    The authenticator app, passkeys and recovery codes work no more, the sessions end, and the person is told by
    mail. Be sure who is asking you: the mail account is then all that is needed beside the password.

    Example: ddsctl user reset-2fa maria
    """
    here = session.of(ctx, as_json, as_tsv)
    _tell_if_there_are_none(here, username)
    confirm(f"Forget the second factors of {username} and end the sessions?", yes=yes)
    _switch(here, username, "reset-2fa")


@app.command("set-email")
def set_email(
    ctx: typer.Context,
    username: Username,
    email: Annotated[str, typer.Argument(help="The new address.", show_default=False)],
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Give an account another e-mail address: for somebody who cannot read the earlier mailbox any more.

    Whoever can read mail changes it themselves, on the account page. Be sure who is asking you: one-time codes go to
    the new address, and links that reset the password. The earlier address is told.

    Example: ddsctl user set-email maria maria@new.example.org
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import PutEmail, UserDetails

    here = session.of(ctx, as_json, as_tsv)
    confirm(f"Write to {email} from now on, codes for {username} included?", yes=yes)
    with Daemon(here.socket) as daemon:
        now = daemon.post(path("users", username, "email"), PutEmail(email=email), UserDetails)
    output.show_record(now, _lines(), here.format)


@app.command()
def delete(
    ctx: typer.Context,
    username: Username,
    lose_data: Annotated[
        bool,
        typer.Option(
            "--lose-data",
            help="Delete it even if nobody else can open some project: that data can then never be read again.",
        ),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Delete an account for good, with its keys. Projects it made stay. To close it for a while: deactivate.

    Example: ddsctl user delete maria
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import DeletedUser, UserDetails

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        who = daemon.get(path("users", username), UserDetails).user
        confirm(f"Delete {who.role.value} {who.name} ({username}) for good?", yes=yes)
        try:
            gone = daemon.delete(path("users", username), DeletedUser, lose_data=lose_data)
        except Failure as refused:
            raise _unless_data_may_be_lost(refused) from refused
    output.show_record(gone, _gone_lines(), here.format)


def _unless_data_may_be_lost(refused: Failure) -> Failure:
    """Name the way on if an account is the last that can open something: an operator may delete all others."""
    if refused.exit_code is not ExitCode.NOT_ALLOWED:
        return refused
    return Failure(
        refused.exit_code,
        f"{refused.message} To delete the account and lose that data: --lose-data",
    )


def _tell_if_there_are_none(here: Session, username: str) -> None:
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import UserDetails

    with Daemon(here.socket) as daemon:
        now = daemon.get(path("users", username), UserDetails)
    if now.second_factor == "mail" and not now.passkeys and not now.recovery_codes:
        typer.echo(f"{username} has mailed codes already, and nothing else to forget.", err=True)


def _switch(here: Session, username: str, verb: str) -> None:
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import UserDetails

    with Daemon(here.socket) as daemon:
        now = daemon.post(path("users", username, verb), None, UserDetails)
    output.show_record(now, _lines(), here.format)


def _show_link(made: NewUser, who: str, form: Format) -> None:
    output.show_record(made, _new_lines(), form)
    if form is Format.TABLE:
        typer.echo(
            f"\nSend this link to {who} alone, now: it is not shown again, works once and for "
            f"{made.link_hours} hours, and whoever opens it first chooses the password."
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


def _gone_lines() -> list[Column[DeletedUser]]:
    return [
        Column("deleted", lambda one: one.username),
        Column("email", lambda one: one.email),
        Column("role", lambda one: one.role.value),
    ]


def _lines() -> list[Column[UserDetails]]:
    return [
        Column("username", lambda one: one.user.username),
        Column("name", lambda one: one.user.name),
        Column("emails", lambda one: ", ".join(one.emails)),
        Column("role", lambda one: one.user.role.value),
        Column("unit", lambda one: one.user.unit),
        Column("active", lambda one: one.user.active),
        Column("created", lambda one: one.user.created_at),
        Column("password set", lambda one: one.password_set_at),
        Column("second factor", lambda one: one.second_factor),
        Column("passkeys", lambda one: one.passkeys),
        Column("recovery codes", lambda one: one.recovery_codes),
        Column("projects it can open", lambda one: one.keys),
        Column("sessions", lambda one: one.sessions),
    ]
