"""``ddsctl unit``: the facilities that deliver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ddsctl import output, session, sizes
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv

if TYPE_CHECKING:
    from ddsd.contract.admin import Unit

app = typer.Typer(help="Units: the facilities that deliver.", no_args_is_help=True)


def _size(text: str) -> int:
    try:
        return sizes.parse(text)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong), param_hint="--quota") from None


@app.command()
def create(
    ctx: typer.Context,
    public_id: Annotated[
        str,
        typer.Argument(
            help="Short name, used everywhere and for good: at most 50 letters, digits, '.' and '-'.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option(help="The unit's own name.", show_default=False)],
    contact: Annotated[
        str, typer.Option(help="E-mail address that researchers may ask.", show_default=False)
    ],
    display_name: Annotated[
        str | None,
        typer.Option(help="The name researchers see. If not given: --name.", show_default=False),
    ] = None,
    internal_ref: Annotated[
        str | None,
        typer.Option(
            help="What project IDs and buckets begin with, at most 30 characters. If not given: PUBLIC_ID.",
            show_default=False,
        ),
    ] = None,
    days_available: Annotated[
        int, typer.Option(help="Days a released project can be downloaded, 1 to 90.")
    ] = 90,
    days_expired: Annotated[
        int, typer.Option(help="Days an expired project is kept, 1 to 30.")
    ] = 30,
    quota: Annotated[
        str,
        typer.Option(
            help="How much the unit may store, such as 20TB or 500GiB; 0: no limit.", metavar="SIZE"
        ),
    ] = "0",
    warn_at: Annotated[
        float, typer.Option(help="Warn when this part of the quota is used: over 0, at most 1.")
    ] = 0.8,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Make a unit.

    Example: ddsctl unit create genomics --name "Genomics Platform" --contact delivery@example.org --quota 20TB
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import CreateUnit, Unit

    here = session.of(ctx, as_json, as_tsv)
    wanted = CreateUnit(
        public_id=public_id,
        name=name,
        external_display_name=name if display_name is None else display_name,
        contact_email=contact,
        internal_ref=internal_ref,
        days_in_available=days_available,
        days_in_expired=days_expired,
        quota_bytes=_size(quota),
        warning_level=warn_at,
    )
    with Daemon(here.socket) as daemon:
        made = daemon.post("/units", wanted, Unit)
    output.show_record(made, _lines(), here.format)
    typer.echo(
        f"Next, its first admin: ddsctl user create USERNAME --role unit-admin --unit {made.public_id} "
        "--name NAME --email ADDRESS",
        err=True,
    )


@app.command()
def ls(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """List the units.

    Example: ddsctl unit ls --json
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Unit

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/units", Unit)
    output.show_list(
        found,
        _columns(),
        here.format,
        empty="There are no units yet. See: ddsctl unit create --help",
    )


def _columns() -> list[Column[Unit]]:
    return [
        Column("unit", lambda one: one.public_id),
        Column("name", lambda one: one.name),
        Column("contact", lambda one: one.contact_email),
        Column("users", lambda one: one.users, right=True),
        Column("projects", lambda one: one.projects, right=True),
        Column(
            "stored",
            lambda one: one.bytes_stored,
            lambda one: sizes.show(one.bytes_stored),
            right=True,
        ),
        Column("quota", lambda one: one.quota_bytes, _quota, right=True),
    ]


def _lines() -> list[Column[Unit]]:
    return [
        Column("unit", lambda one: one.public_id),
        Column("name", lambda one: one.name),
        Column("display name", lambda one: one.external_display_name),
        Column("contact", lambda one: one.contact_email),
        Column("internal reference", lambda one: one.internal_ref),
        Column("days in available", lambda one: one.days_in_available),
        Column("days in expired", lambda one: one.days_in_expired),
        Column("quota", lambda one: one.quota_bytes, _quota),
        Column(
            "warning level", lambda one: one.warning_level, lambda one: f"{one.warning_level:.0%}"
        ),
        Column("created", lambda one: one.created_at),
    ]


def _quota(one: Unit) -> str:
    return sizes.show(one.quota_bytes) if one.quota_bytes else "none"
