"""New keys while transfers go on: what was begun ends well, what is begun later has another key."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from minio import Minio
from minio.datatypes import Part
from minio.error import S3Error
from sqlalchemy import select

from ddsd.access import Operator, System
from ddsd.clock import SystemClock
from ddsd.errors import NotFound, StoreRefused
from ddsd.files import accounts, grants, moving, rotation, stores
from ddsd.files.accounts import Credentials
from ddsd.files.grants import UploadGrant
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.tables import Job, JobState
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.memory import MemoryStore
from ddsd.storage.stores import Stores
from ddsd.units import stores as rows_of_units
from ddsd.units.tables import Unit, UnitStore
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.files.test_accounts import (
    ADDRESS,
    GIVEN,
    at_an_s3_store,
    at_minio,
    on_one_database,
    user_of,
)
from tests.files.test_accounts import a_unit_with_project as a_unit_with_project
from tests.parts.minio_server import MinioServer, minio_server
from tests.services import SeveralStores, no_users

OPERATOR = Operator(0, "root")
FIVE_MIB = b"x" * (5 * 1024 * 1024)


@pytest.fixture(scope="module")
def running_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    yield from minio_server(tmp_path_factory.mktemp("minio"))


@dataclass(frozen=True)
class Transfer:
    """A unit with a project, an upload in parts that has begun, and a link that was given out."""

    services: Services
    unit: Unit
    project: Project
    granted: UploadGrant
    user: Minio
    upload_id: str
    first: Part
    link: str

    @classmethod
    async def begun(cls, services: Services, unit: Unit, project: Project) -> Transfer:
        granted = await grants.grant_upload(services, System(), project)
        user = user_of(granted.endpoint, granted.access_key, granted.secret_key)
        user.put_object(project.bucket, "whole", io.BytesIO(b"content"), 7)
        upload_id = user._create_multipart_upload(project.bucket, "parts", {})
        etag = user._upload_part(project.bucket, "parts", FIVE_MIB, None, upload_id, 1)
        link = (await grants.download_links(services, System(), project))("whole")
        return cls(services, unit, project, granted, user, upload_id, Part(1, etag), link)

    async def rotate(self, *, at_once: bool = False) -> list[rotation.Rotated]:
        async with transaction(self.services, OPERATOR) as work:
            done = await rotation.rotate(work, self.unit.public_id, at_once=at_once)
        await run_due(self.services)
        return done

    def finish(self) -> None:
        bucket = self.project.bucket
        etag = self.user._upload_part(bucket, "parts", b"end", None, self.upload_id, 2)
        parts = [self.first, Part(2, etag)]
        self.user._complete_multipart_upload(bucket, "parts", self.upload_id, parts)


async def run_due(services: Services) -> None:
    """Run the jobs about keys that are due, as the runner would."""
    handlers = {
        grants.REVOKE_STORE_KEY: grants.revoke_store_key,
        **rotation.HANDLERS,
    }
    async with transaction(services, System()) as work:
        jobs = await work.session.scalars(
            select(Job).where(
                Job.columns().state == JobState.QUEUED,
                Job.columns().run_after <= services.clock.now(),
            )
        )
        due = [(job.kind, job.subject) for job in jobs if job.kind in handlers]
        for job in await work.session.scalars(select(Job)):
            if (job.kind, job.subject) in due:
                job.state = JobState.DONE
    for kind, subject in due:
        await handlers[kind](services, subject)


@pytest.fixture(params=["embedded", "minio"])
async def transfer(
    request: pytest.FixtureRequest, services: Services, tmp_path: Path
) -> AsyncIterator[Transfer]:
    if request.param == "embedded":
        store = EmbeddedStore(directory=tmp_path / "store")
        services = replace(services, store=store, clock=SystemClock())
        await store.start()
        unit, project = await a_unit_with_project(services)
    else:
        server: MinioServer = request.getfixturevalue("running_minio")
        services = at_minio(services, server)
        unit, project = await a_unit_with_project(services)
        administrator = Credentials(server.access_key, server.secret_key)
        await accounts.make_user(services, OPERATOR, unit.public_id, administrator, dry_run=False)
    yield await Transfer.begun(services, unit, project)
    await services.stores.stop()
    await services.store.stop()


@on_one_database
async def test_what_runs_goes_on_and_what_is_asked_for_later_has_new_keys(
    transfer: Transfer,
) -> None:
    await transfer.rotate()
    later = await grants.grant_upload(transfer.services, System(), transfer.project)
    assert later.access_key != transfer.granted.access_key
    transfer.finish()
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(transfer.link)).content == b"content"
        links = await grants.download_links(transfer.services, System(), transfer.project)
        answer = await http.get(links("parts"))
    assert len(answer.content) == len(FIVE_MIB) + 3


@on_one_database
async def test_at_once_breaks_off_what_runs(transfer: Transfer) -> None:
    await transfer.rotate()
    async with transaction(transfer.services, OPERATOR) as work:
        await rotation.rotate(work, None, at_once=True)
    await run_due(transfer.services)
    with pytest.raises(S3Error) as caught:
        transfer.finish()
    assert caught.value.response.status == 403
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(transfer.link)).status_code == 403
        links = await grants.download_links(transfer.services, System(), transfer.project)
        assert (await http.get(links("whole"))).content == b"content"


@on_one_database
@pytest.mark.parametrize("transfer", ["embedded"], indirect=True)
async def test_a_replaced_key_is_withdrawn_when_its_project_is_released(
    transfer: Transfer,
) -> None:
    await transfer.rotate()
    async with transaction(transfer.services, System()) as work:
        await grants.withdraw_uploads(work, transfer.project)
    await run_due(transfer.services)
    with pytest.raises(S3Error) as caught:
        transfer.finish()
    assert caught.value.response.status == 403


async def test_at_once_ends_what_accounts_made_that_were_replaced_or_are_moved_away_from(
    services: Services, clock: SettableClock
) -> None:
    places = SeveralStores(clock)
    services = replace(at_an_s3_store(services, clock), stores=Stores(places.open, no_users))
    unit, project = await a_unit_with_project(services)
    configured = services.store
    assert isinstance(configured, MemoryStore)
    await grants.grant_upload(services, System(), project)
    for access_key in ("first-account", "second-account"):
        given = replace(GIVEN, access_key=access_key)
        await accounts.set_credentials(services, OPERATOR, unit.public_id, given, dry_run=False)
        await grants.grant_upload(services, System(), project)
        await grants.download_links(services, System(), project)
    elsewhere = replace(GIVEN, endpoint="http://new.example")
    await moving.begin(services, OPERATOR, unit.public_id, elsewhere, dry_run=False)
    handed_out = {*configured.keys, *places.known[ADDRESS].keys}
    assert len(handed_out) == 5
    async with transaction(services, OPERATOR) as work:
        done = await rotation.rotate(work, unit.public_id, at_once=True)
    await run_due(services)
    assert {*configured.keys, *places.known[ADDRESS].keys} == set()
    assert sum(one.keys for one in done) == 5
    changed = [one.access_key for one in done if one.job is not None]
    assert changed == [GIVEN.access_key, "second-account"]


async def account_row(services: Services) -> UnitStore:
    async with reading(services, System()) as work:
        return (await work.session.scalars(select(UnitStore))).one()


@on_one_database
async def test_the_secret_of_a_units_user_is_another_afterwards(
    services: Services, running_minio: MinioServer
) -> None:
    services = at_minio(services, running_minio)
    unit, project = await a_unit_with_project(services)
    administrator = Credentials(running_minio.access_key, running_minio.secret_key)
    await accounts.make_user(services, OPERATOR, unit.public_id, administrator, dry_run=False)
    before = rows_of_units.account(services, await account_row(services))
    async with transaction(services, OPERATOR) as work:
        await rotation.rotate(work, unit.public_id, at_once=False)
    await run_due(services)
    old = await services.stores.tried(before)
    with pytest.raises(StoreRefused, match="SignatureDoesNotMatch"):
        await old.probe()
    await old.stop()
    await (await stores.of(services, project)).probe()
    assert (await account_row(services)).next_secret is None
    await services.stores.stop()


@on_one_database
async def test_a_daemon_that_dies_after_telling_the_store_leaves_a_secret_that_is_found(
    services: Services, running_minio: MinioServer
) -> None:
    services = at_minio(services, running_minio)
    unit, project = await a_unit_with_project(services)
    administrator = Credentials(running_minio.access_key, running_minio.secret_key)
    await accounts.make_user(services, OPERATOR, unit.public_id, administrator, dry_run=False)
    async with transaction(services, OPERATOR) as work:
        await rotation.rotate(work, unit.public_id, at_once=False)
    row = await account_row(services)
    told = rows_of_units.next_secret(services, row)
    assert told is not None
    await (await stores.of(services, project)).change_secret(told)  # and then it died
    await rotation.renew_store_account(services, str(row.id))
    await (await stores.of(services, project)).probe()
    await services.stores.stop()


class StoreWithFixedSecrets(MemoryStore):
    """A store that refuses every secret but the first, and does not change it."""

    async def change_secret(self, secret: SecretText) -> None:
        raise StoreRefused("This store changes no secrets.")


async def test_a_store_that_changes_no_secrets_is_used_with_the_one_it_has(
    services: Services, clock: SettableClock
) -> None:
    services = at_an_s3_store(services, clock)
    unit, _ = await a_unit_with_project(services)
    await accounts.set_credentials(services, OPERATOR, unit.public_id, GIVEN, dry_run=False)
    async with transaction(services, OPERATOR) as work:
        (told,) = await rotation.rotate(work, unit.public_id, at_once=False)
    row = await account_row(services)
    before = rows_of_units.account(services, row)

    class Fixed(StoreWithFixedSecrets):
        async def probe(self) -> None:
            raise StoreRefused("SignatureDoesNotMatch")

    services = replace(services, stores=type(services.stores)(lambda _: Fixed(), no_user))
    with pytest.raises(GiveUp, match="ddsctl store set-credentials"):
        await rotation.renew_store_account(services, str(row.id))
    after = await account_row(services)
    assert told.job is not None
    assert (rows_of_units.account(services, after), after.next_secret) == (before, None)


async def no_user(*_: object) -> None:
    """Make no user."""


async def test_a_unit_that_is_none_is_not_found(services: Services) -> None:
    with pytest.raises(NotFound):
        async with transaction(services, OPERATOR) as work:
            await rotation.rotate(work, "nobody", at_once=False)


@on_one_database
async def test_an_embedded_store_whose_keys_were_removed_serves_with_new_ones(
    services: Services, tmp_path: Path
) -> None:
    store = EmbeddedStore(directory=tmp_path / "embedded")
    served = replace(services, store=store, clock=SystemClock())
    _, project = await a_unit_with_project(served)
    await store.start()
    try:
        await store.ensure_bucket(project.bucket)
        await store.put(project.bucket, "a", b"content")
        old = (await grants.download_links(served, System(), project))("a")
        await store.stop()
        (tmp_path / "embedded" / "keys.json").unlink()
        await store.start()
        async with transaction(served, OPERATOR) as work:
            await rotation.rotate(work, None, at_once=True)
        new = (await grants.download_links(served, System(), project))("a")
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(old)).status_code == 403
            assert (await client.get(new)).content == b"content"
    finally:
        await store.stop()
