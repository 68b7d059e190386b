"""``ddsctl usage``: what is stored, for how long, and what that costs."""

from __future__ import annotations

import csv
import io
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ddsctl import output, session
from ddsctl.confirm import DryRun
from ddsctl.output import Column, Format
from ddsctl.session import AsJson, AsTsv
from ddsd.contract import sizes

if TYPE_CHECKING:
    from ddsctl.client import Daemon
    from ddsd.contract.admin import MonthOfUsage, ProjectUsage, Sheet

app = typer.Typer(
    help="Usage: stored bytes times hours, month by month, and what that costs.",
    no_args_is_help=True,
)

Unit = Annotated[
    str | None, typer.Option(help="Only the projects of this unit.", show_default=False)
]
_GB: Final = 10**9


@app.command()
def show(
    ctx: typer.Context,
    unit: Unit = None,
    month: Annotated[
        str | None,
        typer.Option(
            help="Only this month, such as 2026-03. If not given: all until now.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Show what each project has used. A month that is not over is added up as far as it has come.

    Example: ddsctl usage show --unit genomics --month 2026-03
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import ProjectUsage

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/usage", ProjectUsage, unit=unit, month=month)
    output.show_list(found, _columns(), here.format, empty="Nothing was used.")


@app.command()
def export(
    ctx: typer.Context,
    first: Annotated[
        str | None,
        typer.Option(
            "--from", help="The first month. If not given: the one before this.", show_default=False
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option("--to", help="The last month. If not given: the first.", show_default=False),
    ] = None,
    unit: Unit = None,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Print what is written down, for invoices: as CSV, a line per project and month; or with --json or --tsv.

    Example: ddsctl usage export --from 2026-01 --to 2026-03 --unit genomics
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import ProjectUsage

    here = session.of(ctx, as_json, as_tsv)
    begin = first or f"{_last_month():%Y-%m}"
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/usage/months", ProjectUsage, first=begin, last=last, unit=unit)
    if here.format is Format.TABLE:
        typer.echo(_as_csv(found), nl=False)
    else:
        output.show_list(found, _columns(), here.format, empty="")


@app.command()
def collect(
    ctx: typer.Context, dry_run: DryRun = False, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Write down every month that is over, for good. The daemon does so by itself in the night.

    Example: ddsctl usage collect --dry-run
    """
    from ddsctl.client import Daemon

    here = session.of(ctx, as_json, as_tsv)
    done: list[MonthOfUsage] = []
    with Daemon(here.socket) as daemon:
        while some := _next_month(daemon, done, dry_run):
            done += some
            if sys.stderr.isatty():
                typer.echo(
                    f"{done[-1].month}: {'counted' if dry_run else 'written down'}", err=True
                )
    output.show_list(
        done, _months(), here.format, empty="Every month that is over is written down."
    )


@app.command()
def send(
    ctx: typer.Context,
    months: Annotated[
        int, typer.Option(help="How many of the last months that are written down.", min=1, max=12)
    ] = 1,
    to: Annotated[
        str | None,
        typer.Option(
            help="The mail address. If not given: instance.contact of the configuration.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Mail what is written down: one CSV file for each unit.

    Example: ddsctl usage send --months 3 --to invoices@example.org
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import SendUsage, Sheet

    here = session.of(ctx, as_json, as_tsv)
    wanted = SendUsage(months=months, to=to, dry_run=dry_run)
    with Daemon(here.socket) as daemon:
        sent = daemon.post_for_list("/usage/send", wanted, Sheet)
    output.show_list(sent, _sheets(), here.format, empty="Nothing was used: no file is attached.")


def _next_month(daemon: Daemon, done: list[MonthOfUsage], dry_run: bool) -> list[MonthOfUsage]:
    from ddsd.contract.admin import CollectUsage, MonthOfUsage

    wanted = CollectUsage(dry_run=dry_run, after=done[-1].month if done else None)
    return daemon.post_for_list("/usage/collect", wanted, MonthOfUsage)


def _last_month() -> datetime:
    return datetime.now(UTC).replace(day=1) - timedelta(days=1)


def _as_csv(found: list[ProjectUsage]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    columns = _columns()
    writer.writerow([column.title for column in columns])
    writer.writerows([output.exact(column.exact(one)) for column in columns] for one in found)
    return text.getvalue()


def _columns() -> list[Column[ProjectUsage]]:
    return [
        Column("unit", lambda one: one.unit),
        Column("month", lambda one: one.month),
        Column("project", lambda one: one.project),
        Column("title", lambda one: one.title),
        Column("created", lambda one: one.created_at),
        Column("written down", lambda one: one.collected_at),
        Column(
            "byte-hours",
            lambda one: one.byte_hours,
            lambda one: f"{one.byte_hours / _GB:,.2f} GB·h",
            right=True,
        ),
        Column("cost", lambda one: one.cost, lambda one: f"{one.cost:,.2f}", right=True),
    ]


def _months() -> list[Column[MonthOfUsage]]:
    return [
        Column("month", lambda one: one.month),
        Column("projects", lambda one: one.projects, right=True),
        Column(
            "byte-hours",
            lambda one: one.byte_hours,
            lambda one: f"{one.byte_hours / _GB:,.2f} GB·h",
            right=True,
        ),
        Column(
            "uploaded",
            lambda one: one.bytes_uploaded,
            lambda one: sizes.show(one.bytes_uploaded),
            right=True,
        ),
    ]


def _sheets() -> list[Column[Sheet]]:
    return [
        Column("file", lambda one: one.name),
        Column("lines", lambda one: len(one.csv.splitlines()), right=True),
    ]
