"""Stores that are set up wrongly, are slow, or go away: each is told once, with the setting and what to do."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from urllib3.exceptions import ConnectTimeoutError

from ddsd.errors import DdsError, StoreRefused, StoreUnavailable
from ddsd.secret import SecretText
from ddsd.storage.faults import silence
from ddsd.storage.minio import S3Store
from tests.parts.minio_server import MinioServer, minio_server
from tests.parts.no_store import saying
from tests.parts.ports import free_port
from tests.parts.versitygw import VersityServer, versitygw_server
from tests.storage.test_minio import write_certificate

HOUR = timedelta(hours=1)
SOME_KEY = ("some-access-key-0000", SecretText("some-secret-key-0000"))


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    yield from minio_server(tmp_path_factory.mktemp("minio"))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A MinIO whose certificate nobody has signed."""
    directory = tmp_path_factory.mktemp("secured")
    write_certificate(directory / "certificates")
    yield from minio_server(directory, directory / "certificates")


@pytest.fixture(scope="module")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VersityServer]:
    yield from versitygw_server(tmp_path_factory.mktemp("versitygw"))


def a_store(
    endpoint: str,
    access_key: str = SOME_KEY[0],
    secret_key: SecretText = SOME_KEY[1],
    *,
    region: str = "us-east-1",
    ca_file: Path | None = None,
) -> S3Store:
    return S3Store(
        endpoint=endpoint,
        access_key=access_key,
        secret_key=secret_key,
        region=region,
        ca_file=ca_file,
    )


async def told(store: S3Store) -> DdsError:
    """Return what is said when something is asked for: the same whatever it is, in one line."""
    await store.start()
    try:
        refusals = []
        for call in (store.list_buckets(), store.put("a-bucket", "a", b"1")):
            with pytest.raises(DdsError) as refused:
                await call
            refusals.append(refused.value)
    finally:
        await store.stop()
    assert {type(one) for one in refusals} == {type(refusals[0])}
    assert "\n" not in refusals[0].message
    assert len(refusals[0].message) < 500
    return refusals[0]


async def test_unknown_key_names_its_setting(minio: MinioServer) -> None:
    refusal = await told(a_store(minio.endpoint))
    assert isinstance(refusal, StoreRefused)
    assert "InvalidAccessKeyId" in refusal.message
    assert "store.access_key" in refusal.message


async def test_wrong_secret_names_its_setting(minio: MinioServer) -> None:
    refusal = await told(a_store(minio.endpoint, minio.access_key))
    assert "SignatureDoesNotMatch" in refusal.message
    assert "store.secret_key_file" in refusal.message


async def test_wrong_region_names_its_setting(versitygw: VersityServer) -> None:
    account = (versitygw.endpoint, versitygw.access_key, versitygw.secret_key)
    refusal = await told(a_store(*account, region="eu-elsewhere-7"))
    assert isinstance(refusal, StoreRefused)
    assert "store.region" in refusal.message


async def test_certificate_of_an_unknown_ca_names_the_setting_for_cas(secured: MinioServer) -> None:
    refusal = await told(a_store(secured.endpoint, secured.access_key, secured.secret_key))
    assert isinstance(refusal, StoreUnavailable)
    assert "certificate is not trusted" in refusal.message
    assert "store.ca_file" in refusal.message


async def test_certificate_for_another_host_is_told(secured: MinioServer) -> None:
    ca_file = secured.directory / "certificates" / "public.crt"
    endpoint = secured.endpoint.replace("127.0.0.1", "localhost")
    refusal = await told(a_store(endpoint, ca_file=ca_file))
    assert "certificate is not trusted" in refusal.message
    assert "store.endpoint" in refusal.message


async def test_plain_http_where_tls_is_spoken_is_told(secured: MinioServer) -> None:
    refusal = await told(a_store(secured.endpoint.replace("https", "http")))
    assert "store.endpoint" in refusal.message


async def test_tls_where_plain_http_is_spoken_is_told(minio: MinioServer) -> None:
    refusal = await told(a_store(minio.endpoint.replace("http", "https")))
    assert isinstance(refusal, StoreUnavailable)
    assert "begin store.endpoint with http://" in refusal.message


