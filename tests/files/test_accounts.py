"""Units with an account of their own at the store: tried out, kept sealed, and used from the next call on."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin
from sqlalchemy import select

from ddsd import bootstrap
from ddsd.access import Operator, System
from ddsd.audit.tables import AuditEntry
from ddsd.clock import Clock, SystemClock
from ddsd.errors import Busy, Conflict, InvalidFields, StoreRefused
from ddsd.files import accounts, grants, rotation, stores
from ddsd.files.accounts import Credentials
from ddsd.files.tables import StoreKey
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.tables import Job
from ddsd.projects.projects import bucket_name
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.settings import Settings
from ddsd.storage.memory import MemoryStore
from ddsd.storage.minio import S3Store, make_user
from ddsd.storage.port import May, ObjectStore, ScopedKey
from ddsd.storage.stores import StoreAccount, StoreAddress, Stores, StoreUser, policy_for
from ddsd.units.tables import StoreState, Unit, UnitStore
from ddsd.units.units import MAX_INTERNAL_REF, bucket_pattern, create, spelled, why_not_a_name
from ddsd.work import Services, reading, transaction
from tests.builders import NOON, SettableClock, a_project, a_unit
from tests.parts.minio_server import MinioServer, minio_server
from tests.services import make_services

OPERATOR = Operator(0, "root")
HOUR = timedelta(hours=1)
on_one_database = pytest.mark.parametrize("kind", ["sqlite"])
"""What the stores do is the same on both; that the rows are right is tested with stores in memory."""
ADDRESS = "http://store.example"
GIVEN = Credentials("unit-key", SecretText("unit-secret"))
REFERENCES = st.from_regex(r"[A-Za-z0-9.-]{1,30}", fullmatch=True).filter(
    lambda text: not why_not_a_name(text, MAX_INTERNAL_REF)
)


@pytest.fixture(scope="module")
def running_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    yield from minio_server(tmp_path_factory.mktemp("minio"))


def at_an_s3_store(services: Services, clock: Clock, endpoint: str = ADDRESS) -> Services:
    """Services whose configured store is at an address; its key may do everything."""
    store = MemoryStore(clock=clock, endpoint=endpoint)
    settings = Settings.model_validate(
        {"store": {"kind": "s3", "endpoint": endpoint, "access_key": "configured"}}
    )
    return replace(services, settings=settings, store=store)


def at_minio(services: Services, server: MinioServer) -> Services:
    """Services whose configured store is a MinIO, of which they are root; its clock is the only one it believes."""
    clock = SystemClock()
    settings = Settings.model_validate(
        {
            "store": {
                "kind": "s3",
                "endpoint": server.endpoint,
                "access_key": server.access_key,
            }
        }
    )
    store = S3Store(
        endpoint=server.endpoint, access_key=server.access_key, secret_key=server.secret_key
    )

    def opened(account: StoreAccount) -> ObjectStore:
        return bootstrap.opened(clock, account)

    stores_of_units = Stores(opened, make_user)
    return replace(services, settings=settings, clock=clock, store=store, stores=stores_of_units)


async def a_unit_with_project(services: Services) -> tuple[Unit, Project]:
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session)
        bucket = bucket_name(f"{unit.internal_ref}00001", services.clock.now())
        return unit, await a_project(work.session, unit, bucket=bucket)


async def rows(services: Services) -> list[UnitStore]:
    async with reading(services, System()) as work:
        return list(await work.session.scalars(select(UnitStore).order_by(UnitStore.columns().id)))


def user_of(endpoint: str, access_key: str, secret: SecretText) -> Minio:
    return Minio(
        urlsplit(endpoint).netloc,
        access_key=access_key,
        secret_key=secret.text(),
        secure=False,
        region="us-east-1",
        http_client=urllib3.PoolManager(retries=False, timeout=20),
    )


def put(user: Minio, bucket: str, key: str, content: bytes = b"content") -> None:
    user.put_object(bucket, key, io.BytesIO(content), len(content))


@given(one=REFERENCES, other=REFERENCES, number=st.integers(1, 99_999))
def test_no_bucket_of_a_unit_fits_the_pattern_of_another(one: str, other: str, number: int) -> None:
    bucket = bucket_name(f"{one}{number:05d}", NOON)
    fits = fnmatchcase(bucket, bucket_pattern(other))
    assert fits == (spelled(one) == spelled(other))


@pytest.mark.parametrize("longer", ["u0", "u00000", "u1-", "u-1", "u00001-260302120000000000-ab"])
def test_a_reference_that_begins_another_reaches_none_of_its_buckets(longer: str) -> None:
    assert not fnmatchcase(bucket_name(f"{longer}00001", NOON), bucket_pattern("u"))
    assert not fnmatchcase(bucket_name("u00001", NOON), bucket_pattern(longer))


async def test_references_that_buckets_spell_alike_are_refused(services: Services) -> None:
    names: dict[str, Any] = {
        "name": "One",
        "external_display_name": "One",
        "contact_email": "a@example.org",
    }
    async with transaction(services, OPERATOR) as work:
        await create(work, public_id="a.b", **names)
    with pytest.raises(Conflict, match="internal reference"):
        async with transaction(services, OPERATOR) as work:
            await create(work, public_id="A-B", **names | {"name": "Other"})


async def test_an_account_is_kept_sealed_and_serves_the_units_projects_old_and_new(
    services: Services, clock: SettableClock
) -> None:
    services = at_an_s3_store(services, clock)
    unit, project = await a_unit_with_project(services)
    _, elsewhere = await a_unit_with_project(services)
    before = await stores.of(services, project)
    await accounts.set_credentials(services, OPERATOR, unit.public_id, GIVEN, dry_run=False)
    place = await stores.place_of(services, project)
    assert before is services.store
    assert place.store is not services.store
    assert place.identity == f"s3 {ADDRESS} unit-key"
    assert (await stores.place_of(services, elsewhere)).store is services.store
    (row,) = await rows(services)
    assert b"unit-secret" not in (row.secret or b"")


async def test_another_daemon_uses_a_new_account_at_its_next_call(
    services: Services, clock: SettableClock
) -> None:
    services = at_an_s3_store(services, clock)
    other = at_an_s3_store(
        make_services(services.database, clock, services.settings.instance.state_dir), clock
    )
    unit, project = await a_unit_with_project(services)
    assert (await stores.place_of(other, project)).store_id is None
    await accounts.set_credentials(services, OPERATOR, unit.public_id, GIVEN, dry_run=False)
    assert (await stores.place_of(other, project)).identity == f"s3 {ADDRESS} unit-key"
    renewed = replace(GIVEN, access_key="another-key")
    await accounts.set_credentials(services, OPERATOR, unit.public_id, renewed, dry_run=False)
    assert (await stores.place_of(other, project)).identity == f"s3 {ADDRESS} another-key"


async def test_a_dry_run_tries_the_account_out_and_keeps_nothing(
    services: Services, clock: SettableClock
) -> None:
    services = at_an_s3_store(services, clock)
    unit, _ = await a_unit_with_project(services)
    told = await accounts.set_credentials(services, OPERATOR, unit.public_id, GIVEN, dry_run=True)
    assert (told.endpoint, told.access_key) == (ADDRESS, "unit-key")
    assert await rows(services) == []


async def test_keys_of_the_account_before_are_handed_out_no_more_and_withdrawn_with_it(
    services: Services, clock: SettableClock
) -> None:
    services = at_an_s3_store(services, clock)
    configured = services.store
    assert isinstance(configured, MemoryStore)
    unit, project = await a_unit_with_project(services)
    first = await grants.grant_upload(services, System(), project)
    await accounts.set_credentials(services, OPERATOR, unit.public_id, GIVEN, dry_run=False)
    second = await grants.grant_upload(services, System(), project)
    assert first.access_key != second.access_key
    assert first.access_key in configured.keys
    async with transaction(services, System()) as work:
        await grants.withdraw_uploads(work, project)
    async with reading(services, System()) as work:
        due = await work.session.scalars(
            select(Job.columns().subject).where(
                Job.columns().kind == grants.REVOKE_STORE_KEY,
                Job.columns().run_after <= clock.now(),
            )
        )
        subjects = list(due)
    assert len(subjects) == 2
    for subject in subjects:
        await grants.revoke_store_key(services, subject)
    place = await stores.place_of(services, project)
    assert isinstance(place.store, MemoryStore)
    assert configured.keys == {}
    assert place.store.keys == {}


async def test_the_embedded_store_has_no_accounts(services: Services) -> None:
    unit, _ = await a_unit_with_project(services)
    with pytest.raises(Conflict, match="ddsctl store migrate"):
        await accounts.set_credentials(services, OPERATOR, unit.public_id, GIVEN, dry_run=False)


async def test_another_address_is_refused_while_the_unit_has_data(
    services: Services, clock: SettableClock
) -> None:
    services = at_an_s3_store(services, clock)
    unit, project = await a_unit_with_project(services)
    elsewhere = replace(GIVEN, endpoint="http://other.example")
    with pytest.raises(Conflict, match="ddsctl store migrate"):
        await accounts.set_credentials(services, OPERATOR, unit.public_id, elsewhere, dry_run=False)
    async with transaction(services, System()) as work:
        await work.session.delete(await work.session.get_one(Project, project.id))
    await accounts.set_credentials(services, OPERATOR, unit.public_id, elsewhere, dry_run=False)
    assert [row.endpoint for row in await rows(services)] == ["http://other.example"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("access_key", "a b"),
        ("access_key", ""),
        ("secret_key", SecretText("short")),
        ("endpoint", "s3.example.org"),
        ("endpoint", "http://host/path"),
        ("public_endpoint", ""),
        ("region", "us east"),
    ],
)
async def test_what_can_be_no_account_is_refused_by_its_field(
    services: Services, clock: SettableClock, field: str, value: Any
) -> None:
    services = at_an_s3_store(services, clock)
    unit, _ = await a_unit_with_project(services)
    wrong = replace(GIVEN, **{field: value})
    with pytest.raises(InvalidFields) as caught:
        await accounts.set_credentials(services, OPERATOR, unit.public_id, wrong, dry_run=False)
    assert list(caught.value.fields) == [field]


@on_one_database
async def test_an_administrator_makes_a_user_that_reaches_its_units_buckets_alone(
    services: Services, running_minio: MinioServer
) -> None:
    services = at_minio(services, running_minio)
    await services.store.start()
    unit, project = await a_unit_with_project(services)
    administrator = Credentials(running_minio.access_key, running_minio.secret_key)
    made = await accounts.make_user(
        services, OPERATOR, unit.public_id, administrator, dry_run=False
    )
    assert made.access_key == f"ddsd-{unit.internal_ref}"
    assert made.warnings == ()
    granted = await grants.grant_upload(services, System(), project)
    put(user_of(granted.endpoint, granted.access_key, granted.secret_key), project.bucket, "key")
    (row,) = await rows(services)
    place = await stores.place_of(services, project)
    for foreign in ("backups", bucket_name(f"{unit.internal_ref}0000001", NOON)):
        with pytest.raises(StoreRefused):
            await place.store.ensure_bucket(foreign)
    assert await place.store.get(project.bucket, "key") == b"content"
    async with reading(services, System()) as work:
        told = " ".join(entry.facts for entry in await work.session.scalars(select(AuditEntry)))
    secret = running_minio.secret_key
    assert running_minio.access_key in told
    assert secret.text() not in told
    assert secret.reveal() not in (row.secret or b"")
    await services.stores.stop()
    await services.store.stop()


@on_one_database
async def test_making_the_user_again_gives_it_another_secret_and_its_keys_go_on(
    services: Services, running_minio: MinioServer
) -> None:
    services = at_minio(services, running_minio)
    unit, project = await a_unit_with_project(services)
    administrator = Credentials(running_minio.access_key, running_minio.secret_key)
    for _ in range(2):
        await accounts.make_user(services, OPERATOR, unit.public_id, administrator, dry_run=False)
    granted = await grants.grant_upload(services, System(), project)
    await accounts.make_user(services, OPERATOR, unit.public_id, administrator, dry_run=False)
    put(user_of(granted.endpoint, granted.access_key, granted.secret_key), project.bucket, "key")
    assert await grants.grant_upload(services, System(), project) == granted
    assert len(await rows(services)) == 1
    await services.stores.stop()


@on_one_database
async def test_a_daemon_that_dies_after_it_had_the_user_made_again_finds_out_its_secret(
    services: Services, running_minio: MinioServer
) -> None:
    services = at_minio(services, running_minio)
    unit, project = await a_unit_with_project(services)
    administrator = Credentials(running_minio.access_key, running_minio.secret_key)
    await accounts.make_user(services, OPERATOR, unit.public_id, administrator, dry_run=False)

    async def made_and_died(account: StoreAccount, user: StoreUser) -> None:
        await make_user(account, user)
        raise DaemonDied

    clock = SystemClock()
    opening = Stores(lambda account: bootstrap.opened(clock, account), made_and_died)
    dying = replace(services, stores=opening)
    with pytest.raises(DaemonDied):
        await accounts.make_user(dying, OPERATOR, unit.public_id, administrator, dry_run=False)
    with pytest.raises(StoreRefused, match="SignatureDoesNotMatch"):
        await (await stores.of(services, project)).probe()
    async with reading(services, System()) as work:
        job = (await work.session.scalars(select(Job))).one()
    await rotation.HANDLERS[job.kind](services, job.subject)
    await (await stores.of(services, project)).probe()
    await services.stores.stop()


@on_one_database
async def test_a_wrong_administrator_leaves_an_account_that_works_and_can_be_made_again_at_once(
    services: Services, running_minio: MinioServer
) -> None:
    services = at_minio(services, running_minio)
    unit, project = await a_unit_with_project(services)
    administrator = Credentials(running_minio.access_key, running_minio.secret_key)
    wrong = replace(administrator, secret_key=SecretText("not-the-secret"))
    await accounts.make_user(services, OPERATOR, unit.public_id, administrator, dry_run=False)
    with pytest.raises(StoreRefused):
        await accounts.make_user(services, OPERATOR, unit.public_id, wrong, dry_run=False)
    await (await stores.of(services, project)).probe()
    await accounts.make_user(services, OPERATOR, unit.public_id, administrator, dry_run=False)
    await (await stores.of(services, project)).probe()
    await services.stores.stop()


class DaemonDied(BaseException):
    """The process is gone."""


@on_one_database
async def test_an_account_that_does_not_work_is_not_kept(
    services: Services, running_minio: MinioServer
) -> None:
    services = at_minio(services, running_minio)
    unit, _ = await a_unit_with_project(services)
    wrong = Credentials(running_minio.access_key, SecretText("not-the-secret"))
    with pytest.raises(StoreRefused, match="SignatureDoesNotMatch"):
        await accounts.set_credentials(services, OPERATOR, unit.public_id, wrong, dry_run=False)
    with pytest.raises(StoreRefused):
        await accounts.make_user(services, OPERATOR, unit.public_id, wrong, dry_run=False)
    assert await rows(services) == []


@on_one_database
async def test_an_account_that_reaches_further_is_kept_with_a_warning(
    services: Services, running_minio: MinioServer
) -> None:
    services = at_minio(services, running_minio)
    unit, _ = await a_unit_with_project(services)
    wide = Credentials(running_minio.access_key, running_minio.secret_key)
    told = await accounts.set_credentials(services, OPERATOR, unit.public_id, wide, dry_run=False)
    assert ["reaches further" in warning for warning in told.warnings] == [True]
    left = user_of(running_minio.endpoint, running_minio.access_key, running_minio.secret_key)
    assert not [one.name for one in left.list_buckets() if "trial" in one.name]
    await services.stores.stop()


@on_one_database
async def test_a_key_for_downloads_that_can_write_is_not_kept(
    services: Services, running_minio: MinioServer
) -> None:
    services = at_minio(services, running_minio)
    await services.store.start()
    unit, _ = await a_unit_with_project(services)
    root = Credentials(running_minio.access_key, running_minio.secret_key)
    own = await accounts.make_user_elsewhere(
        services, OPERATOR, unit.public_id, replace(root, endpoint=running_minio.endpoint)
    )
    for reader, wrong in (
        (ScopedKey(own.access_key, own.secret_key, May.DOWNLOAD), "can store objects"),
        (replace(await services.store.issue_upload_key("any", HOUR)), "cannot get objects"),
        (replace(await services.store.issue_download_key()), None),
    ):
        given = replace(root, read_only=reader)
        attempt = accounts.set_credentials(services, OPERATOR, unit.public_id, given, dry_run=False)
        if wrong is None:
            await attempt
        else:
            with pytest.raises(StoreRefused, match=wrong):
                await attempt
            assert await rows(services) == []
    with pytest.raises(InvalidFields) as caught:
        same = replace(own, read_only=ScopedKey(own.access_key, own.secret_key, May.DOWNLOAD))
        await accounts.set_credentials(services, OPERATOR, unit.public_id, same, dry_run=False)
    assert list(caught.value.fields) == ["read_only_access_key"]
    await services.stores.stop()
    await services.store.stop()


@on_one_database
async def test_an_account_that_may_not_remove_is_told_so_and_not_what_followed_from_it(
    services: Services, running_minio: MinioServer
) -> None:
    services = at_minio(services, running_minio)
    unit, _ = await a_unit_with_project(services)
    root = StoreAccount(
        StoreAddress(running_minio.endpoint, running_minio.endpoint, "us-east-1"),
        running_minio.access_key,
        running_minio.secret_key,
    )
    policy = json.loads(
        json.dumps(policy_for(bucket_pattern(unit.internal_ref))).replace('"s3:DeleteObject", ', "")
    )
    user = StoreUser(f"hoarder-{unit.internal_ref}", SecretText("hoards-everything"), policy)
    await make_user(root, user)
    given = Credentials(user.name, user.secret_key)
    with pytest.raises(StoreRefused, match="does not let this key remove objects"):
        await accounts.set_credentials(services, OPERATOR, unit.public_id, given, dry_run=False)


async def test_the_policy_is_what_the_administrator_would_give(services: Services) -> None:
    unit, _ = await a_unit_with_project(services)
    async with reading(services, OPERATOR) as work:
        plan = await accounts.plan(work, unit.public_id)
    assert plan.user == f"ddsd-{unit.internal_ref}"
    assert bucket_pattern(unit.internal_ref) in json.dumps(plan.policy)
    assert "*" not in json.dumps(plan.policy).replace("/*", "")


@on_one_database
async def test_a_key_of_an_account_that_is_gone_is_left_to_the_operator(
    services: Services, running_minio: MinioServer
) -> None:
    services = at_minio(services, running_minio)
    unit, project = await a_unit_with_project(services)
    administrator = Credentials(running_minio.access_key, running_minio.secret_key)
    await accounts.make_user(services, OPERATOR, unit.public_id, administrator, dry_run=False)
    await grants.grant_upload(services, System(), project)
    await accounts.set_credentials(services, OPERATOR, unit.public_id, administrator, dry_run=False)
    (before, _) = await rows(services)
    admin = MinioAdmin(
        endpoint=urlsplit(running_minio.endpoint).netloc,
        credentials=StaticProvider(running_minio.access_key, running_minio.secret_key.text()),
        secure=False,
    )
    admin.user_remove(before.access_key)
    async with reading(services, System()) as work:
        key = (await work.session.scalars(select(StoreKey))).one()
    with pytest.raises(GiveUp, match=key.access_key):
        await grants.revoke_store_key(services, f"{key.access_key} {before.id}")
    await services.stores.stop()


async def test_replaced_accounts_are_forgotten_once_nothing_is_left_to_withdraw(
    services: Services, clock: SettableClock
) -> None:
    services = at_an_s3_store(services, clock)
    unit, project = await a_unit_with_project(services)
    for access_key in ("first-key", "second-key"):
        given = replace(GIVEN, access_key=access_key)
        await accounts.set_credentials(services, OPERATOR, unit.public_id, given, dry_run=False)
    await grants.grant_upload(services, System(), project)
    clock.advance(days=29)
    async with transaction(services, System()) as work:
        await grants.forget_expired(work)
    assert len(await rows(services)) == 2
    clock.advance(days=2)
    async with transaction(services, System()) as work:
        await grants.forget_expired(work)
    assert [row.access_key for row in await rows(services)] == ["second-key"]


class Hesitating(MemoryStore):
    """A store that takes its time to make a key: something else happens meanwhile."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def issue_upload_key(self, bucket: str, lifetime: timedelta) -> ScopedKey:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().issue_upload_key(bucket, lifetime)


