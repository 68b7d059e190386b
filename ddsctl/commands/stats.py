"""``ddsctl stats``: how the service is used, over the months."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ddsctl import output, session
from ddsctl.confirm import DryRun
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv
from ddsd.contract import sizes

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddsd.contract.admin import Statistics

app = typer.Typer(help="Statistics: how the service is used.", no_args_is_help=True)


@app.command()
def ls(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """List what was counted, a line a month. Before there is one: how it is now.

    Example: ddsctl stats ls
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Statistics

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/statistics", Statistics)
    output.show_list(found, _columns(), here.format, empty="Nothing was counted yet.")


@app.command()
def collect(
    ctx: typer.Context, dry_run: DryRun = False, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Count now; a line of today is replaced. The daemon does so by itself when a month begins.

    Example: ddsctl stats collect --dry-run
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import CollectStatistics, Statistics

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        made = daemon.post("/statistics", CollectStatistics(dry_run=dry_run), Statistics)
    output.show_record(made, _columns(), here.format)


def _columns() -> list[Column[Statistics]]:
    return [
        Column("day", lambda one: one.day.isoformat()),
        Column("units", lambda one: one.units, right=True),
        Column("researchers", lambda one: one.researchers, right=True),
        Column("owners", lambda one: one.project_owners, right=True),
        Column("personnel", lambda one: one.unit_personnel, right=True),
        Column("admins", lambda one: one.unit_admins, right=True),
        Column("super admins", lambda one: one.super_admins, right=True),
        Column("active projects", lambda one: one.active_projects, right=True),
        Column("inactive", lambda one: one.inactive_projects, right=True),
        _size("stored", lambda one: one.bytes_stored),
        _size("uploaded", lambda one: one.bytes_uploaded),
        _tb_hours("last month", lambda one: one.byte_hours_last_month),
        _tb_hours("total", lambda one: one.byte_hours_total),
    ]


def _size(title: str, of: Callable[[Statistics], int]) -> Column[Statistics]:
    return Column(title, of, lambda one: sizes.show(of(one)), right=True)


def _tb_hours(title: str, of: Callable[[Statistics], float]) -> Column[Statistics]:
    return Column(title, of, lambda one: f"{of(one) / 10**12:,.3f} TB·h", right=True)
