"""``ddsctl store``: the object store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ddsctl import output, session
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv

if TYPE_CHECKING:
    from ddsd.contract.admin import StoreSettings

app = typer.Typer(help="The object store, as it is configured.", no_args_is_help=True)


@app.callback()
def store() -> None:
    """Keep ``show`` a command of its own while it is the only one."""


@app.command()
def show(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """Show which store is used, with which key, and whether it answers. To change that: [store] of the configuration.

    Example: ddsctl store show
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import StoreSettings

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        output.show_record(daemon.get("/store", StoreSettings), _lines(), here.format)


def _lines() -> list[Column[StoreSettings]]:
    return [
        Column("kind", lambda one: one.kind),
        Column("address", lambda one: one.endpoint),
        Column("address for users", lambda one: one.public_endpoint),
        Column("region", lambda one: one.region),
        Column("access key", lambda one: one.access_key),
        Column("directory", lambda one: one.directory),
        Column("hands its own key to uploaders", lambda one: one.wide_upload_keys),
        Column("answers", lambda one: one.answers),
        Column("problem", lambda one: one.problem),
    ]
