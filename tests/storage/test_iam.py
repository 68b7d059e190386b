"""What only a real IAM service can tell: which users are made and removed, and how its absence is told."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import urllib3
from minio import Minio
from minio.error import S3Error

from ddsd.clock import SystemClock
from ddsd.errors import StoreRefused, StoreUnavailable
from ddsd.secret import SecretText
from ddsd.storage.iam import IamStore
from ddsd.storage.port import May, ScopedKey
from tests.builders import SettableClock
from tests.parts.ports import free_port
from tests.parts.versitygw import VersityServer, versitygw_server

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VersityServer]:
    yield from versitygw_server(tmp_path_factory.mktemp("versitygw"))


@pytest.fixture
def now() -> SettableClock:
    """A clock that stands at the present, which signatures need."""
    return SettableClock(SystemClock().now())


@pytest.fixture
async def store(running: VersityServer, now: SettableClock) -> AsyncIterator[IamStore]:
    made = a_store(running, clock=now)
    await made.start()
    yield made
    await made.stop()


def a_store(
    server: VersityServer,
    *,
    iam_endpoint: str | None = None,
    secret_key: SecretText | None = None,
    clock: SettableClock | None = None,
) -> IamStore:
    return IamStore(
        endpoint=server.endpoint,
        iam_endpoint=iam_endpoint or server.iam_endpoint,
        access_key=server.access_key,
        secret_key=secret_key or server.secret_key,
        clock=clock,
    )


async def users(store: IamStore) -> list[str]:
    found = await store._ask("ListUsers", PathPrefix="/")
    return [one.text or "" for one in found.iter() if one.tag.endswith("}UserName")]


async def test_revoked_key_leaves_no_user(store: IamStore) -> None:
    before = await users(store)
    upload = await store.issue_upload_key("a-bucket", HOUR)
    download = await store.issue_download_key()
    assert len(await users(store)) == len(before) + 2
    await store.revoke_key(upload.access_key)
    await store.revoke_key(download.access_key)
    assert await users(store) == before


async def test_user_whose_key_has_expired_is_removed_when_the_next_is_made(
    store: IamStore, now: SettableClock
) -> None:
    present = now.now()
    now.set(present - timedelta(minutes=10))
    await store.issue_upload_key("a-bucket", timedelta(minutes=15))
    [expiring] = [one for one in await users(store) if "for-good" not in one]
    now.set(present + timedelta(minutes=4))
    await store.issue_download_key()
    assert expiring in await users(store)
    now.set(present + timedelta(minutes=6))
    await store.issue_download_key()
    assert expiring not in await users(store)


async def test_key_is_refused_by_its_policy_from_its_end_on(store: IamStore) -> None:
    await store.ensure_bucket("an-ending-bucket")
    now = SystemClock().now()
    running = await store._issue(May.UPLOAD, "an-ending-bucket", now + timedelta(minutes=15))
    over = await store._issue(May.UPLOAD, "an-ending-bucket", now - timedelta(seconds=1))
    with pytest.raises(S3Error, match="AccessDenied"):
        put(store, over)
    put(store, running)


def put(store: IamStore, key: ScopedKey) -> None:
    user = Minio(
        store.public_endpoint.removeprefix("http://"),
        access_key=key.access_key,
        secret_key=key.secret_key.text(),
        secure=False,
        region=store.region,
        http_client=urllib3.PoolManager(retries=False, timeout=20),
    )
    user.put_object("an-ending-bucket", "a", io.BytesIO(b"content"), 7)


async def test_user_of_somebody_else_is_never_removed(store: IamStore) -> None:
    await store._ask("CreateUser", UserName="facility", Path="/ddsd/")
    made = await store._ask("CreateAccessKey", UserName="facility")
    key = next(one.text or "" for one in made.iter() if one.tag.endswith("}AccessKeyId"))
    await store.revoke_key(key)
    await store.issue_download_key()
    assert "facility" in await users(store)


async def test_wrong_secret_is_refused_and_names_the_key(running: VersityServer) -> None:
    wrong = a_store(running, secret_key=SecretText("x" * 20))
    await wrong.start()
    with pytest.raises(StoreRefused, match=r"SignatureDoesNotMatch.*store\.access_key"):
        await wrong.issue_upload_key("a-bucket", HOUR)
    await wrong.stop()


async def test_iam_service_that_is_away_is_named_by_its_setting(running: VersityServer) -> None:
    away = a_store(running, iam_endpoint=f"http://127.0.0.1:{free_port()}")
    await away.start()
    with pytest.raises(StoreUnavailable, match=r"store\.iam_endpoint"):
        await away.issue_download_key()
    await away.stop()


async def test_server_that_is_no_iam_service_is_named_by_its_setting(
    running: VersityServer,
) -> None:
    wrong = a_store(running, iam_endpoint=running.endpoint)
    await wrong.start()
    with pytest.raises(StoreRefused, match=r"store\.iam_endpoint"):
        await wrong.issue_download_key()
    await wrong.stop()