async def test_a_key_of_an_account_that_was_replaced_while_it_was_made_is_withdrawn(
    services: Services, clock: SettableClock
) -> None:
    store = Hesitating(clock=clock, endpoint=ADDRESS)
    services = replace(at_an_s3_store(services, clock), store=store)
    unit, project = await a_unit_with_project(services)
    store.meanwhile = lambda: accounts.set_credentials(
        services, OPERATOR, unit.public_id, GIVEN, dry_run=False
    )
    with pytest.raises(Busy):
        await grants.grant_upload(services, System(), project)
    async with reading(services, System()) as work:
        jobs = await work.session.scalars(select(Job.columns().subject))
        subjects = set(jobs)
    assert subjects == set(store.keys)
    granted = await grants.grant_upload(services, System(), project)
    assert granted.access_key not in store.keys


async def test_of_two_accounts_that_are_given_at_once_one_is_current(
    services: Services, clock: SettableClock
) -> None:
    services = at_an_s3_store(services, clock)
    unit, project = await a_unit_with_project(services)
    both = [replace(GIVEN, access_key=f"key-{number}") for number in range(2)]
    await asyncio.gather(
        *(
            accounts.set_credentials(services, OPERATOR, unit.public_id, one, dry_run=False)
            for one in both
        )
    )
    kept = {row.state: row.id for row in await rows(services)}
    assert set(kept) == {StoreState.CURRENT, StoreState.REPLACED}
    assert (await stores.place_of(services, project)).store_id == kept[StoreState.CURRENT]
