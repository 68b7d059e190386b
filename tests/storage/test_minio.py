"""What only a real MinIO can tell: a facility's unit user, and stores that misbehave."""

from __future__ import annotations

import io
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from minio import Minio
from minio.commonconfig import ENABLED
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, S3Error
from minio.minioadmin import MinioAdmin
from minio.versioningconfig import VersioningConfig

from ddsd.errors import StoreRefused, StoreUnavailable
from ddsd.secret import SecretText
from ddsd.storage.minio import S3Store, make_user
from ddsd.storage.port import May, ScopedKey, new_secret_key
from ddsd.storage.stores import StoreAccount, StoreAddress, StoreUser, policy_for
from ddsd.units.units import bucket_pattern
from tests.parts.minio_server import MinioServer, minio_server

HOUR = timedelta(hours=1)
UNIT_USER = ("unit1-user", SecretText("unit1-secret-key"))


@pytest.fixture(scope="module")
def running_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    for server in minio_server(tmp_path_factory.mktemp("minio")):
        add_unit_user(server)
        yield server


def add_unit_user(server: MinioServer) -> None:
    """Do what a facility does for a unit: a user with everything below one bucket prefix."""
    admin = MinioAdmin(
        endpoint=server.endpoint.removeprefix("http://"),
        credentials=StaticProvider(server.access_key, server.secret_key.text()),
        secure=False,
    )
    admin.user_add(UNIT_USER[0], UNIT_USER[1].text())
    resources = ["arn:aws:s3:::unit1-*", "arn:aws:s3:::unit1-*/*"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": resources}],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(policy, file)
        file.flush()
        admin.policy_add("unit1", file.name)
    admin.attach_policy(["unit1"], user=UNIT_USER[0])


@pytest.fixture
async def store(running_minio: MinioServer) -> AsyncIterator[S3Store]:
    unit = S3Store(
        endpoint=running_minio.endpoint, access_key=UNIT_USER[0], secret_key=UNIT_USER[1]
    )
    await unit.start()
    yield unit
    await unit.stop()


def user_of(store: S3Store, key: ScopedKey) -> Minio:
    return Minio(
        store.public_endpoint.removeprefix("http://"),
        access_key=key.access_key,
        secret_key=key.secret_key.text(),
        secure=False,
        region=store.region,
        http_client=urllib3.PoolManager(retries=False, timeout=20),
    )


async def test_user_of_a_unit_is_enough_for_a_delivery(store: S3Store) -> None:
    await store.probe()
    await store.ensure_bucket("unit1-project")
    upload = await store.issue_upload_key("unit1-project", HOUR)
    user_of(store, upload).put_object("unit1-project", "a", io.BytesIO(b"content"), 7)
    download = await store.issue_download_key()
    assert user_of(store, download).get_object("unit1-project", "a").data == b"content"
    assert await store.list_buckets("unit1-") == ("unit1-project",)


async def test_user_of_a_unit_is_refused_outside_its_prefix(store: S3Store) -> None:
    with pytest.raises(StoreRefused):
        await store.ensure_bucket("unit2-project")


async def test_key_for_a_foreign_bucket_grants_nothing(
    store: S3Store, running_minio: MinioServer
) -> None:
    root = S3Store(
        endpoint=running_minio.endpoint,
        access_key=running_minio.access_key,
        secret_key=running_minio.secret_key,
    )
    await root.start()
    await root.ensure_bucket("unit2-project")
    await root.stop()
    key = await store.issue_upload_key("unit2-project", HOUR)
    with pytest.raises(S3Error, match="AccessDenied"):
        user_of(store, key).put_object("unit2-project", "a", io.BytesIO(b"content"), 7)


async def test_wrong_secret_is_refused_by_probe_and_by_the_administration(
    running_minio: MinioServer,
) -> None:
    wrong = S3Store(
        endpoint=running_minio.endpoint,
        access_key=running_minio.access_key,
        secret_key=SecretText("x" * 20),
    )
    await wrong.start()
    try:
        with pytest.raises(StoreRefused, match="SignatureDoesNotMatch"):
            await wrong.probe()
        with pytest.raises(StoreRefused, match="SignatureDoesNotMatch"):
            await wrong.issue_upload_key("unit1-project", HOUR)
    finally:
        await wrong.stop()


async def test_key_that_may_not_make_keys_says_what_is_missing(store: S3Store) -> None:
    key = await store.issue_download_key()
    narrow = S3Store(
        endpoint=store.public_endpoint, access_key=key.access_key, secret_key=key.secret_key
    )
    await narrow.start()
    try:
        with pytest.raises(StoreRefused, match="CreateServiceAccount"):
            await narrow.issue_upload_key("unit1-project", HOUR)
    finally:
        await narrow.stop()


async def test_name_that_no_bucket_can_have_is_refused(store: S3Store) -> None:
    with pytest.raises(StoreRefused):
        await store.ensure_bucket("No Bucket")


async def test_store_that_takes_connections_and_says_nothing_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = S3Store(
            endpoint=f"http://127.0.0.1:{port}", access_key="x" * 20, secret_key=SecretText("y")
        )
        await store.start()
        with pytest.raises(StoreUnavailable):
            await store.probe()
        await store.stop()


def write_certificate(directory: Path) -> None:
    """Write a self-signed certificate for 127.0.0.1 as MinIO wants to find it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - HOUR)
        .not_valid_after(now + 24 * HOUR)
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir()
    pem = serialization.Encoding.PEM
    (directory / "public.crt").write_bytes(certificate.public_bytes(pem))
    (directory / "private.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


async def test_private_ca_is_trusted_when_named_and_only_then(tmp_path: Path) -> None:
    write_certificate(tmp_path / "certificates")
    ca_file = tmp_path / "certificates" / "public.crt"
    for server in minio_server(tmp_path, tmp_path / "certificates"):
        account = (server.endpoint, server.access_key, server.secret_key)
        trusting, doubting = tls_store(*account, ca_file), tls_store(*account, None)
        await trusting.start()
        await doubting.start()
        await trusting.probe()
        await trusting.ensure_bucket("a-bucket")
        await trusting.issue_upload_key("a-bucket", HOUR)
        with pytest.raises(StoreUnavailable, match="certificate is not trusted"):
            await doubting.probe()
        await trusting.stop()
        await doubting.stop()


def tls_store(endpoint: str, access_key: str, secret: SecretText, ca_file: Path | None) -> S3Store:
    return S3Store(endpoint=endpoint, access_key=access_key, secret_key=secret, ca_file=ca_file)


async def test_server_that_is_stopped_becomes_unavailable(tmp_path: Path) -> None:
    for server in minio_server(tmp_path):
        store = S3Store(
            endpoint=server.endpoint, access_key=server.access_key, secret_key=server.secret_key
        )
        await store.start()
        await store.probe()
        server.stop()
        with pytest.raises(StoreUnavailable):
            await store.probe()
        with pytest.raises(StoreUnavailable):
            await store.issue_upload_key("a-bucket", HOUR)
        await store.stop()


EVERYTHING: dict[str, object] = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:*", "admin:*"], "Resource": ["arn:aws:s3:::*"]}
    ],
}


@pytest.fixture(params=["the unit's account", "an upload key", "the key for downloads"])
async def holder(
    request: pytest.FixtureRequest, running_minio: MinioServer
) -> AsyncIterator[tuple[str, MinioAdmin, Minio]]:
    """Somebody of unit ``u1``, whose account is as ddsd makes it: who they are, and what they can send."""
    endpoint, pattern = running_minio.endpoint, bucket_pattern("u1")
    user = StoreUser("ddsd-u1", new_secret_key(), policy_for(pattern))
    address = StoreAddress(endpoint, endpoint, "us-east-1")
    await make_user(StoreAccount(address, running_minio.access_key, running_minio.secret_key), user)
    unit = S3Store(
        endpoint=endpoint, access_key=user.name, secret_key=user.secret_key, buckets=pattern
    )
    await unit.start()
    await unit.ensure_bucket(OWN)
    key = ScopedKey(user.name, user.secret_key, May.EVERYTHING)
    if request.param == "an upload key":
        key = await unit.issue_upload_key(OWN, HOUR)
    elif request.param == "the key for downloads":
        key = await unit.issue_download_key(HOUR)
    admin = MinioAdmin(
        endpoint=endpoint.removeprefix("http://"),
        credentials=StaticProvider(key.access_key, key.secret_key.text()),
        secure=False,
        http_client=urllib3.PoolManager(retries=False, timeout=20),
    )
    yield request.param, admin, user_of(unit, key)
    await unit.stop()


OWN = "u100001-260302120000000000-abcdef01"


async def test_nobody_of_a_unit_administers_the_store_or_opens_a_bucket(
    holder: tuple[str, MinioAdmin, Minio],
) -> None:
    who, admin, user = holder
    forbidden: dict[str, Callable[[], object]] = {
        "a new user": lambda: admin.user_add("intruder", "intruders-secret"),
        "another's secret": lambda: admin.user_add(UNIT_USER[0], "intruders-secret"),
        "end another": lambda: admin.user_remove(UNIT_USER[0]),
        "list users": admin.user_list,
        "a new policy": lambda: admin.policy_add("intruder", policy=EVERYTHING),
        "its own policy": lambda: admin.policy_add("ddsd-u1", policy=EVERYTHING),
        "a wider policy": lambda: admin.attach_policy(["consoleAdmin"], user="ddsd-u1"),
        "look at another": lambda: admin.user_info(UNIT_USER[0]),
        "what the store is": admin.info,
        "bucket policy": lambda: user.set_bucket_policy(OWN, json.dumps(EVERYTHING)),
        "versioning": lambda: user.set_bucket_versioning(OWN, VersioningConfig(ENABLED)),
        "life cycle": lambda: user.delete_bucket_lifecycle(OWN),
        "replication": lambda: user.delete_bucket_replication(OWN),
        "notification": lambda: user.delete_bucket_notification(OWN),
        "encryption": lambda: user.delete_bucket_encryption(OWN),
        "tags": lambda: user.delete_bucket_tags(OWN),
        "another's bucket": lambda: user.make_bucket("u200001-260302120000000000-abcdef01"),
        "a longer name": lambda: user.make_bucket("u1000001-260302120000000000-abcdef01"),
    }
    if who != "the unit's account":
        forbidden |= {
            "the account's secret": lambda: admin.user_add("ddsd-u1", "intruders-secret"),
            "another key": lambda: admin.add_service_account(
                access_key="INTRUDER1", secret_key="intruders"
            ),
            "a wide key": lambda: admin.add_service_account(
                access_key="INTRUDER2", secret_key="intruders", policy=EVERYTHING
            ),
            "list keys": lambda: admin.list_service_account("ddsd-u1"),
        }
    allowed = [what for what, attempt in forbidden.items() if not _is_refused(attempt)]
    assert allowed == []


def _is_refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except MinioAdminException as no:
        return no._code in {"400", "403"}  # MinIO: 400 to a key that would change its own account
    except S3Error as no:
        return no.code == "AccessDenied"
    return False
