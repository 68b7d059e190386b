"""``ddsctl store``: the object store, and the accounts that units have at it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ddsctl import asking, completion, output, session
from ddsctl.commands.jobs import until_ended
from ddsctl.confirm import DryRun, Yes, confirm, tell_dry_run
from ddsctl.failures import ExitCode
from ddsctl.output import Column, Format
from ddsctl.session import AsJson, AsTsv, Session
from ddsd.contract import sizes

if TYPE_CHECKING:
    from ddsd.contract.admin import (
        KeysRotated,
        MigrateStore,
        StoreAccountSet,
        StoreForgotten,
        StoreMigration,
        StorePolicy,
        StoreSettings,
        UnitStore,
    )

app = typer.Typer(
    help="The object store, and the accounts that units have at it.", no_args_is_help=True
)

_CHANGING_S: Final = 300.0
_MOVING_S: Final = 30 * 86_400.0
_CONFIGURED: Final = "configured"
_FORMER: Final = "former"

UnitName = Annotated[
    str,
    typer.Argument(
        help="The unit's public ID.", autocompletion=completion.units, show_default=False
    ),
]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        help="Where the secret key is; -: standard input. If not given, it is asked for.",
        show_default=False,
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        help="Address of the store, such as https://s3.example.org:9000. If not given: the one the unit uses.",
        show_default=False,
    ),
]
PublicEndpoint = Annotated[
    str | None,
    typer.Option(
        help="How clients reach the store, if that is another address.", show_default=False
    ),
]
Region = Annotated[
    str | None,
    typer.Option(help="The store's region. If not given: as configured.", show_default=False),
]
UnitOption = Annotated[
    str,
    typer.Option(
        "--unit", help="The unit's public ID.", autocompletion=completion.units, show_default=False
    ),
]
ReadOnlyKey = Annotated[
    str,
    typer.Option(help="For a store that makes no keys: a key of yours that can only get objects."),
]
ReadOnlySecretFile = Annotated[
    Path | None, typer.Option(help="Where that key's secret is.", show_default=False)
]
WideKeys = Annotated[
    bool,
    typer.Option(
        "--allow-wide-upload-keys",
        help="For a store that makes no keys: uploaders receive the account itself.",
    ),
]
IamEndpoint = Annotated[
    str | None,
    typer.Option(
        help="For a store whose keys are made by an IAM service, such as versitygw: its address.",
        show_default=False,
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")]


@app.command()
def show(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """Show the store, the key that is used, and whether it answers. To change that: section store of the configuration.

    Example: ddsctl store show
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import StoreSettings

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        told = daemon.get("/store", StoreSettings)
    output.show_record(told, _lines(), here.format)
    if not told.answers:
        raise typer.Exit(ExitCode.UNAVAILABLE)


