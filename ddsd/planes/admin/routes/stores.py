"""The accounts of units at stores. Secrets come in here and never go out."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.files import accounts, leaving, moving, rotation
from ddsd.files.accounts import Credentials, Given
from ddsd.files.moving import Move
from ddsd.planes.admin import condition
from ddsd.secret import SecretText
from ddsd.storage.port import May, ScopedKey
from ddsd.work import Services, reading, rehearsal, transaction


@get("/stores")
async def list_stores(
    services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> list[wire.UnitStore]:
    """List the stores that are used, and whether each answers."""
    return await condition.stores_of_units(services, operator)


@get("/units/{public_id:str}/store/policy")
async def show_policy(
    public_id: FromPath[str],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.StorePolicy:
    """Tell which user and policy a unit should have at the store."""
    async with reading(services, operator) as work:
        plan = await accounts.plan(work, public_id)
    return wire.StorePolicy(
        unit=plan.unit,
        user=plan.user,
        endpoint=plan.address.endpoint if plan.address else "",
        policy=plan.policy,
    )


@post("/units/{public_id:str}/store/credentials", status_code=HTTP_200_OK)
async def set_credentials(
    public_id: FromPath[str],
    data: JSONBody[wire.SetStoreCredentials],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.StoreAccountSet:
    """Try an account out, and give it to a unit."""
    wanted = credentials(data)
    given = await accounts.set_credentials(
        services, operator, public_id, wanted, dry_run=data.dry_run
    )
    return _given(given, data.dry_run)


@post("/units/{public_id:str}/store/user", status_code=HTTP_200_OK)
async def make_user(
    public_id: FromPath[str],
    data: JSONBody[wire.MakeStoreUser],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.StoreAccountSet:
    """Let an administrator of the store make the unit's user."""
    by = _administrator(data)
    given = await accounts.make_user(services, operator, public_id, by, dry_run=data.dry_run)
    return _given(given, data.dry_run)


@post("/stores/rotate", status_code=HTTP_200_OK)
async def rotate_keys(
    data: JSONBody[wire.RotateKeys],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> list[wire.KeysRotated]:
    """Let units have new keys at the store."""
    begin = rehearsal if data.dry_run else transaction
    async with begin(services, operator) as work:
        done = await rotation.rotate(work, data.unit, at_once=data.at_once)
    return [
        wire.KeysRotated(
            unit=one.unit,
            access_key=one.access_key,
            job=None if data.dry_run else one.job,
            keys=one.keys,
            good_until=one.good_until,
        )
        for one in done
    ]


@post("/units/{public_id:str}/store/migrate", status_code=HTTP_200_OK)
async def migrate(
    public_id: FromPath[str],
    data: JSONBody[wire.MigrateStore],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.StoreMigration:
    """Begin to move a unit's data to another store."""
    if data.back:
        async with transaction(services, operator) as work:
            move = await moving.turn_back(work, public_id, dry_run=data.dry_run)
        return _migration(move)
    if data.administrator is not None and not data.dry_run:
        by = _administrator(data.administrator)
        return _migration(await moving.begin_by_administrator(services, operator, public_id, by))
    wanted = credentials(data.account) if data.account else None
    move = await moving.begin(services, operator, public_id, wanted, dry_run=data.dry_run)
    return _migration(move)


def _migration(move: Move) -> wire.StoreMigration:
    return wire.StoreMigration(
        unit=move.unit,
        source=move.source,
        target=move.target,
        projects=move.projects,
        files=move.files,
        bytes=move.size_bytes,
        warnings=list(move.warnings),
        job=move.job.id if move.job else None,
    )


@post("/units/{public_id:str}/store/forget", status_code=HTTP_200_OK)
async def forget(
    public_id: FromPath[str],
    data: JSONBody[wire.ForgetStore],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.StoreForgotten:
    """Begin to remove the old copy of a unit that was moved, or only forget it."""
    async with transaction(services, operator) as work:
        if data.leave_data:
            where = await leaving.leave(work, public_id, dry_run=data.dry_run)
            return wire.StoreForgotten(unit=public_id, source=where, job=None)
        where, job = await leaving.begin_forgetting(work, public_id, dry_run=data.dry_run)
    return wire.StoreForgotten(unit=public_id, source=where, job=job.id if job else None)


def _administrator(data: wire.MakeStoreUser) -> Credentials:
    return Credentials(
        access_key=data.admin_access_key,
        secret_key=SecretText(data.admin_secret_key),
        endpoint=data.endpoint,
        public_endpoint=data.public_endpoint,
        region=data.region,
    )


def credentials(data: wire.SetStoreCredentials) -> Credentials:
    """Return what was given, its secrets kept from being shown."""
    read_only = None
    if data.read_only_access_key:
        secret = SecretText(data.read_only_secret_key)
        read_only = ScopedKey(data.read_only_access_key, secret, May.DOWNLOAD)
    return Credentials(
        access_key=data.access_key,
        secret_key=SecretText(data.secret_key),
        endpoint=data.endpoint,
        public_endpoint=data.public_endpoint,
        region=data.region,
        iam_endpoint=data.iam_endpoint,
        read_only=read_only,
        wide_upload_keys=data.wide_upload_keys,
    )


def _given(given: Given, dry_run: bool) -> wire.StoreAccountSet:
    return wire.StoreAccountSet(
        unit=given.unit,
        endpoint=given.endpoint,
        public_endpoint=given.public_endpoint,
        access_key=given.access_key,
        warnings=list(given.warnings),
        dry_run=dry_run,
    )
