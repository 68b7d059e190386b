"""The real store: MinIO, or any other S3, at an address of the facility.

Keys that are handed out are MinIO service accounts: never wider than the key they were made with,
and bounded by a policy of their own. Invariant: without an explicit permission of the operator the
configured key itself never leaves the daemon.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import urllib3
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin

from ddsd.clock import Clock, SystemClock
from ddsd.errors import DdsError, StoreRefused, StoreUnavailable
from ddsd.secret import SecretText
from ddsd.storage import faults
from ddsd.storage.port import May, ScopedKey, expiry, new_access_key, new_secret_key
from ddsd.storage.s3 import Account, S3Objects
from ddsd.storage.sigv4 import host_of
from ddsd.storage.stores import StoreAccount, StoreUser

_T = TypeVar("_T")

_UPLOADS = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_DOWNLOADS = ("s3:GetObject",)
_MARGIN = timedelta(seconds=5)
"""Added to what MinIO is told, whose shortest expiry counts from its own clock."""
_FORBIDDEN = 403
_PROXY = (
    "If this is a MinIO, a proxy before it refuses its administration: set store.endpoint to an address by which this "
    "machine gets at all of it, and store.public_endpoint to that of users. If it is none: "
)
_NO_MINIO = (
    "This object store has no MinIO administration API, so keys bound to one bucket cannot be made. If it has an IAM "
    "service, set store.iam_endpoint. Else use MinIO, or set store.allow_wide_upload_keys = true (uploaders then "
    "receive the configured key) and store.read_only_access_key for downloads."
)
_NO_SUCH_KEY = frozenset({"XMinioInvalidIAMCredentials", "XMinioAdminServiceAccountNotFound"})


class S3Store(S3Objects):
    """An S3 store behind ``endpoint``, which clients reach at ``public_endpoint``.

    ``allow_wide_upload_key`` is the operator's permission to hand out the configured key where the
    store cannot make narrow ones; ``read_only_key`` is a key made by the operator for such a store,
    used for download links. ``buckets`` is the pattern of the names that download keys are good for.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        access_key: str,
        secret_key: SecretText,
        public_endpoint: str | None = None,
        region: str = "us-east-1",
        buckets: str = "*",
        ca_file: Path | None = None,
        allow_wide_upload_key: bool = False,
        read_only_key: ScopedKey | None = None,
        clock: Clock | None = None,
        threads: int = 8,
    ) -> None:
        super().__init__(region=region, threads=threads)
        self._account = Account(endpoint.rstrip("/"), region, access_key, secret_key, ca_file)
        self._public_endpoint = (public_endpoint or endpoint).rstrip("/")
        self._buckets = buckets
        self._allow_wide_upload_key = allow_wide_upload_key
        self._read_only_key = read_only_key
        self._clock = clock or SystemClock()

    @property
    def public_endpoint(self) -> str:
        """See ``ObjectStore.public_endpoint``."""
        return self._public_endpoint

    async def start(self) -> None:
        """See ``ObjectStore.start``: nothing is sent."""
        self._connect(self._account)

    async def stop(self) -> None:
        """See ``ObjectStore.stop``."""
        self._disconnect()

    async def issue_upload_key(self, bucket: str, lifetime: timedelta) -> ScopedKey:
        """See ``ObjectStore.issue_upload_key``. Takes about 0.2 s: keep what it returns."""
        key = ScopedKey(
            new_access_key(),
            new_secret_key(),
            May.UPLOAD,
            bucket,
            expiry(self._clock.now(), lifetime),
        )
        if self._allow_wide_upload_key:
            return self._configured_key()
        await self._register(key, _policy(_UPLOADS, bucket))
        return key

    async def issue_download_key(self, lifetime: timedelta | None = None) -> ScopedKey:
        """See ``ObjectStore.issue_download_key``."""
        expires_at = expiry(self._clock.now(), lifetime) if lifetime else None
        if self._read_only_key:
            return self._read_only_key
        key = ScopedKey(new_access_key(), new_secret_key(), May.DOWNLOAD, expires_at=expires_at)
        await self._register(key, _policy(_DOWNLOADS, self._buckets))
        return key

    async def revoke_key(self, access_key: str) -> None:
        """See ``ObjectStore.revoke_key``. Keys that the operator made are left alone."""
        ours = {self._account.access_key}
        if self._read_only_key:
            ours.add(self._read_only_key.access_key)
        if access_key in ours:
            return
        try:
            await self._administer(lambda admin: admin.delete_service_account(access_key))
        except _UnknownKey:
            return

    async def change_secret(self, secret: SecretText) -> None:
        """See ``ObjectStore.change_secret``: MinIO lets a user do that. Keys made before stay as they are."""
        await self._administer(
            lambda admin: admin.user_add(self._account.access_key, secret.text())
        )

    def _configured_key(self) -> ScopedKey:
        return ScopedKey(self._account.access_key, self._account.secret_key, May.EVERYTHING)

    async def _register(self, key: ScopedKey, policy: dict[str, object]) -> None:
        expires_at = key.expires_at
        await self._administer(
            lambda admin: admin.add_service_account(
                access_key=key.access_key,
                secret_key=key.secret_key.text(),
                name="ddsd",
                description=f"{key.may} {key.bucket or ''}".strip(),
                policy=policy,
                expiration=_as_minio_writes_it(expires_at) if expires_at else None,
            )
        )

    async def _administer(self, verb: Callable[[MinioAdmin], _T]) -> _T:
        session = self._open()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(session.threads, lambda: verb(self._admin()))
        except MinioAdminException as error:
            raise _translated(error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise faults.silence(self._account.endpoint, error) from error

    def _admin(self) -> MinioAdmin:
        account = self._account
        return MinioAdmin(
            endpoint=host_of(account.endpoint),
            credentials=StaticProvider(account.access_key, account.secret_key.text()),
            region=account.region,
            secure=account.secure,
            http_client=account.http(retries=0),
        )


async def make_user(
    administrator: StoreAccount, user: StoreUser, *, ca_file: Path | None = None
) -> None:
    """Make a MinIO user bounded by a policy of the same name, or give the existing one this secret and policy.

    Raises:
        StoreRefused: this is no MinIO, or the key is no administrator's.
        StoreUnavailable: it does not answer.
    """
    store = S3Store(
        endpoint=administrator.address.endpoint,
        access_key=administrator.access_key,
        secret_key=administrator.secret_key,
        region=administrator.address.region,
        ca_file=ca_file,
    )
    await store.start()
    try:
        await store._administer(lambda admin: admin.policy_add(user.name, policy=user.policy))
        await store._administer(lambda admin: admin.user_add(user.name, user.secret_key.text()))
        await store._administer(lambda admin: admin.attach_policy([user.name], user=user.name))
    except _NothingChanged:
        return
    finally:
        await store.stop()


class _NothingChanged(StoreRefused):
    """MinIO was asked for what is so already."""


class _UnknownKey(StoreRefused):
    """MinIO has no service account of that name."""


def _policy(actions: tuple[str, ...], bucket: str) -> dict[str, object]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": list(actions),
                "Resource": [f"arn:aws:s3:::{bucket}/*"],
            }
        ],
    }


def _as_minio_writes_it(moment: datetime) -> str:
    return (moment + _MARGIN).strftime("%Y-%m-%dT%H:%M:%SZ")


def _translated(error: MinioAdminException) -> DdsError:
    """Tell MinIO's own refusals (JSON) from a store that has no such API (anything else)."""
    status = error._code
    try:
        answer = json.loads(error._body)
        code = str(answer["Code"])
        message = str(answer.get("Message", ""))
    except (ValueError, KeyError, TypeError):
        return StoreRefused(
            f"{_PROXY if int(status) == _FORBIDDEN else ''}{_NO_MINIO} (HTTP {status})"
        )
    if code in _NO_SUCH_KEY:
        return _UnknownKey(f"The object store knows no such key: {message}")
    if code == "XMinioAdminPolicyChangeAlreadyApplied":
        return _NothingChanged(message)
    if int(status) >= 500:
        return StoreUnavailable(f"The object store cannot make keys now: {code} {message}")
    return StoreRefused(
        f"The object store refused to administer keys: {code} {message} Its key needs "
        "admin:CreateServiceAccount and admin:RemoveServiceAccount, or must be a user's own key."
    )
