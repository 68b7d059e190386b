"""``ddsctl unit``: the facilities that deliver."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ddsctl import asking, completion, output, session
from ddsctl.confirm import DryRun, tell_dry_run
from ddsctl.failures import Failure
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv
from ddsd.contract import sizes

if TYPE_CHECKING:
    from ddsctl.client import Daemon
    from ddsctl.session import Session
    from ddsd.contract.admin import Change, MakeStoreUser, QuotaStatus, Unit, UpdateUnit

app = typer.Typer(help="Units: the facilities that deliver.", no_args_is_help=True)

_ADMINS_NEEDED: Final = 2

UnitName = Annotated[
    str,
    typer.Argument(
        help="The unit's public ID.", autocompletion=completion.units, show_default=False
    ),
]


def _size(text: str, typed_as: str) -> int:
    try:
        return sizes.parse(text)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong), param_hint=typed_as) from None


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
    enforce: Annotated[
        bool,
        typer.Option(
            "--enforce/--warn-only", help="Refuse what goes over the quota, or only warn."
        ),
    ] = True,
    store_admin_key: Annotated[
        str | None,
        typer.Option(
            help="An administrator of the MinIO, who makes the unit's user and policy there. "
            "The key is used once and kept nowhere. By hand: ddsctl store policy.",
            show_default=False,
        ),
    ] = None,
    store_admin_secret_file: Annotated[
        Path | None,
        typer.Option(
            help="Where that key's secret is; -: standard input. If not given, it is asked for.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
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
        quota_bytes=_size(quota, "--quota"),
        warning_level=warn_at,
        quota_enforced=enforce,
        dry_run=dry_run,
    )
    administrator = _administrator(store_admin_key, store_admin_secret_file)
    with Daemon(here.socket) as daemon:
        made = daemon.post("/units", wanted, Unit)
        if administrator is not None and not dry_run:
            _make_store_user(daemon, made.public_id, administrator)
    output.show_record(made, _lines(), here.format)
    tell_dry_run(dry_run)
    typer.echo(
        f"Next, its first admin: ddsctl user create USERNAME --role unit-admin --unit {made.public_id} "
        "--name NAME --email ADDRESS",
        err=True,
    )


def _administrator(access_key: str | None, file: Path | None) -> MakeStoreUser | None:
    from ddsd.contract.admin import MakeStoreUser

    if access_key is None:
        return None
    secret = asking.secret(f"Secret key of {access_key}", file, "--store-admin-secret-file")
    return MakeStoreUser(admin_access_key=access_key, admin_secret_key=secret)


def _make_store_user(daemon: Daemon, unit: str, administrator: MakeStoreUser) -> None:
    from ddsctl.client import path
    from ddsd.contract.admin import StoreAccountSet

    try:
        done = daemon.post(path("units", unit, "store", "user"), administrator, StoreAccountSet)
    except Failure as failure:
        raise Failure(
            failure.exit_code,
            f"the unit {unit} is made, its user at the store is not: {failure.message}\n"
            f"  Try again: ddsctl store set-credentials {unit} --admin-key {administrator.admin_access_key}",
        ) from failure
    for warning in done.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    typer.echo(f"At the store it uses the key {done.access_key}, made just now.", err=True)


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


@app.command()
def show(
    ctx: typer.Context, unit: UnitName, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Show one unit.

    Its undo window is set with ddsctl lifecycle configure, its reminders with ddsctl reminders set.

    Example: ddsctl unit show genomics
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import Unit

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get(path("units", unit), Unit)
    output.show_record(found, [*_lines(), *_load_lines()], here.format)


@app.command()
def update(
    ctx: typer.Context,
    unit: UnitName,
    name: Annotated[
        str | None, typer.Option(help="The unit's own name.", show_default=False)
    ] = None,
    display_name: Annotated[
        str | None, typer.Option(help="The name researchers see.", show_default=False)
    ] = None,
    contact: Annotated[
        str | None,
        typer.Option(help="E-mail address that researchers may ask.", show_default=False),
    ] = None,
    days_available: Annotated[
        int | None,
        typer.Option(
            help="Days a released project can be downloaded, 1 to 90.", show_default=False
        ),
    ] = None,
    days_expired: Annotated[
        int | None,
        typer.Option(help="Days an expired project is kept, 1 to 30.", show_default=False),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Change a unit. Projects keep the deadlines they have.

    Example: ddsctl unit update genomics --contact help@example.org --days-available 60
    """
    from ddsd.contract.admin import UpdateUnit

    wanted = UpdateUnit(
        name=name,
        external_display_name=display_name,
        contact_email=contact,
        days_in_available=days_available,
        days_in_expired=days_expired,
        dry_run=dry_run,
    )
    _update(session.of(ctx, as_json, as_tsv), unit, wanted)


