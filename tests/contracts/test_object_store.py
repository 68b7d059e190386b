"""What every store promises, asked of the fake, of the embedded store and of a real MinIO."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import urllib3
from minio import Minio
from minio.error import S3Error

from ddsd.errors import StoreObjectMissing, StoreRefused, StoreUnavailable
from ddsd.projects.projects import bucket_name
from ddsd.secret import SecretText
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.memory import MemoryStore
from ddsd.storage.minio import S3Store
from ddsd.storage.port import May, ObjectStore, ScopedKey
from ddsd.storage.sigv4 import LinkSigner
from ddsd.units.units import MAX_INTERNAL_REF, why_not_a_name
from tests.builders import NOON
from tests.parts.minio_server import MinioServer, minio_server

HOUR = timedelta(hours=1)
AWKWARD_KEYS = ("plain", "a/b/c.txt", "å ö.txt", "a+b ~c", "x=1&y=2?#%41", "日本語", "(1)*'!")
_numbers = count(1)


@pytest.fixture(scope="module")
def running_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    yield from minio_server(tmp_path_factory.mktemp("minio"))


async def started(kind: str, request: pytest.FixtureRequest) -> ObjectStore:
    store: ObjectStore
    match kind:
        case "memory":
            store = MemoryStore()
        case "embedded":
            store = EmbeddedStore(directory=request.getfixturevalue("tmp_path") / "store")
        case _:
            server: MinioServer = request.getfixturevalue("running_minio")
            store = S3Store(
                endpoint=server.endpoint,
                access_key=server.access_key,
                secret_key=server.secret_key,
            )
    await store.start()
    return store


@pytest.fixture(params=["memory", "embedded", "minio"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    running = await started(request.param, request)
    yield running
    await running.stop()


@pytest.fixture(params=["embedded", "minio"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    """A store that clients can reach over HTTP."""
    running = await started(request.param, request)
    yield running
    await running.stop()


@pytest.fixture
async def bucket(request: pytest.FixtureRequest) -> str:
    name = f"unit{next(_numbers):05d}-bucket"
    which = "store" if "store" in request.fixturenames else "served"
    await request.getfixturevalue(which).ensure_bucket(name)
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


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        yield http


def user_of(store: ObjectStore, key: ScopedKey) -> Minio:
    """An S3 client that holds nothing but that key."""
    return Minio(
        urlsplit(store.public_endpoint).netloc,
        access_key=key.access_key,
        secret_key=key.secret_key.text(),
        secure=False,
        region=store.region,
        http_client=urllib3.PoolManager(retries=False, timeout=20),
    )


def put(user: Minio, bucket: str, key: str, content: bytes = b"content") -> None:
    user.put_object(bucket, key, io.BytesIO(content), len(content))


def refused(user: Minio, verb: str, *arguments: object) -> bool:
    try:
        answer = getattr(user, verb)(*arguments)
        if verb in {"list_objects", "remove_objects"}:
            list(answer)
    except S3Error as error:
        return error.response.status == 403
    return False


async def signed_link(store: ObjectStore, bucket: str, key: str) -> str:
    signer = store.download_signer(await store.issue_download_key())
    return signer.sign(bucket, key, now=datetime.now(UTC), expires=HOUR)


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


async def test_more_objects_than_a_page_are_listed_in_order_and_removed(
    store: ObjectStore, bucket: str
) -> None:
    names = [f"object-{number:04d}" for number in range(1005)]
    for name in names:
        await store.put(bucket, name, b"")
    assert await keys_in(store, bucket) == names
    assert await store.remove_objects(bucket, [*names, "never there"]) == ()
    assert await keys_in(store, bucket) == []
    await store.remove_bucket(bucket)


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


async def test_upload_key_puts_an_object_that_is_at_once_there_for_others(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient
) -> None:
    await keys_in(served, bucket)
    link = await signed_link(served, bucket, "a")
    assert (await client.get(link)).status_code == 404
    put(user_of(served, await served.issue_upload_key(bucket, HOUR)), bucket, "a")
    assert (await client.get(link)).content == b"content"
    assert await keys_in(served, bucket) == ["a"]


async def test_upload_key_puts_an_object_in_parts(served: ObjectStore, bucket: str) -> None:
    content = bytes(range(256)) * 4096 * 14
    user = user_of(served, await served.issue_upload_key(bucket, HOUR))
    user.put_object(
        bucket, "big", io.BytesIO(content), len(content), part_size=6 << 20, num_parallel_uploads=2
    )
    assert await served.get(bucket, "big") == content


async def test_bucket_with_an_unfinished_upload_is_removed(
    served: ObjectStore, bucket: str
) -> None:
    user = user_of(served, await served.issue_upload_key(bucket, HOUR))
    upload_id = user._create_multipart_upload(bucket, "big", {})
    user._upload_part(bucket, "big", b"x" * 6_000_000, {}, upload_id, 1)
    assert await keys_in(served, bucket) == []
    await served.remove_bucket(bucket)
    assert not await served.bucket_exists(bucket)


async def test_open_upload_is_listed_with_its_moment_and_can_be_aborted_twice(
    served: ObjectStore, bucket: str
) -> None:
    user = user_of(served, await served.issue_upload_key(bucket, HOUR))
    upload_id = user._create_multipart_upload(bucket, "big", {})
    user._upload_part(bucket, "big", b"x" * 6_000_000, {}, upload_id, 1)
    [upload] = [one async for one in served.list_uploads(bucket)]
    assert abs(upload.touched_at - datetime.now(UTC)) < HOUR
    await served.abort_upload(bucket, upload)
    await served.abort_upload(bucket, upload)
    assert [one async for one in served.list_uploads(bucket)] == []
    with pytest.raises(S3Error):
        user._upload_part(bucket, "big", b"x" * 6_000_000, {}, upload_id, 2)
        user._complete_multipart_upload(bucket, "big", upload_id, [])
    assert await keys_in(served, bucket) == []


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


async def test_upload_key_is_good_for_nothing_else(served: ObjectStore, bucket: str) -> None:
    await served.ensure_bucket(f"{bucket}-other")
    await served.put(bucket, "a", b"content")
    user = user_of(served, await served.issue_upload_key(bucket, HOUR))
    assert refused(user, "get_object", bucket, "a")
    assert refused(user, "stat_object", bucket, "a")
    assert refused(user, "remove_object", bucket, "a")
    assert refused(user, "list_objects", bucket)
    assert refused(user, "remove_bucket", bucket)
    assert refused(user, "make_bucket", f"{bucket}-new")
    with pytest.raises(S3Error, match="AccessDenied"):
        put(user, f"{bucket}-other", "a")
    assert await keys_in(served, bucket) == ["a"]


async def test_upload_key_cannot_copy_what_it_cannot_read(served: ObjectStore, bucket: str) -> None:
    other = f"{bucket}-other"
    await served.ensure_bucket(other)
    await served.put(other, "secret", b"of somebody else")
    user = user_of(served, await served.issue_upload_key(bucket, HOUR))
    with pytest.raises(S3Error) as caught:
        user._execute("PUT", bucket, "a", headers={"x-amz-copy-source": f"/{other}/secret"})
    assert caught.value.response.status == 403
    assert await keys_in(served, bucket) == []


async def test_revoked_upload_key_is_refused_at_once(served: ObjectStore, bucket: str) -> None:
    key = await served.issue_upload_key(bucket, HOUR)
    user = user_of(served, key)
    put(user, bucket, "a")
    await served.revoke_key(key.access_key)
    with pytest.raises(S3Error, match="InvalidAccessKeyId"):
        put(user, bucket, "b")


async def test_wrong_secret_is_refused(served: ObjectStore, bucket: str) -> None:
    key = await served.issue_upload_key(bucket, HOUR)
    forged = ScopedKey(key.access_key, SecretText("x" * 40), May.UPLOAD, bucket)
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        put(user_of(served, forged), bucket, "a")


@pytest.mark.parametrize("key", AWKWARD_KEYS)
async def test_link_gets_the_object(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient, key: str
) -> None:
    await served.put(bucket, key, b"content")
    answer = await client.get(await signed_link(served, bucket, key))
    assert (answer.status_code, answer.content) == (200, b"content")
    assert answer.headers["content-length"] == "7"


async def test_link_gets_the_object_of_no_bytes(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient
) -> None:
    await served.put(bucket, "empty", b"")
    answer = await client.get(await signed_link(served, bucket, "empty"))
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("asked", "part"),
    [("bytes=2-5", b"2345"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=0-0", b"0")],
)
async def test_link_gets_a_range(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient, asked: str, part: bytes
) -> None:
    await served.put(bucket, "digits", b"0123456789")
    link = await signed_link(served, bucket, "digits")
    answer = await client.get(link, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, part)
    assert answer.headers["content-range"].endswith("/10")


async def test_range_beyond_the_end_is_refused(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient
) -> None:
    await served.put(bucket, "digits", b"0123456789")
    link = await signed_link(served, bucket, "digits")
    assert (await client.get(link, headers={"Range": "bytes=10-"})).status_code == 416


async def test_link_to_nothing_is_404(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient
) -> None:
    assert (await client.get(await signed_link(served, bucket, "nothing"))).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_link_used_for_anything_but_get_is_refused(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient, method: str
) -> None:
    await served.put(bucket, "a", b"content")
    link = await signed_link(served, bucket, "a")
    answer = await client.request(method, link, content=b"other")
    assert answer.status_code == 403
    assert await served.get(bucket, "a") == b"content"


async def test_link_that_was_changed_is_refused(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient
) -> None:
    await served.put(bucket, "a", b"content")
    await served.put(bucket, "b", b"content")
    link = await signed_link(served, bucket, "a")
    for changed in (
        link[:-1] + ("0" if link[-1] != "0" else "1"),
        link.replace(f"/{bucket}/a?", f"/{bucket}/b?"),
        link.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200"),
        link + "&response-content-type=text/html",
        link.partition("?")[0],
    ):
        assert (await client.get(changed)).status_code == 403


async def test_link_is_refused_after_its_end(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient
) -> None:
    await served.put(bucket, "a", b"content")
    signer = served.download_signer(await served.issue_download_key())
    ago = datetime.now(UTC) - timedelta(seconds=61)
    over = signer.sign(bucket, "a", now=ago, expires=timedelta(seconds=60))
    running = signer.sign(bucket, "a", now=ago, expires=timedelta(seconds=600))
    assert (await client.get(over)).status_code == 403
    assert (await client.get(running)).status_code == 200


async def test_link_is_refused_once_its_key_is_revoked(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient
) -> None:
    await served.put(bucket, "a", b"content")
    key = await served.issue_download_key()
    link = served.download_signer(key).sign(bucket, "a", now=datetime.now(UTC), expires=HOUR)
    assert (await client.get(link)).status_code == 200
    await served.revoke_key(key.access_key)
    assert (await client.get(link)).status_code == 403


async def test_download_key_is_good_for_nothing_else(served: ObjectStore, bucket: str) -> None:
    await served.put(bucket, "a", b"content")
    user = user_of(served, await served.issue_download_key())
    with pytest.raises(S3Error, match="AccessDenied"):
        put(user, bucket, "a", b"other")
    assert refused(user, "remove_object", bucket, "a")
    assert refused(user, "list_objects", bucket)
    assert refused(user, "make_bucket", f"{bucket}-new")
    assert await served.get(bucket, "a") == b"content"


async def test_signed_put_of_the_download_key_is_refused(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient
) -> None:
    user = user_of(served, await served.issue_download_key())
    link = user.get_presigned_url("PUT", bucket, "a")
    assert (await client.put(link, content=b"content")).status_code == 403
    assert await keys_in(served, bucket) == []


async def test_signed_put_of_the_upload_key_works(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient
) -> None:
    user = user_of(served, await served.issue_upload_key(bucket, HOUR))
    link = user.get_presigned_url("PUT", bucket, "a")
    assert (await client.put(link, content=b"content")).status_code == 200
    assert await served.get(bucket, "a") == b"content"


async def test_unsigned_request_is_refused(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient
) -> None:
    await served.put(bucket, "a", b"content")
    address = f"{served.public_endpoint}/{bucket}/a"
    assert (await client.get(address)).status_code == 403
    assert (await client.put(address, content=b"other")).status_code == 403
    assert (await client.get(served.public_endpoint)).status_code == 403


async def test_content_md5_is_checked(
    served: ObjectStore, bucket: str, client: httpx.AsyncClient
) -> None:
    user = user_of(served, await served.issue_upload_key(bucket, HOUR))
    link = user.get_presigned_url("PUT", bucket, "a")
    wrong = {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    assert (await client.put(link, content=b"content", headers=wrong)).status_code == 400
    assert await keys_in(served, bucket) == []


async def test_signer_for_another_endpoint_makes_links_for_that_endpoint(
    served: ObjectStore,
) -> None:
    key = await served.issue_download_key()
    signer = LinkSigner("https://store.example", served.region, key)
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