@app.command()
def ls(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """List the stores that are used: the configured one, then those of units with an account of their own.

    Example: ddsctl store ls
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import UnitStore

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/stores", UnitStore)
    output.show_list(found, _columns(), here.format, empty="")


@app.command()
def policy(
    ctx: typer.Context, unit: UnitName, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Print the policy that bounds a unit's user at the store, and the commands with which MinIO's mc makes both.

    Nothing is changed. With --json only the policy itself is on standard output, as mc and other tools read it.

    Example: ddsctl store policy genomics
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import StorePolicy

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        told = daemon.get(path("units", unit, "store", "policy"), StorePolicy)
    typer.echo(json.dumps(told.policy, indent=2))
    if here.format is not Format.JSON:
        typer.echo("\n".join(_by_hand(told)), err=True)


@app.command("set-credentials")
def set_credentials(
    ctx: typer.Context,
    unit: UnitName,
    access_key: Annotated[
        str | None,
        typer.Option(
            help="The account's access key (at MinIO: the user's name).", show_default=False
        ),
    ] = None,
    secret_file: SecretFile = None,
    admin_key: Annotated[
        str | None,
        typer.Option(
            help="Instead: an administrator of a MinIO, who makes the unit's user and policy now. "
            "The key is used once and kept nowhere.",
            show_default=False,
        ),
    ] = None,
    endpoint: Endpoint = None,
    public_endpoint: PublicEndpoint = None,
    region: Region = None,
    iam_endpoint: IamEndpoint = None,
    read_only_access_key: ReadOnlyKey = "",
    read_only_secret_file: ReadOnlySecretFile = None,
    allow_wide_upload_keys: WideKeys = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Give a unit its own account at the store. It is tried out there first, and kept only if it works.

    Transfers that run go on. The secret is sealed in the database and never shown again.

    Example: ddsctl store set-credentials genomics --access-key ddsd-genomics --secret-file genomics.secret
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import MakeStoreUser, SetStoreCredentials, StoreAccountSet

    here = session.of(ctx, as_json, as_tsv)
    if (access_key is None) == (admin_key is None):
        raise typer.BadParameter("Give either --access-key or --admin-key.")
    wanted: SetStoreCredentials | MakeStoreUser
    if admin_key is not None:
        what = "user"
        wanted = MakeStoreUser(
            admin_access_key=admin_key,
            admin_secret_key=asking.secret(
                f"Secret key of {admin_key}", secret_file, "--secret-file"
            ),
            endpoint=endpoint,
            public_endpoint=public_endpoint,
            region=region,
            dry_run=dry_run,
        )
    else:
        what = "credentials"
        wanted = SetStoreCredentials(
            access_key=access_key or "",
            secret_key=asking.secret(f"Secret key of {access_key}", secret_file, "--secret-file"),
            endpoint=endpoint,
            public_endpoint=public_endpoint,
            region=region,
            iam_endpoint=iam_endpoint,
            read_only_access_key=read_only_access_key,
            read_only_secret_key=_read_only_secret(read_only_access_key, read_only_secret_file),
            wide_upload_keys=allow_wide_upload_keys,
            dry_run=dry_run,
        )
    with Daemon(here.socket) as daemon:
        done = daemon.post(path("units", unit, "store", what), wanted, StoreAccountSet)
    show_account(done, here)


@app.command("rotate-keys")
def rotate_keys(
    ctx: typer.Context,
    unit: Annotated[
        str | None,
        typer.Argument(
            help="Only this unit's. If not given: the configured account's, and those of all units with their own.",
            autocompletion=completion.units,
            show_default=False,
        ),
    ] = None,
    now: Annotated[
        bool,
        typer.Option(
            "--now",
            help="Let the keys that are out be worthless at once: running transfers with them break off, links that "
            "were given out are refused. Without it they end by themselves.",
        ),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Change the secrets of units' accounts at the store, and hand out new keys from now on.

    Transfers that run go on with the keys they have, at most until these expire. The configured account's own secret
    is changed at the store and in store.secret_key_file.

    Example: ddsctl store rotate-keys genomics
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import KeysRotated, RotateKeys

    here = session.of(ctx, as_json, as_tsv)
    if now and not dry_run:
        confirm("Break off the transfers that run, and let links be refused?", yes=yes)
    wanted = RotateKeys(unit=unit, at_once=now, dry_run=dry_run)
    with Daemon(here.socket) as daemon:
        done = daemon.post_for_list("/stores/rotate", wanted, KeysRotated)
        for one in done:
            if one.job is not None:
                until_ended(daemon, one.job, _CHANGING_S)
    output.show_list(done, _rotated(), here.format, empty="There is no such account.")
    tell_dry_run(dry_run)


@app.command()
def migrate(
    ctx: typer.Context,
    unit: UnitOption,
    to: Annotated[
        str,
        typer.Option(
            help="Address of the new store, such as https://s3.example.org:9000; 'configured': the one of [store]; "
            "'former': back to where it was, also in the middle of a move.",
            show_default=False,
        ),
    ],
    access_key: Annotated[
        str | None,
        typer.Option(help="The unit's account at the new store.", show_default=False),
    ] = None,
    secret_file: SecretFile = None,
    admin_key: Annotated[
        str | None,
        typer.Option(
            help="Instead: an administrator of the new store, a MinIO, who makes the unit's user there. "
            "The key is used once and kept nowhere.",
            show_default=False,
        ),
    ] = None,
    public_endpoint: PublicEndpoint = None,
    region: Region = None,
    iam_endpoint: IamEndpoint = None,
    read_only_access_key: ReadOnlyKey = "",
    read_only_secret_file: ReadOnlySecretFile = None,
    allow_wide_upload_keys: WideKeys = False,
    wait: Wait = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Move a unit's data to another store, in the background.

    Project by project is copied, read back and compared; downloads go on meanwhile. Uploads into a project are refused
    only while the last of it is copied. New projects go to the new store at once. The old copy stays until
    ddsctl store forget.

    Example: ddsctl store migrate --unit genomics --to https://minio.example.org:9000 --access-key ddsd-genomics
    """
    from ddsd.contract.admin import MakeStoreUser, MigrateStore, SetStoreCredentials

    here = session.of(ctx, as_json, as_tsv)
    keys = [one for one in (access_key, admin_key) if one is not None]
    if dry_run and admin_key is not None:
        raise typer.BadParameter("--dry-run makes no user: give --access-key, or leave it out.")
    if len(keys) != (0 if to in (_CONFIGURED, _FORMER) else 1):
        raise typer.BadParameter(
            "Give either --access-key or --admin-key; neither with "
            f"--to {_CONFIGURED} or --to {_FORMER}."
        )
    account = administrator = None
    if access_key is not None:
        account = SetStoreCredentials(
            access_key=access_key,
            secret_key=asking.secret(f"Secret key of {access_key}", secret_file, "--secret-file"),
            endpoint=to,
            public_endpoint=public_endpoint,
            region=region,
            iam_endpoint=iam_endpoint,
            read_only_access_key=read_only_access_key,
            read_only_secret_key=_read_only_secret(read_only_access_key, read_only_secret_file),
            wide_upload_keys=allow_wide_upload_keys,
        )
    if admin_key is not None:
        administrator = MakeStoreUser(
            admin_access_key=admin_key,
            admin_secret_key=asking.secret(
                f"Secret key of {admin_key}", secret_file, "--secret-file"
            ),
            endpoint=to,
            public_endpoint=public_endpoint,
            region=region,
        )
    wanted = MigrateStore(
        back=to == _FORMER, account=account, administrator=administrator, dry_run=dry_run
    )
    _migrate(here, unit, wanted, wait=wait)


def _migrate(here: Session, unit: str, wanted: MigrateStore, *, wait: bool) -> None:
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import StoreMigration

    with Daemon(here.socket) as daemon:
        done = daemon.post(path("units", unit, "store", "migrate"), wanted, StoreMigration)
        for warning in done.warnings:
            typer.echo(f"Warning: {warning}", err=True)
        if wait and done.job is not None:
            until_ended(daemon, done.job, _MOVING_S)
    output.show_record(done, _migration(), here.format)
    tell_dry_run(wanted.dry_run)
    if done.job is not None and not wait:
        typer.echo(f"To wait for it: ddsctl jobs wait {done.job}", err=True)


@app.command()
def forget(
    ctx: typer.Context,
    unit: UnitOption,
    leave_data: Annotated[
        bool,
        typer.Option(
            "--leave-data",
            help="Remove nothing there, and withdraw no keys: the store is no more, or its data is to stay.",
        ),
    ] = False,
    wait: Wait = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Remove the old copy of a unit that was moved, for good. Links that were given out before the move end.

    What uploads that ended late have left in the old copy is copied first.

    Example: ddsctl store forget --unit genomics --dry-run
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import ForgetStore, StoreForgotten

    here = session.of(ctx, as_json, as_tsv)
    place = path("units", unit, "store", "forget")
    rehearsed = ForgetStore(leave_data=leave_data, dry_run=True)
    with Daemon(here.socket) as daemon:
        done = daemon.post(place, rehearsed, StoreForgotten)
        if not dry_run:
            confirm(_what_is_forgotten(unit, done.source, leave_data), yes=yes)
            done = daemon.post(place, ForgetStore(leave_data=leave_data), StoreForgotten)
        if wait and done.job is not None:
            until_ended(daemon, done.job, _MOVING_S)
    output.show_record(done, _forgotten(), here.format)
    tell_dry_run(dry_run)


def _what_is_forgotten(unit: str, source: str, leave_data: bool) -> str:
    if leave_data:
        return f"Forget the old copy of {unit} at {source}, and leave it there?"
    return f"Remove the old copy of {unit} at {source} for good?"


def show_account(done: StoreAccountSet, here: Session) -> None:
    """Print the account that a unit has now, and what to know of it."""
    output.show_record(done, _account(), here.format)
    for warning in done.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    tell_dry_run(done.dry_run)


def _read_only_secret(access_key: str, file: Path | None) -> str:
    if not access_key:
        return ""
    return asking.secret(f"Secret key of {access_key}", file, "--read-only-secret-file")


def _by_hand(told: StorePolicy) -> list[str]:
    """Return the commands that do by hand what an administrator's key would let the daemon do."""
    user = shlex.quote(told.user)
    store = told.endpoint or "https://s3.example.org:9000"
    return [
        "",
        "With MinIO's mc, as an administrator of the store:",
        f"  ddsctl store policy {shlex.quote(told.unit)} --json > policy.json",
        f"  mc alias set store {shlex.quote(store)}",
        f"  mc admin policy create store {user} policy.json",
        f"  mc admin user add store {user}",
        f"  mc admin policy attach store {user} --user {user}",
        "Then tell the daemon:",
        f"  ddsctl store set-credentials {shlex.quote(told.unit)} --access-key {user}",
    ]


def _columns() -> list[Column[UnitStore]]:
    return [
        Column("unit", lambda one: one.unit, lambda one: one.unit or "(configured)"),
        Column("state", lambda one: one.state),
        Column("address", lambda one: one.endpoint),
        Column("address for users", lambda one: one.public_endpoint),
        Column("access key", lambda one: one.access_key),
        Column("changed", lambda one: one.changed_at),
        Column("answers", lambda one: one.answers),
        Column("problem", lambda one: one.problem),
    ]


def _rotated() -> list[Column[KeysRotated]]:
    return [
        Column("unit", lambda one: one.unit, lambda one: one.unit or "(configured)"),
        Column("access key", lambda one: one.access_key),
        Column("keys replaced", lambda one: one.keys, right=True),
        Column("good until", lambda one: one.good_until),
        Column("job", lambda one: one.job, right=True),
    ]


def _migration() -> list[Column[StoreMigration]]:
    return [
        Column("unit", lambda one: one.unit),
        Column("from", lambda one: one.source),
        Column("to", lambda one: one.target),
        Column("projects", lambda one: one.projects),
        Column("files", lambda one: one.files),
        Column("stored", lambda one: one.bytes, lambda one: sizes.show(one.bytes)),
        Column("job", lambda one: one.job),
    ]


def _forgotten() -> list[Column[StoreForgotten]]:
    return [
        Column("unit", lambda one: one.unit),
        Column("old copy", lambda one: one.source),
        Column("job", lambda one: one.job),
    ]


def _account() -> list[Column[StoreAccountSet]]:
    return [
        Column("unit", lambda one: one.unit),
        Column("address", lambda one: one.endpoint),
        Column("address for users", lambda one: one.public_endpoint),
        Column("access key", lambda one: one.access_key),
    ]


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
