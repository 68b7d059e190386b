"""``ddsctl db``: the database's revision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddsctl import output, session
from ddsctl.failures import Failure
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv

if TYPE_CHECKING:
    from ddsd.contract.admin import Revision

app = typer.Typer(help="The database's revision.", no_args_is_help=True)


@app.command()
def current(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """Ask the daemon where the database is, and where it needs to be.

    Example: ddsctl db current
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Revision

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        output.show_record(daemon.get("/db/revision", Revision), _lines(), here.format)


@app.command()
def upgrade(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            help="The daemon's configuration. If not given: where the daemon looks.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Bring the database to the revision that this version needs.

    Runs ddsd migrate as the user you are, and exits as that does. Back up first; run it as the daemon's user.

    Example: sudo --user ddsd ddsctl db upgrade --config /etc/ddsd/ddsd.toml
    """
    served = _served_database(session.of(ctx).socket)
    options = [] if config is None else ["--config", str(config)]
    command = [sys.executable, "-m", "ddsd", "migrate", *options]
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    typer.echo(ended.stdout, nl=False)
    if served is not None and ended.stdout.startswith(f"{served}: "):
        typer.echo("The daemon is running: restart it now with systemctl restart ddsd.", err=True)
    raise typer.Exit(ended.returncode)


def _served_database(socket: Path) -> str | None:
    """Return the address of the database that a running daemon uses."""
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Revision

    try:
        with Daemon(socket) as daemon:
            return daemon.get("/db/revision", Revision).database
    except Failure:
        return None


def _lines() -> list[Column[Revision]]:
    return [
        Column("database", lambda one: one.database),
        Column("revision", lambda one: one.current),
        Column("needed", lambda one: one.head),
    ]
