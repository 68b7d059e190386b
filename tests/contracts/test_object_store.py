"""What every store promises, asked of the fake, of the embedded store, of a real MinIO and of a real versitygw.

What clients see of a store over HTTP is in ``test_checks.py``: the same functions that an operator runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from ddsd.errors import StoreObjectMissing, StoreRefused, StoreUnavailable
from ddsd.projects.projects import bucket_name
from ddsd.secret import SecretText
from ddsd.storage.check.objects import AWKWARD_KEYS
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.memory import MemoryStore
from ddsd.storage.minio import S3Store
from ddsd.storage.port import May, ObjectStore
from ddsd.storage.sigv4 import LinkSigner
from ddsd.units.units import MAX_INTERNAL_REF, why_not_a_name
from tests.builders import NOON
from tests.contracts.stores import SERVED, started

HOUR = timedelta(hours=1)
_numbers = count(1)


@pytest.fixture(params=["memory", *SERVED])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    running = await started(request.param, request)
    yield running
    await running.stop()


@pytest.fixture
async def bucket(store: ObjectStore) -> str:
    name = f"unit{next(_numbers):05d}-bucket"
    await store.ensure_bucket(name)
    return name


# References that ddsd.units accepts, each followed by a number and the rest of a bucket's name.
ODD_REFERENCES = ("G.3-B", "a.b.c", "x.n", "1.2.3", "A", "a-b--c.d", "U" * 30)


@pytest.mark.parametrize("reference", ODD_REFERENCES)
async def test_a_bucket_of_any_unit_is_made_and_takes_objects(
    store: ObjectStore, reference: str
) -> None:
    assert why_not_a_name(reference, MAX_INTERNAL_REF) == []
    bucket = bucket_name(f"{reference}00001", NOON)
    await store.ensure_bucket(bucket)
    await store.put(bucket, "key", b"content")
    assert await store.get(bucket, "key") == b"content"


async def keys_in(store: ObjectStore, bucket: str) -> list[str]:
    return [found.key async for found in store.list_objects(bucket)]


async def test_started_store_answers_the_probe(store: ObjectStore) -> None:
    await store.probe()


async def test_bucket_exists_after_it_was_ensured_twice(store: ObjectStore, bucket: str) -> None:
    await store.ensure_bucket(bucket)
    assert await store.bucket_exists(bucket)
    assert not await store.bucket_exists(bucket + "-other")


async def test_buckets_are_listed_by_prefix_and_sorted(store: ObjectStore, bucket: str) -> None:
    for name in (f"{bucket}-b", f"{bucket}-a", "elsewhere"):
        await store.ensure_bucket(name)
    assert await store.list_buckets(f"{bucket}-") == (f"{bucket}-a", f"{bucket}-b")


async def test_removed_bucket_is_gone_and_may_be_removed_again(
    store: ObjectStore, bucket: str
) -> None:
    await store.remove_bucket(bucket)
    await store.remove_bucket(bucket)
    assert not await store.bucket_exists(bucket)


async def test_bucket_with_objects_is_not_removed(store: ObjectStore, bucket: str) -> None:
    await store.put(bucket, "a", b"1")
    with pytest.raises(StoreRefused):
        await store.remove_bucket(bucket)
    assert await store.get(bucket, "a") == b"1"


@pytest.mark.parametrize("key", AWKWARD_KEYS)
async def test_object_comes_back_under_the_same_key(
    store: ObjectStore, bucket: str, key: str
) -> None:
    await store.put(bucket, key, b"content of it")
    found = await store.stat(bucket, key)
    assert await store.get(bucket, key) == b"content of it"
    assert found is not None
    assert (found.key, found.size_bytes) == (key, 13)
    assert await keys_in(store, bucket) == [key]


async def test_object_is_replaced_whole(store: ObjectStore, bucket: str) -> None:
    await store.put(bucket, "a", b"a longer first content")
    await store.put(bucket, "a", b"short")
    found = await store.stat(bucket, "a")
    assert await store.get(bucket, "a") == b"short"
    assert found is not None
    assert found.size_bytes == 5


async def test_object_of_no_bytes_is_an_object(store: ObjectStore, bucket: str) -> None:
    await store.put(bucket, "empty", b"")
    found = await store.stat(bucket, "empty")
    assert found is not None
    assert found.size_bytes == 0
    assert await store.get(bucket, "empty") == b""


@pytest.mark.parametrize("size_bytes", [0, 7, 11 * 1024 * 1024])
async def test_object_of_any_size_is_stored_and_read_as_it_comes(
    store: ObjectStore, bucket: str, size_bytes: int
) -> None:
    content = random.Random(1).randbytes(size_bytes)
    await store.put_from(bucket, "a", io.BytesIO(content), size_bytes)
    reader = await store.reader(bucket, "a")
    try:
        pieces = [
            await asyncio.to_thread(reader.read, 100_000),
            await asyncio.to_thread(reader.read),
        ]
    finally:
        reader.close()
    assert reader.size_bytes == size_bytes
    assert b"".join(pieces) == content


async def test_object_whose_source_ends_early_is_not_stored(
    store: ObjectStore, bucket: str
) -> None:
    with pytest.raises(StoreUnavailable):
        await store.put_from(bucket, "a", io.BytesIO(b"short"), 7)
    assert await keys_in(store, bucket) == []


async def test_missing_object_cannot_be_read(store: ObjectStore, bucket: str) -> None:
    with pytest.raises(StoreObjectMissing):
        await store.reader(bucket, "nothing")


async def test_etag_is_the_md5_or_not_told(store: ObjectStore, bucket: str) -> None:
    await store.put(bucket, "a", b"content")
    found = await store.stat(bucket, "a")
    assert found is not None
    assert found.etag in {"", hashlib.md5(b"content").hexdigest()}


async def test_missing_object_is_none_to_stat_and_missing_to_get(
    store: ObjectStore, bucket: str
) -> None:
    assert await store.stat(bucket, "nothing") is None
    assert await store.stat(f"{bucket}-other", "nothing") is None
    with pytest.raises(StoreObjectMissing):
        await store.get(bucket, "nothing")


async def test_missing_bucket_is_missing_to_everything(store: ObjectStore, bucket: str) -> None:
    other = f"{bucket}-other"
    with pytest.raises(StoreObjectMissing):
        await store.put(other, "a", b"1")
    with pytest.raises(StoreObjectMissing):
        await store.get(other, "a")
    with pytest.raises(StoreObjectMissing):
        await keys_in(store, other)
    with pytest.raises(StoreObjectMissing):
        await store.remove_objects(other, ["a"])


async def test_issued_keys_say_what_they_are_for(store: ObjectStore, bucket: str) -> None:
    before = datetime.now(UTC)
    upload = await store.issue_upload_key(bucket, HOUR)
    download = await store.issue_download_key()
    assert (upload.may, upload.bucket) == (May.UPLOAD, bucket)
    assert (download.may, download.bucket) == (May.DOWNLOAD, None)
    assert download.expires_at is None
    assert upload.expires_at is not None
    assert timedelta(minutes=59) < upload.expires_at - before < timedelta(minutes=61)
    assert len(upload.access_key) >= 15
    assert upload.secret_key.text() not in repr(upload)


@pytest.mark.parametrize("lifetime", [timedelta(minutes=14), timedelta(days=366)])
async def test_lifetime_that_minio_would_refuse_is_refused(
    store: ObjectStore, bucket: str, lifetime: timedelta
) -> None:
    with pytest.raises(StoreRefused):
        await store.issue_upload_key(bucket, lifetime)
    with pytest.raises(StoreRefused):
        await store.issue_download_key(lifetime)


async def test_shortest_and_longest_lifetime_are_accepted(store: ObjectStore, bucket: str) -> None:
    await store.issue_upload_key(bucket, timedelta(minutes=15))
    await store.issue_download_key(timedelta(days=365) - timedelta(minutes=1))


async def test_key_may_be_revoked_twice(store: ObjectStore, bucket: str) -> None:
    key = await store.issue_upload_key(bucket, HOUR)
    await store.revoke_key(key.access_key)
    await store.revoke_key(key.access_key)


async def test_link_valid_for_more_than_seven_days_is_refused(store: ObjectStore) -> None:
    signer = store.download_signer(await store.issue_download_key())
    with pytest.raises(ValueError, match="7 days"):
        signer.sign("a-bucket", "a", now=datetime.now(UTC), expires=timedelta(days=8))


async def test_bucket_without_open_uploads_lists_none(store: ObjectStore, bucket: str) -> None:
    await store.put(bucket, "a", b"1")
    assert [one async for one in store.list_uploads(bucket)] == []
    with pytest.raises(StoreObjectMissing):
        [one async for one in store.list_uploads(f"{bucket}-other")]


async def test_object_says_when_it_was_stored(store: ObjectStore, bucket: str) -> None:
    await store.put(bucket, "a", b"1")
    found = await store.stat(bucket, "a")
    assert found is not None
    assert abs(found.stored_at - datetime.now(UTC)) < HOUR
    assert [one.stored_at.tzinfo async for one in store.list_objects(bucket)] != [None]


async def test_objects_are_listed_in_the_order_of_their_bytes(
    store: ObjectStore, bucket: str
) -> None:
    keys = ["a-b", "a/b/c", "a/b-c", "a0", "B", "b", "é", "😀", "\uffee", "a b", "a.b"]
    for key in keys:
        await store.put(bucket, key, b"1")
    assert await keys_in(store, bucket) == sorted(keys)


async def test_signer_for_another_endpoint_makes_links_for_that_endpoint(
    store: ObjectStore,
) -> None:
    key = await store.issue_download_key()
    signer = LinkSigner("https://store.example", store.region, key)
    link = signer.sign("a-bucket", "a", now=datetime.now(UTC), expires=HOUR)
    assert link.startswith("https://store.example/a-bucket/a?")


async def test_fake_that_is_away_is_unavailable() -> None:
    store = MemoryStore()
    store.away = True
    with pytest.raises(StoreUnavailable):
        await store.probe()
    with pytest.raises(StoreUnavailable):
        await store.stat("a-bucket", "a")


async def test_store_where_nobody_listens_is_unavailable() -> None:
    store = S3Store(
        endpoint="http://127.0.0.1:1", access_key="x" * 20, secret_key=SecretText("y" * 40)
    )
    await store.start()
    try:
        for call in (
            store.probe(),
            store.ensure_bucket("a-bucket"),
            store.put("a-bucket", "a", b""),
            store.issue_upload_key("a-bucket", HOUR),
        ):
            with pytest.raises(StoreUnavailable):
                await call
    finally:
        await store.stop()


async def test_store_that_was_stopped_is_unavailable(tmp_path: Path) -> None:
    store = EmbeddedStore(directory=tmp_path / "store")
    await store.start()
    await store.stop()
    with pytest.raises(StoreUnavailable):
        await store.probe()
