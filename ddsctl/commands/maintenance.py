"""``ddsctl maintenance``: closing the service for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ddsctl import output, session
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv

if TYPE_CHECKING:
    from ddsd.contract.admin import Maintenance

app = typer.Typer(help="Close the service for a while.", no_args_is_help=True)


@app.command()
def show(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """Tell whether the service is closed.

    Example: ddsctl maintenance show
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Maintenance

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        output.show_record(daemon.get("/maintenance", Maintenance), _lines(), here.format)


@app.command()
def on(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """Close the service for everybody but super admins. Links to the object store that were handed out still work.

    Example: ddsctl maintenance on
    """
    _turn(ctx, as_json, as_tsv, closed=True)


@app.command()
def off(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """Open the service again.

    Example: ddsctl maintenance off
    """
    _turn(ctx, as_json, as_tsv, closed=False)


def _turn(ctx: typer.Context, as_json: bool, as_tsv: bool, *, closed: bool) -> None:
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Maintenance, SetMaintenance

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        now = daemon.put("/maintenance", SetMaintenance(on=closed), Maintenance)
    output.show_record(now, _lines(), here.format)


def _lines() -> list[Column[Maintenance]]:
    return [Column("closed for maintenance", lambda one: one.on)]
