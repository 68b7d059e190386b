"""``ddsctl project``: what is delivered, without its contents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ddsctl import output, session, sizes
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv

if TYPE_CHECKING:
    from ddsd.contract.admin import Project

app = typer.Typer(help="Projects, without their contents.", no_args_is_help=True)


@app.callback()
def project() -> None:
    """Keep ``ls`` a command of its own while it is the only one."""


@app.command()
def ls(
    ctx: typer.Context,
    unit: Annotated[
        str | None, typer.Option(help="Only the projects of this unit.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """List the projects, newest first.

    Example: ddsctl project ls --unit genomics
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Project

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/projects", Project, unit=unit)
    output.show_list(found, _columns(), here.format, empty="There are no projects.")


def _columns() -> list[Column[Project]]:
    return [
        Column("project", lambda one: one.public_id),
        Column("unit", lambda one: one.unit),
        Column("title", lambda one: one.title),
        Column("status", lambda one: one.status),
        Column("deadline", lambda one: one.deadline),
        Column("files", lambda one: one.file_count, right=True),
        Column(
            "stored",
            lambda one: one.bytes_stored,
            lambda one: sizes.show(one.bytes_stored),
            right=True,
        ),
    ]
