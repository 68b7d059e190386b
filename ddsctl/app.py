"""The root of ddsctl: what all commands share, and the list of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ddsctl.commands import (
    audit,
    db,
    files,
    invite,
    jobs,
    lifecycle,
    mail,
    maintenance,
    motd,
    project,
    reminders,
    service,
    sessions,
    setup,
    stats,
    store,
    store_check,
    unit,
    usage,
    user,
)
from ddsctl.failures import EXIT_CODES, FailingGroup
from ddsctl.output import Format
from ddsctl.session import DEFAULT_SOCKET, AsJson, AsTsv, Session, choose_format

app = typer.Typer(
    cls=FailingGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ddsctl {version('ddsd')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    socket: Annotated[
        Path,
        typer.Option(
            envvar="DDSCTL_SOCKET",
            help="The daemon's admin socket.",
            metavar="PATH",
            dir_okay=False,
            readable=False,
        ),
    ] = DEFAULT_SOCKET,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Operate a ddsd on this machine, over its admin socket.

    Example: ddsctl status
    """
    ctx.obj = Session(socket, choose_format(Format.TABLE, as_json, as_tsv))


app.command("status")(service.status)
app.command("setup", context_settings=setup.HANDED_OVER, add_help_option=False)(setup.setup)
app.add_typer(unit.app, name="unit")
app.add_typer(user.app, name="user")
app.add_typer(invite.app, name="invite")
app.add_typer(sessions.app, name="session")
app.add_typer(project.app, name="project")
app.add_typer(lifecycle.app, name="lifecycle")
app.add_typer(files.app, name="files")
app.add_typer(jobs.app, name="jobs")
app.add_typer(usage.app, name="usage")
app.add_typer(stats.app, name="stats")
app.add_typer(mail.app, name="mail")
app.add_typer(audit.app, name="audit")
app.add_typer(maintenance.app, name="maintenance")
app.add_typer(motd.app, name="motd")
app.add_typer(reminders.app, name="reminders")
store.app.command("check")(store_check.check)
app.add_typer(store.app, name="store")
app.add_typer(db.app, name="db")


def main() -> None:
    """Run ddsctl."""
    _leave_unreadable_directory()
    app(prog_name="ddsctl")


def _leave_unreadable_directory() -> None:
    """Leave a directory that is closed to this user (``sudo -u``): rich asks for its name, and gives up."""
    try:
        Path.cwd()
    except OSError:
        os.chdir("/")
