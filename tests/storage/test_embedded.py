"""The embedded store as processes: kept running, never left behind, and its door on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.error import S3Error
from minio.signer import sign_v4_s3

import ddsd
from ddsd.errors import (
    ConfigurationError,
    DdsError,
    StoreObjectMissing,
    StoreRefused,
    StoreUnavailable,
)
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.keyfile import read_keys
from ddsd.storage.minio import S3Store
from ddsd.storage.port import May, ScopedKey
from ddsd.storage.sigv4 import amz_date_of

HOUR = timedelta(hours=1)
MIB = 1024 * 1024
BUCKET = "a-bucket"
DAEMON = """
import asyncio, sys
from pathlib import Path
from ddsd.storage.embedded import EmbeddedStore

async def main():
    store = EmbeddedStore(directory=Path(sys.argv[1]))
    await store.start()
    await store.ensure_bucket("a-bucket")
    await store.put("a-bucket", "kept", b"content")
    print(store.local_endpoint, *store.child_pids, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


class PastClock:
    """A clock that is two hours late."""

    def now(self) -> datetime:
        return datetime.now(UTC) - 2 * HOUR


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    running = EmbeddedStore(directory=tmp_path / "store")
    await running.start()
    await running.ensure_bucket(BUCKET)
    yield running
    await running.stop()


def user_of(store: EmbeddedStore, key: ScopedKey) -> Minio:
    return Minio(
        store.local_endpoint.removeprefix("http://"),
        access_key=key.access_key,
        secret_key=key.secret_key.text(),
        secure=False,
        region=store.region,
        http_client=urllib3.PoolManager(retries=False, timeout=20),
    )


async def until(happened: Callable[[], Awaitable[bool]], what: str) -> None:
    give_up = time.monotonic() + 20
    while not await happened():
        assert time.monotonic() < give_up, what
        await asyncio.sleep(0.05)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_store_on_every_address_is_reached_by_loopback(tmp_path: Path) -> None:
    store = EmbeddedStore(directory=tmp_path / "store", address="0.0.0.0")
    await store.start()
    try:
        assert store.local_endpoint.startswith("http://127.0.0.1:")
        assert await works(store)
    finally:
        await store.stop()


async def works(store: EmbeddedStore) -> bool:
    with contextlib.suppress(DdsError):
        await store.probe()
        return True
    return False


def root_of(directory: Path) -> ScopedKey:
    keys = read_keys(directory / "keys.json").values()
    return next(key for key in keys if key.may is May.EVERYTHING)


def child(store: EmbeddedStore, which: str) -> psutil.Process:
    running = map(psutil.Process, store.child_pids)
    return next(process for process in running if process.name().startswith(which))


@pytest.mark.parametrize("which", ["rclone", "python"])
async def test_child_that_dies_is_started_again_and_nothing_acknowledged_is_lost(
    store: EmbeddedStore, which: str
) -> None:
    await store.put(BUCKET, "a", b"content")
    endpoint, victim = store.local_endpoint, child(store, which)
    victim.kill()

    async def replaced() -> bool:
        return len(store.child_pids) == 2 and victim.pid not in store.child_pids

    await until(replaced, "it was not started again")
    await until(lambda: works(store), "the store did not come back")
    assert store.local_endpoint == endpoint
    assert await store.get(BUCKET, "a") == b"content"


async def keys_in(store: EmbeddedStore) -> list[str]:
    return [one.key async for one in store.list_objects(BUCKET)]


async def test_what_is_removed_from_the_disk_is_seen_at_once(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    for key in ("a", "b"):
        await store.put(BUCKET, key, b"content")
        assert await store.get(BUCKET, key) == b"content"
    bucket = tmp_path / "store" / "objects" / BUCKET
    (bucket / "a").unlink()
    assert await store.stat(BUCKET, "a") is None
    assert await keys_in(store) == ["b"]
    shutil.rmtree(bucket)
    assert not await store.bucket_exists(BUCKET)
    with pytest.raises(StoreObjectMissing):
        await keys_in(store)


async def test_what_is_put_back_on_the_disk_is_known_at_once_and_served_soon(
    tmp_path: Path,
) -> None:
    store = EmbeddedStore(directory=tmp_path / "store", forget_after=timedelta(seconds=0.2))
    await store.start()
    try:
        await store.ensure_bucket(BUCKET)
        await store.put(BUCKET, "a", b"content")
        objects = tmp_path / "store" / "objects" / BUCKET
        (objects / "a").rename(tmp_path / "backup")
        assert await store.stat(BUCKET, "a") is None
        (tmp_path / "backup").rename(objects / "a")
        found = await store.stat(BUCKET, "a")
        assert found is not None
        assert found.size_bytes == 7

        async def served() -> bool:
            with contextlib.suppress(StoreObjectMissing):
                return await store.get(BUCKET, "a") == b"content"
            return False

        await until(served, "it was not served")
    finally:
        await store.stop()


async def test_an_object_copied_in_a_moment_ago_is_removed_or_named(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    await store.put(BUCKET, "a", b"content")
    (tmp_path / "store" / "objects" / BUCKET / "stray").write_bytes(b"x")
    stayed = await store.remove_objects(BUCKET, ["a", "stray"])
    assert [one.key for one in stayed] == await keys_in(store)


async def test_a_disk_that_is_not_mounted_is_an_unavailable_store_and_no_empty_one(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    await store.put(BUCKET, "a", b"content")
    (tmp_path / "store" / "objects").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable):
        await store.stat(BUCKET, "a")
    with pytest.raises(StoreUnavailable):
        await store.bucket_exists(BUCKET)
    with pytest.raises(StoreUnavailable):
        await keys_in(store)


async def test_gate_answers_503_while_rclone_is_away(store: EmbeddedStore) -> None:
    rclone = child(store, "rclone")
    rclone.suspend()
    try:
        signer = store.download_signer(await store.issue_download_key())
        link = signer.sign(BUCKET, "a", now=datetime.now(UTC), expires=HOUR)
        (Path(rclone.cwd()) / "rclone.sock").unlink()
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(link)).status_code == 503
        with pytest.raises(StoreUnavailable):
            await store.probe()
    finally:
        rclone.kill()
    await until(lambda: works(store), "the store did not come back")


async def test_stopped_store_leaves_no_process_and_frees_its_port(store: EmbeddedStore) -> None:
    pids, port = store.child_pids, int(store.local_endpoint.rpartition(":")[2])
    await store.stop()
    assert len(pids) == 2
    assert not [pid for pid in pids if alive(pid)]
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_store_starts_again_on_the_same_port_with_objects_and_keys(
    store: EmbeddedStore,
) -> None:
    upload = await store.issue_upload_key(BUCKET, HOUR)
    endpoint = store.local_endpoint
    await store.put(BUCKET, "a", b"content")
    await store.stop()
    await store.start()
    assert store.local_endpoint == endpoint
    assert await store.get(BUCKET, "a") == b"content"
    user_of(store, upload).put_object(BUCKET, "b", io.BytesIO(b"b"), 1)
    assert await store.get(BUCKET, "b") == b"b"


async def test_killed_daemon_leaves_no_child_and_the_next_one_starts(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    daemon = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", DAEMON, str(directory)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(ddsd.__file__).parent.parent)},
    )
    assert daemon.stdout is not None
    endpoint, *pids = daemon.stdout.readline().split()
    children = [int(pid) for pid in pids]
    assert [pid for pid in children if alive(pid)] == children
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    daemon.stdout.close()

    async def gone() -> bool:
        return not [pid for pid in children if alive(pid)]

    await until(gone, "a child outlived the daemon")
    port = int(endpoint.rpartition(b":")[2])
    successor = EmbeddedStore(directory=directory, port=port)
    await successor.start()
    try:
        assert await successor.get(BUCKET, "kept") == b"content"
    finally:
        await successor.stop()


async def test_directory_that_another_store_uses_is_refused(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="Another daemon"):
        await EmbeddedStore(directory=tmp_path / "store").start()
    await store.probe()


async def test_port_that_is_taken_is_refused_by_name(store: EmbeddedStore, tmp_path: Path) -> None:
    port = int(store.local_endpoint.rpartition(":")[2])
    other = EmbeddedStore(directory=tmp_path / "other", port=port)
    with pytest.raises(ConfigurationError, match=str(port)):
        await other.start()
    await other.stop()


async def test_missing_program_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    store = EmbeddedStore(directory=tmp_path / "store", rclone=tmp_path / "absent")
    with pytest.raises(ConfigurationError, match="rclone"):
        await store.start()
    assert store.child_pids == ()
    second = EmbeddedStore(directory=tmp_path / "store")
    await second.start()
    await second.stop()


async def test_damaged_key_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store" / "keys.json"
    path.parent.mkdir()
    path.write_text("{not json")
    with pytest.raises(ConfigurationError, match="damaged"):
        await EmbeddedStore(directory=path.parent).start()
    assert path.read_text() == "{not json"


@pytest.mark.parametrize("said", ["rclone v1.60.1-DEV", "rclone v1.75.1", "something else"])
async def test_program_of_an_old_version_is_refused(tmp_path: Path, said: str) -> None:
    program = tmp_path / "rclone"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    store = EmbeddedStore(directory=tmp_path / "store", rclone=program)
    with pytest.raises(ConfigurationError, match=r"1\.75\.2"):
        await store.start()


async def test_expired_upload_key_is_refused(store: EmbeddedStore, tmp_path: Path) -> None:
    await store.stop()
    late = EmbeddedStore(directory=tmp_path / "store", clock=PastClock())
    await late.start()
    try:
        over = await late.issue_upload_key(BUCKET, HOUR)
        running = await late.issue_upload_key(BUCKET, 3 * HOUR)
        with pytest.raises(S3Error, match="InvalidAccessKeyId"):
            user_of(late, over).put_object(BUCKET, "a", io.BytesIO(b"a"), 1)
        user_of(late, running).put_object(BUCKET, "b", io.BytesIO(b"b"), 1)
        assert [found.key async for found in late.list_objects(BUCKET)] == ["b"]
    finally:
        await late.stop()


async def test_upload_that_breaks_off_leaves_the_old_object(store: EmbeddedStore) -> None:
    await store.put(BUCKET, "a", b"the old content")
    key = await store.issue_upload_key(BUCKET, HOUR)
    link = user_of(store, key).get_presigned_url("PUT", BUCKET, "a")
    target = link.removeprefix(store.local_endpoint)
    host, port = store.local_endpoint.removeprefix("http://").split(":")
    head = f"PUT {target} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 3000000\r\n\r\n"
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode() + b"x" * 2_000_000)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(12) == b"HTTP/1.1 400"
    assert await store.get(BUCKET, "a") == b"the old content"
    assert [found.key async for found in store.list_objects(BUCKET)] == ["a"]


async def test_body_with_another_hash_than_was_signed_is_refused(store: EmbeddedStore) -> None:
    key = await store.issue_upload_key(BUCKET, HOUR)
    address = urlsplit(f"{store.local_endpoint}/{BUCKET}/a")
    now = datetime.now(UTC)
    signed: dict[str, str | list[str] | tuple[str]] = {
        "Host": address.netloc,
        "x-amz-date": amz_date_of(now),
        "x-amz-content-sha256": hashlib.sha256(b"something else").hexdigest(),
    }
    headers = sign_v4_s3(
        method="PUT",
        url=address,
        region=store.region,
        headers=signed,
        credentials=Credentials(key.access_key, key.secret_key.text()),
        content_sha256=str(signed["x-amz-content-sha256"]),
        date=now,
    )
    async with httpx.AsyncClient(trust_env=False) as client:
        for content, status in ((b"something else", 200), (b"something elsE", 400)):
            answer = await client.put(
                address.geturl(),
                content=content,
                headers={name: str(value) for name, value in headers.items()},
            )
            assert answer.status_code == status
    assert await store.get(BUCKET, "a") == b"something else"


async def test_unfinished_uploads_are_swept_when_rclone_starts(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    user = user_of(store, await store.issue_upload_key(BUCKET, HOUR))
    upload_id = user._create_multipart_upload(BUCKET, "big", {})
    user._upload_part(BUCKET, "big", b"x" * 6_000_000, {}, upload_id, 1)
    objects = tmp_path / "store" / "objects" / BUCKET
    assert [path.name for path in objects.iterdir()] == [f".rclone_temp_multipart_{upload_id}"]
    assert [found.key async for found in store.list_objects(BUCKET)] == []
    child(store, "rclone").kill()
    await store.stop()
    (objects / ".rclone_temp_put_left").write_bytes(b"x")
    await store.start()
    assert list(objects.iterdir()) == []
    await store.remove_bucket(BUCKET)


async def test_refused_upload_gets_its_answer_and_its_body_is_not_asked_for(
    store: EmbeddedStore,
) -> None:
    host, port = store.local_endpoint.removeprefix("http://").split(":")
    head = (
        f"PUT /{BUCKET}/a HTTP/1.1\r\nHost: {host}:{port}\r\n"
        "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode())
        assert client.recv(12) == b"HTTP/1.1 403"


async def test_accepted_upload_is_asked_for_its_body(store: EmbeddedStore) -> None:
    key = await store.issue_upload_key(BUCKET, HOUR)
    target = user_of(store, key).get_presigned_url("PUT", BUCKET, "a")
    host, port = store.local_endpoint.removeprefix("http://").split(":")
    head = (
        f"PUT {target.removeprefix(store.local_endpoint)} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        "Content-Length: 7\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode())
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"content")
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    assert await store.get(BUCKET, "a") == b"content"


async def test_large_body_that_is_refused_still_gets_its_answer(store: EmbeddedStore) -> None:
    user = user_of(store, await store.issue_download_key())
    with pytest.raises(S3Error, match="AccessDenied"):
        user.put_object(BUCKET, "a", io.BytesIO(b"x" * 4_000_000), 4_000_000)


async def test_several_requests_use_one_connection(store: EmbeddedStore) -> None:
    await store.put(BUCKET, "a", b"content")
    signer = store.download_signer(await store.issue_download_key())
    link = signer.sign(BUCKET, "a", now=datetime.now(UTC), expires=HOUR)
    host, port = store.local_endpoint.removeprefix("http://").split(":")
    connection = urllib3.HTTPConnectionPool(host, int(port), maxsize=1)
    for _ in range(3):
        assert connection.request("GET", link.removeprefix(store.local_endpoint)).data == b"content"
    assert (connection.num_connections, connection.num_requests) == (1, 3)
    connection.close()


async def test_nobody_else_on_the_machine_can_read_the_directory_or_the_keys(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    key = await store.issue_upload_key(BUCKET, HOUR)
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "store" / "keys.json").stat().st_mode & 0o777 == 0o600
    words = {word for pid in store.child_pids for word in psutil.Process(pid).cmdline()}
    secrets = {key.secret_key.text(), root_of(tmp_path / "store").secret_key.text()}
    assert not [word for word in words if any(secret in word for secret in secrets)]


async def test_store_without_the_minio_api_says_what_to_do(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    root = root_of(tmp_path / "store")
    plain = S3Store(
        endpoint=store.local_endpoint, access_key=root.access_key, secret_key=root.secret_key
    )
    await plain.start()
    try:
        await plain.probe()
        with pytest.raises(StoreRefused, match="allow_wide_upload_keys"):
            await plain.issue_upload_key(BUCKET, HOUR)
        with pytest.raises(StoreRefused, match="read_only_access_key"):
            await plain.issue_download_key()
    finally:
        await plain.stop()


async def test_wide_key_is_handed_out_only_with_permission(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    root = root_of(tmp_path / "store")
    read_only = await store.issue_download_key()
    wide = S3Store(
        endpoint=store.local_endpoint,
        access_key=root.access_key,
        secret_key=root.secret_key,
        allow_wide_upload_key=True,
        read_only_key=read_only,
    )
    await wide.start()
    try:
        key = await wide.issue_upload_key(BUCKET, HOUR)
        assert (key.access_key, key.may, key.bucket) == (root.access_key, May.EVERYTHING, None)
        assert await wide.issue_download_key() == read_only
        await wide.revoke_key(root.access_key)
        await wide.revoke_key(read_only.access_key)
        await wide.probe()
    finally:
        await wide.stop()


BOTO = """
import base64, hashlib, io, sys
import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

endpoint, access_key, secret_key, bucket = sys.argv[1:]
s3 = boto3.resource("s3", endpoint_url=endpoint, aws_access_key_id=access_key,
                    aws_secret_access_key=secret_key).meta.client
parts = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20, max_concurrency=10)
content = hashlib.shake_128(b"seed").digest(85 << 20)
s3.upload_fileobj(io.BytesIO(content), bucket, "big", Config=parts)
s3.upload_fileobj(io.BytesIO(b"small"), bucket, "small", Config=parts)
md5 = base64.b64encode(hashlib.md5(b"checked").digest()).decode()
s3.put_object(Bucket=bucket, Key="checked", Body=b"checked", ContentMD5=md5)
for verb in ("get_object", "delete_object", "head_object"):
    try:
        getattr(s3, verb)(Bucket=bucket, Key="small")
        sys.exit(verb + " was not refused")
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403, error
print(hashlib.sha256(content).hexdigest())
"""


async def test_boto3_of_the_stock_client_uploads_in_parts_with_ten_threads(
    store: EmbeddedStore, stock_python: Path
) -> None:
    key = await store.issue_upload_key(BUCKET, HOUR)
    arguments = (store.local_endpoint, key.access_key, key.secret_key.text(), BUCKET)
    boto = await asyncio.create_subprocess_exec(
        stock_python,
        "-c",
        BOTO,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await boto.communicate()
    assert boto.returncode == 0, complaints.decode()
    big = await store.get(BUCKET, "big")
    assert hashlib.sha256(big).hexdigest() == printed.decode().strip()
    assert await store.get(BUCKET, "small") == b"small"
    assert await store.get(BUCKET, "checked") == b"checked"


@pytest.mark.parametrize("size", [8 * MIB, 20 * MIB], ids=["at once", "in parts"])
async def test_a_full_disk_refuses_an_upload_and_nothing_of_it_stays(
    store: EmbeddedStore, size: int
) -> None:
    await store.put(BUCKET, "kept", b"content")
    user = user_of(store, await store.issue_upload_key(BUCKET, HOUR))
    # A file system that takes no more than this, as far as rclone can tell.
    child(store, "rclone").rlimit(psutil.RLIMIT_FSIZE, (6 * MIB, 6 * MIB))
    with pytest.raises(S3Error, match="InternalError"):
        await asyncio.to_thread(
            user.put_object, BUCKET, "big", io.BytesIO(b"x" * size), size, part_size=16 * MIB
        )
    assert await store.stat(BUCKET, "big") is None
    assert [upload async for upload in store.list_uploads(BUCKET)] == []
    await asyncio.to_thread(user.put_object, BUCKET, "small", io.BytesIO(b"s"), 1)
    assert [one.key async for one in store.list_objects(BUCKET)] == ["kept", "small"]
    assert await store.get(BUCKET, "kept") == b"content"


async def test_keys_that_rclone_would_keep_in_one_file_are_refused(store: EmbeddedStore) -> None:
    """Its quote, and the pictures of what it quotes, stand for others in names of files."""
    for key in ("\u201b", "\u201b\u201b", "d/a\u201b", "\u2400", "\u2421", "\x7f", "a\x01"):
        with pytest.raises(DdsError, match="No object can have that key"):
            await store.put(BUCKET, key, b"one")
    assert [one async for one in store.list_objects(BUCKET)] == []


async def test_keys_that_rclone_spells_otherwise_are_kept_apart(store: EmbeddedStore) -> None:
    keys = ["\uff0e", "\uff0e\uff0e", "\uff0f", "a\uff0f", "a.", "a ", "a", "\ufffd", "\\", "%2F"]
    for key in keys:
        await store.put(BUCKET, key, key.encode())
    listed = [one async for one in store.list_objects(BUCKET)]
    assert {one.key: one.size_bytes for one in listed} == {key: len(key.encode()) for key in keys}


async def test_a_purge_fills_no_log_and_what_goes_wrong_is_in_it(
    store: EmbeddedStore, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    keys = [f"d/{number}" for number in range(5)]
    for key in keys:
        await store.put(BUCKET, key, b"one")
    assert await store.remove_objects(BUCKET, keys) == ()
    await store.put(BUCKET, "file", b"one")
    with pytest.raises(StoreUnavailable):
        await store.put(BUCKET, "file/below", b"two")
    await store.stop()
    told = [one.getMessage() for one in caplog.records if one.name == "ddsd.storage.children"]
    assert told
    assert all(one.startswith("rclone: ") and "file already exists" in one for one in told)
    assert "ERROR" not in capfd.readouterr().err


async def test_an_uploader_does_not_decide_how_old_an_object_is(store: EmbeddedStore) -> None:
    await store.ensure_bucket("mine")
    user = user_of(store, await store.issue_upload_key("mine", timedelta(hours=1)))
    for age in ("1000000000", "4000000000"):
        await asyncio.to_thread(
            user.put_object, "mine", "a", io.BytesIO(b"x"), 1, metadata={"x-amz-meta-mtime": age}
        )
        found = await store.stat("mine", "a")
        assert found is not None
        assert abs(found.stored_at - datetime.now(UTC)) < timedelta(minutes=1)