async def test_port_where_nobody_listens_is_told() -> None:
    refusal = await told(a_store(f"http://127.0.0.1:{free_port()}"))
    assert isinstance(refusal, StoreUnavailable)
    assert "Connection refused" in refusal.message
    assert "store.endpoint" in refusal.message


async def test_name_that_does_not_resolve_is_told() -> None:
    refusal = await told(a_store("http://store.invalid:9000"))
    assert isinstance(refusal, StoreUnavailable)
    assert "store.invalid" in refusal.message
    assert "store.endpoint" in refusal.message


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\nContent-Type: text/html\r\n\r\n<html>hello</html>\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\nContent-Type: text/html\r\n\r\n<html>no</html>\r\n ",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nno",
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    ],
    ids=["page", "text", "missing-page", "closed-page", "redirection", "ssh"],
)
async def test_server_that_is_no_store_names_the_address(answer: bytes) -> None:
    with saying(answer) as endpoint:
        store = a_store(endpoint)
        await store.start()
        with pytest.raises(DdsError, match=r"store\.endpoint"):
            await store.list_buckets()
        await store.stop()


async def test_administration_that_a_proxy_refuses_names_the_proxy_and_the_address() -> None:
    page = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 16\r\nContent-Type: text/html\r\n\r\n<html>no</html>\n"
    with saying(page) as endpoint:
        store = a_store(endpoint)
        await store.start()
        with pytest.raises(
            StoreRefused, match=r"proxy .* store\.endpoint .*store\.public_endpoint"
        ):
            await store.issue_upload_key("a-bucket", HOUR)
        await store.stop()


def test_connection_that_nobody_answers_is_told_in_words() -> None:
    said = "Connection to store.example timed out. (connect timeout=3.0)"
    message = silence("http://store.example:9000", ConnectTimeoutError(object(), said)).message
    assert said in message
    assert "object at 0x" not in message


async def test_store_that_asks_to_wait_is_not_waited_for() -> None:
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n"
    with saying(busy) as endpoint:
        store = a_store(endpoint)
        store.longest_s = 20
        await store.start()
        with pytest.raises(StoreUnavailable, match="503"):
            await store.list_buckets()
        await store.stop()


async def test_a_probe_ends_sooner_than_other_calls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        store = a_store(f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert store.probe_longest_s < store.longest_s
        store.probe_longest_s = 0.2
        await store.start()
        with pytest.raises(StoreUnavailable, match="did not come to an end"):
            await store.probe()
        await store.stop()


async def test_store_that_answers_drop_by_drop_is_unavailable_in_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        store = a_store(f"http://127.0.0.1:{listening.getsockname()[1]}")
        store.longest_s = 0.2
        await store.start()
        with pytest.raises(StoreUnavailable, match="did not come to an end"):
            await store.list_buckets()
        await store.stop()


async def test_store_that_goes_and_comes_back_is_used_again_without_a_restart(
    tmp_path: Path,
) -> None:
    for server in minio_server(tmp_path):
        store = a_store(server.endpoint, server.access_key, server.secret_key)
        await store.start()
        await store.ensure_bucket("a-bucket")
        await store.put("a-bucket", "a", b"content")
        await asyncio.to_thread(server.stop)
        for call in (store.get("a-bucket", "a"), store.remove_objects("a-bucket", ["a"])):
            with pytest.raises(StoreUnavailable):
                await call
        await asyncio.to_thread(server.start)
        assert await store.get("a-bucket", "a") == b"content"
        await store.stop()


async def test_what_moves_whole_objects_may_take_longer_than_a_call(minio: MinioServer) -> None:
    store = a_store(minio.endpoint, minio.access_key, minio.secret_key)
    await store.start()
    await store.ensure_bucket("a-bucket")
    store.longest_s = 0
    with pytest.raises(StoreUnavailable, match="did not come to an end"):
        await store.list_buckets()
    await store.put_from("a-bucket", "large", io.BytesIO(b"content"), 7)
    assert await store.remove_objects("a-bucket", ["large"]) == ()
    await store.stop()
