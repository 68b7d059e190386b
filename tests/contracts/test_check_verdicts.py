"""The operator's checks see what is wrong: with stores that lack something, or stand in wrong surroundings."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from ddsd.clock import SystemClock
from ddsd.projects.projects import bucket_name
from ddsd.secret import SecretText
from ddsd.storage.check import bench as benches
from ddsd.storage.check.catalogue import CHECKS
from ddsd.storage.check.outcome import Check, Outcome, Verdict, perform
from ddsd.storage.minio import S3Store, make_user
from ddsd.storage.port import May, ScopedKey, new_secret_key
from ddsd.storage.stores import StoreAccount, StoreAddress, StoreUser, policy_for
from ddsd.units.units import bucket_pattern
from tests.contracts.stores import SCRATCH, a_bench, minio_store
from tests.parts.minio_server import MinioServer, minio_server
from tests.parts.no_store import saying
from tests.parts.ports import free_port
from tests.parts.versitygw import VersityServer
from tests.storage.test_minio import write_certificate

BY_NAME = {check.name: check for check in CHECKS}


async def outcome(store: S3Store, name: str, clock: object = None) -> Outcome:
    await store.start()
    try:
        async with a_bench(store) as bench:
            if isinstance(clock, Ahead):
                bench = dataclasses.replace(bench, clock=clock)
            return await perform(BY_NAME[name], bench)
    finally:
        await store.stop()


class Ahead:
    """A clock that goes ahead."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def now(self) -> datetime:
        """Return a moment to come."""
        return SystemClock().now() + timedelta(seconds=self._seconds)


def a_store_without_keys(server: VersityServer, *, wide: bool = False) -> S3Store:
    """Return a store that has no MinIO administration API, and is configured without an IAM service."""
    return S3Store(
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        allow_wide_upload_key=wide,
    )


@pytest.fixture
async def minio(running_minio: MinioServer) -> AsyncIterator[S3Store]:
    store = minio_store(running_minio)
    await store.start()
    yield store
    await store.stop()


async def test_store_without_narrow_keys_fails_and_says_what_to_set(
    running_versitygw: VersityServer,
) -> None:
    seen = await outcome(a_store_without_keys(running_versitygw), "upload-keys")
    assert seen.verdict is Verdict.FAILED
    assert "store.allow_wide_upload_keys" in seen.seen
    assert "store.iam_endpoint" in seen.check.remedy


async def test_what_needs_a_narrow_key_is_not_tried_without_one(
    running_versitygw: VersityServer,
) -> None:
    seen = await outcome(a_store_without_keys(running_versitygw), "replayed-parts")
    assert (seen.verdict, seen.seen) == (
        Verdict.NOT_TRIED,
        "needs a key to upload with: see upload-keys",
    )


async def test_wide_upload_keys_are_a_warning(running_versitygw: VersityServer) -> None:
    store = a_store_without_keys(running_versitygw, wide=True)
    seen = await outcome(store, "upload-keys")
    assert seen.verdict is Verdict.WARNING
    assert "reaches every project" in seen.seen


async def test_read_only_key_of_the_operator_that_may_write_fails(
    running_versitygw: VersityServer,
) -> None:
    server = running_versitygw
    store = S3Store(
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        read_only_key=ScopedKey(server.access_key, server.secret_key, May.DOWNLOAD),
    )
    seen = await outcome(store, "download-keys")
    assert seen.verdict is Verdict.FAILED


async def test_store_that_nobody_runs_fails_within_seconds() -> None:
    store = S3Store(
        endpoint=f"http://127.0.0.1:{free_port()}", access_key="x" * 20, secret_key=SecretText("y")
    )
    seen = await outcome(store, "answers")
    assert seen.verdict is Verdict.FAILED
    assert "does not answer" in seen.seen