@app.command()
def quota(
    ctx: typer.Context,
    unit: UnitName,
    size: Annotated[
        str | None,
        typer.Argument(
            help="How much the unit may store, such as 20TB or 500GiB; 0: no limit.",
            show_default=False,
        ),
    ] = None,
    warn_at: Annotated[
        float | None,
        typer.Option(
            help="Warn when this part of the quota is used: over 0, at most 1.", show_default=False
        ),
    ] = None,
    enforce: Annotated[
        bool | None,
        typer.Option(
            "--enforce/--warn-only",
            help="Refuse what goes over the quota, or only warn.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Change how much a unit may store. What is there stays, also if it is more.

    Example: ddsctl unit quota genomics 30TB --warn-at 0.9
    """
    from ddsd.contract.admin import UpdateUnit

    wanted = UpdateUnit(
        quota_bytes=None if size is None else _size(size, "SIZE"),
        warning_level=warn_at,
        quota_enforced=enforce,
        dry_run=dry_run,
    )
    _update(session.of(ctx, as_json, as_tsv), unit, wanted)


@app.command("check-quotas")
def check_quotas(
    ctx: typer.Context, dry_run: DryRun = False, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Mail the contacts of units that have come over their warning level, as the daemon does every hour.

    Who has been told is told again only after the unit was below its level.

    Example: ddsctl unit check-quotas --dry-run
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import QuotaStatus, WatchQuotas

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.post_for_list("/quotas/watch", WatchQuotas(dry_run=dry_run), QuotaStatus)
    output.show_list(found, _standings(), here.format, empty="There is nobody to warn.")


def _update(here: Session, unit: str, wanted: UpdateUnit) -> None:
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import Changed

    with Daemon(here.socket) as daemon:
        done = daemon.post(path("units", unit), wanted, Changed)
    output.show_list(done.changes, _changes(), here.format, empty="That is how it is already.")
    if done.dry_run and done.changes:
        typer.echo("Nothing was changed: leave out --dry-run to do it.", err=True)


def _changes() -> list[Column[Change]]:
    return [
        Column("field", lambda one: one.field),
        Column("before", lambda one: one.before),
        Column("after", lambda one: one.after),
    ]


def _standings() -> list[Column[QuotaStatus]]:
    return [
        Column("unit", lambda one: one.unit),
        Column(
            "stored", lambda one: one.used_bytes, lambda one: sizes.show(one.used_bytes), right=True
        ),
        Column(
            "quota",
            lambda one: one.quota_bytes,
            lambda one: sizes.show(one.quota_bytes),
            right=True,
        ),
    ]


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
        Column("used", _used, _used_shown, right=True),
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
        Column(
            "over the quota",
            lambda one: one.quota_enforced,
            lambda one: "refused" if one.quota_enforced else "only warned of",
        ),
        Column("created", lambda one: one.created_at),
    ]


def _load_lines() -> list[Column[Unit]]:
    return [
        Column("undo days", lambda one: one.undo_days),
        Column("reminder days", _reminders),
        Column("users", lambda one: one.users),
        Column("admins", lambda one: one.admins, _admins),
        Column("projects", lambda one: one.projects),
        Column("stored", lambda one: one.bytes_stored, lambda one: sizes.show(one.bytes_stored)),
        Column("used", _used, _used_shown),
    ]


def _admins(one: Unit) -> str:
    few = "; a unit needs two to create projects" if (one.admins or 0) < _ADMINS_NEEDED else ""
    return f"{one.admins}, {one.admins_ready} of them with a password{few}"


def _reminders(one: Unit) -> str:
    days = one.reminder_days
    return "" if days is None else ",".join(map(str, days)) or "never"


def _used(one: Unit) -> float | None:
    return round(one.bytes_stored / one.quota_bytes, 4) if one.quota_bytes else None


def _used_shown(one: Unit) -> str:
    used = _used(one)
    return "-" if used is None else f"{used:.0%}{' !' if used > one.warning_level else ''}"


def _quota(one: Unit) -> str:
    return sizes.show(one.quota_bytes) if one.quota_bytes else "none"
