"""A unit moved from the embedded store to a MinIO and on to a versitygw, with all that objects may be."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from minio.error import S3Error
from sqlalchemy import select

from ddsd import bootstrap
from ddsd.access import Operator, System
from ddsd.clock import SystemClock
from ddsd.errors import Conflict
from ddsd.files import accounts, grants, leaving, moving, stores
from ddsd.files.accounts import Credentials
from ddsd.jobs.tables import Job, JobState
from ddsd.projects.tables import Project
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.minio import make_user
from ddsd.storage.port import ObjectStore
from ddsd.storage.stores import Stores
from ddsd.units.tables import Unit, UnitStore
from ddsd.work import Services, reading, transaction
from tests.files.test_accounts import a_unit_with_project, put, user_of
from tests.parts.minio_server import MinioServer, minio_server
from tests.parts.versitygw import VersityServer, versitygw_server

OPERATOR = Operator(0, "root")
CONTENTS = {
    "plain": b"content",
    "empty": b"",
    "å ö/日本語 +&.c4gh": os.urandom(1000),
    "parts": os.urandom(12 * 1024 * 1024),
}
HALF = os.urandom(600_000)
pytestmark = pytest.mark.parametrize("kind", ["sqlite"])


@pytest.fixture(scope="module")
def running_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    yield from minio_server(tmp_path_factory.mktemp("minio"))


@pytest.fixture(scope="module")
def running_versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VersityServer]:
    yield from versitygw_server(tmp_path_factory.mktemp("versitygw"))


@pytest.fixture
async def embedded(services: Services, tmp_path: Path) -> AsyncIterator[Services]:
    clock = SystemClock()
    store = EmbeddedStore(directory=tmp_path / "store")
    opening = Stores(partial(bootstrap.opened, clock), make_user)
    made = replace(services, clock=clock, store=store, stores=opening)
    await store.start()
    yield made
    await opening.stop()
    await store.stop()


async def a_filled_project(services: Services) -> tuple[Unit, Project]:
    unit, project = await a_unit_with_project(services)
    await services.store.ensure_bucket(project.bucket)
    for key, content in CONTENTS.items():
        await services.store.put(project.bucket, key, content)
    return unit, project


async def contents(store: ObjectStore, bucket: str) -> dict[str, bytes]:
    keys = [one.key async for one in store.list_objects(bucket)]
    return {key: await store.get(bucket, key) for key in keys}


async def migrate(services: Services, unit: Unit, wanted: Credentials | None) -> None:
    await moving.begin(services, OPERATOR, unit.public_id, wanted, dry_run=False)
    await moving.move_unit(services, unit.public_id)
    async with transaction(services, System()) as work:
        for job in await work.session.scalars(select(Job)):
            job.state = JobState.DONE


async def forget(services: Services, unit: Unit) -> None:
    async with transaction(services, OPERATOR) as work:
        _, job = await leaving.begin_forgetting(work, unit.public_id, dry_run=False)
    assert job is not None
    await leaving.forget_former_store(services, unit.public_id)
    async with transaction(services, System()) as work:
        (await work.session.get_one(Job, job.id)).state = JobState.DONE


async def fetched(services: Services, project: Project, key: str) -> bytes:
    link = (await grants.download_links(services, System(), project))(key)
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(link)).content


async def test_from_the_embedded_store_to_a_minio_to_a_versitygw_and_back(
    embedded: Services, running_minio: MinioServer, running_versitygw: VersityServer
) -> None:
    unit, project = await a_filled_project(embedded)
    at_minio = await accounts.make_user_elsewhere(
        embedded,
        OPERATOR,
        unit.public_id,
        Credentials(
            running_minio.access_key, running_minio.secret_key, endpoint=running_minio.endpoint
        ),
    )
    at_versity = Credentials(
        running_versitygw.access_key,
        running_versitygw.secret_key,
        endpoint=running_versitygw.endpoint,
        iam_endpoint=running_versitygw.iam_endpoint,
    )
    for wanted in (at_minio, at_versity, None):
        before = await stores.of(embedded, project)
        await migrate(embedded, unit, wanted)
        after = await stores.of(embedded, project)
        assert after is not before
        assert await contents(after, project.bucket) == CONTENTS
        assert (
            await fetched(embedded, project, "å ö/日本語 +&.c4gh") == CONTENTS["å ö/日本語 +&.c4gh"]
        )
        granted = await grants.grant_upload(embedded, System(), project)
        put(
            user_of(granted.endpoint, granted.access_key, granted.secret_key), project.bucket, "new"
        )
        await after.remove_objects(project.bucket, ["new"])
        assert await before.bucket_exists(project.bucket)
        await forget(embedded, unit)
        assert not await before.bucket_exists(project.bucket)
    async with reading(embedded, System()) as work:
        assert (await work.session.scalars(select(UnitStore))).first() is None


async def test_a_download_that_runs_ends_well_and_an_upload_key_of_before_is_worthless(
    embedded: Services, running_minio: MinioServer
) -> None:
    unit, project = await a_filled_project(embedded)
    granted = await grants.grant_upload(embedded, System(), project)
    link = (await grants.download_links(embedded, System(), project))("parts")
    administrator = Credentials(
        running_minio.access_key, running_minio.secret_key, endpoint=running_minio.endpoint
    )
    wanted = await accounts.make_user_elsewhere(embedded, OPERATOR, unit.public_id, administrator)
    received = b""
    async with httpx.AsyncClient(trust_env=False) as http, http.stream("GET", link) as answer:
        chunks = answer.aiter_bytes(65536)
        received += await anext(chunks)
        await migrate(embedded, unit, wanted)
        async for chunk in chunks:
            received += chunk
    assert received == CONTENTS["parts"]
    with pytest.raises(S3Error, match="InvalidAccessKeyId"):
        put(user_of(granted.endpoint, granted.access_key, granted.secret_key), project.bucket, "x")


async def test_an_upload_over_a_file_that_began_before_the_move_and_ends_after_it_is_not_lost(
    embedded: Services, running_minio: MinioServer
) -> None:
    unit, project = await a_filled_project(embedded)
    granted = await grants.grant_upload(embedded, System(), project)
    user = user_of(granted.endpoint, granted.access_key, granted.secret_key)
    late = urlsplit(user.presigned_put_object(project.bucket, "plain"))
    administrator = Credentials(
        running_minio.access_key, running_minio.secret_key, endpoint=running_minio.endpoint
    )
    wanted = await accounts.make_user_elsewhere(embedded, OPERATOR, unit.public_id, administrator)
    upload = HTTPConnection(late.netloc)
    upload.putrequest("PUT", f"{late.path}?{late.query}")
    upload.putheader("Content-Length", str(2 * len(HALF)))
    upload.endheaders(HALF)
    await migrate(embedded, unit, wanted)
    store = await stores.of(embedded, project)
    assert await store.get(project.bucket, "plain") == CONTENTS["plain"]
    upload.send(HALF)
    assert upload.getresponse().status == 200
    upload.close()
    await forget(embedded, unit)
    assert await store.get(project.bucket, "plain") == 2 * HALF


async def test_another_address_of_the_same_store_is_no_other_store(
    embedded: Services, running_minio: MinioServer
) -> None:
    unit, project = await a_filled_project(embedded)
    administrator = Credentials(
        running_minio.access_key, running_minio.secret_key, endpoint=running_minio.endpoint
    )
    wanted = await accounts.make_user_elsewhere(embedded, OPERATOR, unit.public_id, administrator)
    await migrate(embedded, unit, wanted)
    await forget(embedded, unit)
    by_name = running_minio.endpoint.replace("127.0.0.1", "localhost")
    assert by_name != running_minio.endpoint
    for endpoint in (by_name, running_minio.endpoint):
        root = replace(administrator, endpoint=endpoint)
        with pytest.raises(Conflict, match="already"):
            await moving.begin_by_administrator(embedded, OPERATOR, unit.public_id, root)
    await (await stores.of(embedded, project)).probe()  # its secret is the one it was
    with pytest.raises(Conflict, match="has its data there already"):
        await migrate(embedded, unit, replace(wanted, endpoint=by_name))
    store = await stores.of(embedded, project)
    assert await contents(store, project.bucket) == CONTENTS