async def test_address_for_clients_where_nobody_listens_is_told_by_its_setting(
    running_minio: MinioServer,
) -> None:
    for name in ("links", "parts"):
        store = S3Store(
            endpoint=running_minio.endpoint,
            public_endpoint=f"http://127.0.0.1:{free_port()}",
            access_key=running_minio.access_key,
            secret_key=running_minio.secret_key,
        )
        seen = await outcome(store, name)
        assert seen.verdict is Verdict.FAILED
        assert "store.public_endpoint" in seen.seen


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
async def test_server_that_answers_everything_alike_fails_every_check_and_breaks_none(
    check: Check,
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: x\r\n\r\nhello"
    with saying(answer) as endpoint:
        store = S3Store(endpoint=endpoint, access_key="x" * 20, secret_key=SecretText("y" * 20))
        seen = await outcome(store, check.name)
    assert seen.verdict is not Verdict.PASSED


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(0, Verdict.PASSED), (120, Verdict.WARNING), (1000, Verdict.FAILED)],
)
async def test_clocks_that_differ_are_told(
    running_minio: MinioServer, seconds: int, verdict: Verdict
) -> None:
    seen = await outcome(minio_store(running_minio), "clock", Ahead(seconds))
    assert seen.verdict is verdict


async def test_account_bounded_by_a_units_policy_passes(running_minio: MinioServer) -> None:
    pattern, user = bucket_pattern("unit1"), StoreUser("ddsd-unit1", new_secret_key(), {})
    user = dataclasses.replace(user, policy=policy_for(pattern))
    address = StoreAddress(running_minio.endpoint, running_minio.endpoint, "us-east-1")
    await make_user(StoreAccount(address, running_minio.access_key, running_minio.secret_key), user)
    unit = S3Store(
        endpoint=running_minio.endpoint,
        access_key=user.name,
        secret_key=user.secret_key,
        buckets=pattern,
    )
    await unit.start()
    clock = SystemClock()
    async with benches.opened(
        unit, clock=clock, new_name=lambda: bucket_name("unit100000", clock.now())
    ) as bench:
        names = ("buckets", "missing", "open-uploads", "upload-keys", "download-keys", "versions")
        seen = [await perform(BY_NAME[name], bench) for name in names]
    await unit.stop()
    assert [(one.verdict, one.seen) for one in seen if one.verdict is not Verdict.PASSED] == []


async def test_plain_http_beyond_this_machine_fails(running_minio: MinioServer) -> None:
    store = S3Store(
        endpoint=running_minio.endpoint,
        public_endpoint="http://store.example:9000",
        access_key=running_minio.access_key,
        secret_key=running_minio.secret_key,
    )
    seen = await outcome(store, "transport")
    assert seen.verdict is Verdict.FAILED
    assert "plain HTTP" in seen.seen


async def test_certificate_is_told_when_it_is_not_trusted_or_about_to_end(tmp_path: Path) -> None:
    write_certificate(tmp_path / "certificates")
    ca_file = tmp_path / "certificates" / "public.crt"
    for server in minio_server(tmp_path, tmp_path / "certificates"):
        seen = []
        for trusted in (None, ca_file):
            store = S3Store(
                endpoint=server.endpoint,
                access_key=server.access_key,
                secret_key=server.secret_key,
                ca_file=trusted,
            )
            async with a_bench(store, trusted) as bench:
                seen.append(await perform(BY_NAME["transport"], bench))
    untrusted, ending = seen
    assert (untrusted.verdict, ending.verdict) == (Verdict.FAILED, Verdict.WARNING)
    assert "self-signed certificate" in untrusted.seen
    assert "The certificate ends in 0 days" in ending.seen


async def test_bucket_that_keeps_versions_is_seen(
    minio: S3Store, running_minio: MinioServer
) -> None:
    async with a_bench(minio) as bench:
        bucket = await bench.bucket()
        assert not await minio.keeps_versions(bucket)
        root = bench.holder(
            ScopedKey(running_minio.access_key, running_minio.secret_key, May.EVERYTHING)
        )
        root.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
        assert await minio.keeps_versions(bucket)


async def test_what_a_killed_check_left_is_swept(minio: S3Store) -> None:
    left = f"{SCRATCH}killed"
    await minio.ensure_bucket(left)
    await minio.put(left, "a", b"content")
    await minio.ensure_bucket("other-bucket")
    assert await benches.sweep(minio, SCRATCH) == ()
    assert left not in await minio.list_buckets()
    assert "other-bucket" in await minio.list_buckets()


async def test_bench_is_cleared_although_a_check_broke(minio: S3Store) -> None:
    with pytest.raises(RuntimeError, match="in the middle"):
        async with a_bench(minio) as bench:
            await minio.put(await bench.bucket(), "a", b"content")
            raise RuntimeError("in the middle")
    assert await minio.list_buckets(SCRATCH) == ()
