"""A real store goes away in the middle: what was begun is finished once it is back, and nothing is counted wrongly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest
import urllib3
from minio import Minio

from ddsd.clock import SystemClock
from ddsd.errors import StoreRefused, StoreUnavailable
from ddsd.files import grants, removal
from ddsd.secret import SecretText
from ddsd.storage.minio import S3Store
from ddsd.work import Services
from tests.files.delivered import a_delivery, keys_in, names_in
from tests.files.recount import counted, kept
from tests.parts.minio_server import MinioServer, minio_server

FILES = [f"d{number % 7}/file{number:03d}" for number in range(120)]
PART = b"x" * 5 * 1024 * 1024


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    yield from minio_server(tmp_path_factory.mktemp("minio"))


@pytest.fixture
async def stored(services: Services, minio: MinioServer) -> AsyncIterator[Services]:
    """Services whose store is that MinIO, at the present: it looks at signatures' dates."""
    store = S3Store(
        endpoint=minio.endpoint, access_key=minio.access_key, secret_key=minio.secret_key
    )
    await store.start()
    yield replace(services, store=store, clock=SystemClock())
    await store.stop()


async def test_emptying_is_finished_after_the_store_went_away_in_the_middle(
    stored: Services, minio: MinioServer
) -> None:
    delivery = await a_delivery(stored, FILES)
    number, public_id = delivery.project.id, delivery.project.public_id
    await removal.remove_next(stored, number, most=20)
    going = asyncio.create_task(removal.remove_next(stored, number, most=60))
    await asyncio.to_thread(minio.stop)
    with suppress(StoreUnavailable):
        await going
    with pytest.raises(StoreUnavailable):
        await removal.remove_next(stored, number, most=60)
    assert await kept(stored, public_id) == await counted(stored, public_id)
    await asyncio.to_thread(minio.start)
    # Each file that is still there has its object, or is one that the next removal finds without.
    assert set(await keys_in(stored, delivery)) <= {
        f"key-of-{name.replace('/', '-')}" for name in await names_in(stored, delivery)
    }
    while await removal.remove_next(stored, number, most=60):
        pass
    assert await names_in(stored, delivery) == []
    assert await keys_in(stored, delivery) == []
    assert await kept(stored, public_id) == await counted(stored, public_id)


async def test_transfers_go_on_after_the_store_was_started_again(
    stored: Services, minio: MinioServer
) -> None:
    delivery = await a_delivery(stored, ["a"])
    grant = await grants.grant_upload(stored, delivery.member, delivery.project)
    user = Minio(
        minio.endpoint.removeprefix("http://"),
        grant.access_key,
        grant.secret_key.text(),
        secure=False,
        region="us-east-1",
        http_client=urllib3.PoolManager(retries=False, timeout=20),
    )
    begun = user._create_multipart_upload(grant.bucket, "big", {})
    first = user._upload_part(grant.bucket, "big", PART, {}, begun, 1)
    assert first
    link = (await grants.download_links(stored, delivery.member, delivery.project))("key-of-a")
    await asyncio.to_thread(minio.stop)
    with pytest.raises(StoreUnavailable):
        await stored.store.stat(grant.bucket, "key-of-a")
    await asyncio.to_thread(minio.start)
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(link)).content == b"stored bytes"
    user._upload_part(grant.bucket, "big", PART, {}, begun, 2)
    parts = user._list_parts(grant.bucket, "big", begun).parts
    user._complete_multipart_upload(grant.bucket, "big", begun, parts)
    found = await stored.store.stat(grant.bucket, "big")
    assert found is not None
    assert found.size_bytes == 2 * len(PART)


@pytest.mark.parametrize("wrong", ["key", "secret"])
async def test_wrong_credentials_hand_out_nothing_and_change_nothing(
    services: Services, minio: MinioServer, wrong: str
) -> None:
    delivery = await a_delivery(services, ["a"])
    store = S3Store(
        endpoint=minio.endpoint,
        access_key="nobody-has-this-key" if wrong == "key" else minio.access_key,
        secret_key=SecretText("nobody-has-this-secret"),
    )
    await store.start()
    broken = replace(services, store=store, clock=SystemClock())
    with pytest.raises(StoreRefused, match=r"store\.access_key"):
        await grants.grant_upload(broken, delivery.member, delivery.project)
    with pytest.raises(StoreRefused):
        await grants.download_links(broken, delivery.member, delivery.project)
    with pytest.raises(StoreRefused, match=r"store\.access_key"):
        await removal.remove_next(broken, delivery.project.id)
    await store.stop()
    assert await names_in(services, delivery) == ["a"]
    assert await keys_in(services, delivery) == ["key-of-a"]
