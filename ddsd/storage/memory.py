"""A store in memory, for tests of the domain: same promises, no bytes on any wire.

Its links (``memory://``) and keys open nothing; whether a key would do is asked of the real stores.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta

from ddsd.clock import Clock, SystemClock
from ddsd.errors import StoreObjectMissing, StoreRefused, StoreUnavailable
from ddsd.secret import SecretText
from ddsd.storage.port import (
    LONGEST_SIGNATURE,
    DownloadSigner,
    May,
    ObjectReader,
    OpenUpload,
    Readable,
    RemovalFailure,
    ScopedKey,
    StoredObject,
    expiry,
    new_access_key,
    new_secret_key,
)


class MemoryStore:
    """Buckets and objects in dictionaries; set ``away`` and every call finds no store."""

    def __init__(
        self,
        *,
        region: str = "us-east-1",
        clock: Clock | None = None,
        endpoint: str = "memory://store",
    ) -> None:
        self.region = region
        self._endpoint = endpoint
        self.away = False
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.uploads: dict[str, list[OpenUpload]] = {}
        self.keys: dict[str, ScopedKey] = {}
        self.secret = SecretText("")
        self._clock = clock or SystemClock()
        self._stored_at: dict[tuple[str, str], datetime] = {}

    @property
    def public_endpoint(self) -> str:
        """See ``ObjectStore.public_endpoint``: an address that leads nowhere."""
        return self._endpoint

    async def start(self) -> None:
        """See ``ObjectStore.start``."""

    async def stop(self) -> None:
        """See ``ObjectStore.stop``; what is stored stays."""

    async def probe(self) -> None:
        """See ``ObjectStore.probe``."""
        self._reach()

    async def ensure_bucket(self, bucket: str) -> None:
        """See ``ObjectStore.ensure_bucket``."""
        self._reach().setdefault(bucket, {})

    async def bucket_exists(self, bucket: str) -> bool:
        """See ``ObjectStore.bucket_exists``."""
        return bucket in self._reach()

    async def list_buckets(self, prefix: str = "") -> tuple[str, ...]:
        """See ``ObjectStore.list_buckets``."""
        return tuple(sorted(name for name in self._reach() if name.startswith(prefix)))

    async def remove_bucket(self, bucket: str) -> None:
        """See ``ObjectStore.remove_bucket``."""
        if self._reach().get(bucket):
            raise StoreRefused(f"The bucket {bucket} is not empty.")
        self.buckets.pop(bucket, None)
        self.uploads.pop(bucket, None)

    async def keeps_versions(self, bucket: str) -> bool:
        """See ``ObjectStore.keeps_versions``: a dictionary keeps none."""
        self._contents(bucket)
        return False

    async def stat(self, bucket: str, key: str) -> StoredObject | None:
        """See ``ObjectStore.stat``."""
        content = self._reach().get(bucket, {}).get(key)
        return None if content is None else self._stored(bucket, key, content)

    async def list_objects(self, bucket: str) -> AsyncIterator[StoredObject]:
        """See ``ObjectStore.list_objects``."""
        for key, content in sorted(self._contents(bucket).items()):
            yield self._stored(bucket, key, content)

    async def put(self, bucket: str, key: str, content: bytes) -> None:
        """See ``ObjectStore.put``."""
        self._contents(bucket)[key] = content
        self._stored_at[bucket, key] = self._clock.now()

    async def get(self, bucket: str, key: str) -> bytes:
        """See ``ObjectStore.get``."""
        try:
            return self._contents(bucket)[key]
        except KeyError:
            raise StoreObjectMissing(f"The object store has no {bucket}/{key}.") from None

    async def reader(self, bucket: str, key: str) -> ObjectReader:
        """See ``ObjectStore.reader``."""
        return _Reader(await self.get(bucket, key))

    async def put_from(self, bucket: str, key: str, source: Readable, size_bytes: int) -> None:
        """See ``ObjectStore.put_from``."""
        content = await asyncio.to_thread(source.read, size_bytes)
        if len(content) != size_bytes:
            raise StoreUnavailable(f"{bucket}/{key} ended after {len(content)} bytes.")
        await self.put(bucket, key, content)

    async def remove_objects(self, bucket: str, keys: Iterable[str]) -> tuple[RemovalFailure, ...]:
        """See ``ObjectStore.remove_objects``."""
        contents = self._contents(bucket)
        for key in keys:
            contents.pop(key, None)
        return ()

    async def list_uploads(self, bucket: str) -> AsyncIterator[OpenUpload]:
        """See ``ObjectStore.list_uploads``: what a test has put into ``uploads``."""
        self._contents(bucket)
        for upload in tuple(self.uploads.get(bucket, ())):
            yield upload

    async def abort_upload(self, bucket: str, upload: OpenUpload) -> None:
        """See ``ObjectStore.abort_upload``."""
        self._reach()
        if upload in self.uploads.get(bucket, ()):
            self.uploads[bucket].remove(upload)

    async def issue_upload_key(self, bucket: str, lifetime: timedelta) -> ScopedKey:
        """See ``ObjectStore.issue_upload_key``."""
        return self._issue(May.UPLOAD, bucket, expiry(self._clock.now(), lifetime))

    async def issue_download_key(self, lifetime: timedelta | None = None) -> ScopedKey:
        """See ``ObjectStore.issue_download_key``."""
        expires_at = expiry(self._clock.now(), lifetime) if lifetime else None
        return self._issue(May.DOWNLOAD, None, expires_at)

    async def revoke_key(self, access_key: str) -> None:
        """See ``ObjectStore.revoke_key``."""
        self._reach()
        self.keys.pop(access_key, None)

    async def change_secret(self, secret: SecretText) -> None:
        """See ``ObjectStore.change_secret``; it is kept in ``secret``, to be looked at."""
        self._reach()
        self.secret = secret

    def download_signer(self, key: ScopedKey) -> DownloadSigner:
        """See ``ObjectStore.download_signer``."""
        return _OpaqueLinks(key.access_key)

    def _stored(self, bucket: str, key: str, content: bytes) -> StoredObject:
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        stored_at = self._stored_at.get((bucket, key), self._clock.now())
        return StoredObject(key, len(content), etag, stored_at)

    def _issue(self, may: May, bucket: str | None, expires_at: datetime | None) -> ScopedKey:
        self._reach()
        key = ScopedKey(new_access_key(), new_secret_key(), may, bucket, expires_at)
        self.keys[key.access_key] = key
        return key

    def _reach(self) -> dict[str, dict[str, bytes]]:
        if self.away:
            raise StoreUnavailable("The object store does not answer.")
        return self.buckets

    def _contents(self, bucket: str) -> dict[str, bytes]:
        try:
            return self._reach()[bucket]
        except KeyError:
            raise StoreObjectMissing(f"The object store has no bucket {bucket}.") from None


class _Reader(io.BytesIO):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.size_bytes = len(content)

    def read(self, amount: int | None = -1) -> bytes:
        """See ``ObjectReader.read``."""
        return super().read(amount)


class _OpaqueLinks:
    def __init__(self, access_key: str) -> None:
        self._access_key = access_key

    def sign(self, bucket: str, object_key: str, *, now: datetime, expires: timedelta) -> str:
        """See ``DownloadSigner.sign``."""
        if not timedelta(seconds=1) <= expires <= LONGEST_SIGNATURE:
            raise ValueError(f"a link can be valid for 1 second to 7 days, not for {expires}")
        until = int((now + expires).timestamp())
        return f"memory://{bucket}/{object_key}?key={self._access_key}&until={until}"
