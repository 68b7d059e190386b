"""Where checks work: scratch buckets, short-lived keys, and a way to use these as a client would.

Invariant: every bucket and key that was made on a bench is gone after it was closed, if the store lets us; what a
killed check left behind is removed when the next bench for the same store is opened.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import urllib3
from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.error import S3Error
from minio.minioadmin import MinioAdmin

from ddsd.clock import Clock
from ddsd.errors import DdsError, StoreObjectMissing, StoreRefused
from ddsd.storage.check.outcome import NotKept, NotTried
from ddsd.storage.port import SHORTEST_LIFETIME, DownloadSigner, May, ObjectStore, ScopedKey
from ddsd.storage.sigv4 import host_of
from ddsd.storage.trust import trusting

if TYPE_CHECKING:
    import httpx

Answer = TypeVar("Answer")

HOUR: Final = timedelta(hours=1)
MIB: Final = 1024 * 1024
_ANSWER_S: Final = 30.0


@dataclass
class Bench:
    """A store, and what the checks of one run share.

    Args:
        store: the store, started.
        clock: ours, which its own is compared with.
        http: for requests as anybody could send them.
        new_name: gives a fresh bucket name at each call, all with the same beginning.
        ca_file: see :class:`~ddsd.storage.s3.Account`.
        transfer_bytes: how much the check of the speed may move each way.
    """

    store: ObjectStore
    clock: Clock
    http: httpx.AsyncClient
    new_name: Callable[[], str]
    ca_file: Path | None = None
    transfer_bytes: int = 256 * MIB
    _buckets: list[str] = field(default_factory=list)
    _keys: list[str] = field(default_factory=list)
    _signer: DownloadSigner | None = None

    @property
    def endpoint(self) -> str:
        """The address that clients use."""
        return self.store.public_endpoint

    async def bucket(self) -> str:
        """Make an empty bucket."""
        name = self.new_name()
        self._buckets.append(name)
        await self.store.ensure_bucket(name)
        return name

    async def upload_key(self, bucket: str) -> ScopedKey:
        """Return a key that can put objects into the bucket: a narrow one, or the configured one where that is allowed.

        Raises:
            NotTried: the store makes no narrow keys, and the configured one may not be handed out.
        """
        try:
            key = await self.store.issue_upload_key(bucket, SHORTEST_LIFETIME)
        except StoreRefused as wrong:
            raise NotTried("needs a key to upload with: see upload-keys") from wrong
        self._remember(key)
        return key

    async def narrow_key(self, bucket: str) -> ScopedKey:
        """Return a key that can put objects into the bucket, and nothing else.

        Raises:
            NotTried: the store makes none.
        """
        key = await self.upload_key(bucket)
        if key.may is not May.UPLOAD:
            raise NotTried("needs a key that reaches one bucket only: see upload-keys")
        return key

    async def download_key(self) -> ScopedKey:
        """Return a key that can only get objects.

        Raises:
            NotTried: the store makes none, and none is configured.
        """
        try:
            key = await self.store.issue_download_key(SHORTEST_LIFETIME)
        except StoreRefused as wrong:
            raise NotTried("needs a key that may only read: see download-keys") from wrong
        self._remember(key)
        return key

    async def link(
        self, bucket: str, key: str, *, now: datetime | None = None, expires: timedelta = HOUR
    ) -> str:
        """Return a download link for an object, signed ``now`` (else at this moment)."""
        if self._signer is None:
            self._signer = self.store.download_signer(await self.download_key())
        return self._signer.sign(bucket, key, now=now or self.clock.now(), expires=expires)

    def holder(self, key: ScopedKey) -> Minio:
        """Return an S3 client that holds nothing but that key, at the address that clients use."""
        return Minio(
            host_of(self.endpoint),
            access_key=key.access_key,
            secret_key=key.secret_key.text(),
            secure=self.endpoint.startswith("https:"),
            region=self.store.region,
            http_client=self._pool(),
        )

    def administrator(self, key: ScopedKey) -> MinioAdmin:
        """Return a client of MinIO's administration API that holds nothing but that key."""
        return MinioAdmin(
            endpoint=host_of(self.endpoint),
            credentials=StaticProvider(key.access_key, key.secret_key.text()),
            region=self.store.region,
            secure=self.endpoint.startswith("https:"),
            http_client=self._pool(),
        )

    def _pool(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(
            retries=False,
            maxsize=4,
            timeout=_ANSWER_S,
            ssl_context=trusting(self.ca_file),
        )

    def _remember(self, key: ScopedKey) -> None:
        if key.expires_at is not None:  # else it is the operator's own
            self._keys.append(key.access_key)

    async def close(self) -> tuple[str, ...]:
        """Remove everything that was made; return the buckets that could not be removed."""
        for access_key in self._keys:
            with suppress(DdsError):
                await self.store.revoke_key(access_key)
        return tuple([one for one in self._buckets if not await remove_whole(self.store, one)])


@asynccontextmanager
async def opened(
    store: ObjectStore,
    *,
    clock: Clock,
    new_name: Callable[[], str],
    ca_file: Path | None = None,
    transfer_bytes: int = 256 * MIB,
) -> AsyncIterator[Bench]:
    """Open a bench; close it whatever happens. See :class:`Bench` for the arguments."""
    import httpx  # here and in outcome: an idle daemon does without it

    trust = trusting(ca_file)
    async with httpx.AsyncClient(timeout=_ANSWER_S, trust_env=False, verify=trust) as http:
        bench = Bench(store, clock, http, new_name, ca_file, transfer_bytes)
        try:
            yield bench
        finally:
            await bench.close()


async def sweep(store: ObjectStore, beginning: str) -> tuple[str, ...]:
    """Remove the buckets whose names begin so, which killed checks left; return those that stayed.

    Raises:
        StoreUnavailable, StoreRefused: the store does not list its buckets.
    """
    found = await store.list_buckets(beginning)
    return tuple([one for one in found if not await remove_whole(store, one)])


async def remove_whole(store: ObjectStore, bucket: str) -> bool:
    """Remove a bucket with all that is in it; say whether it is gone."""
    try:
        async for upload in store.list_uploads(bucket):
            await store.abort_upload(bucket, upload)
        keys = [found.key async for found in store.list_objects(bucket)]
        await store.remove_objects(bucket, keys)
        await store.remove_bucket(bucket)
    except StoreObjectMissing:
        return True
    except DdsError:
        return False
    return True


async def call(verb: Callable[..., Answer], *arguments: object, **named: object) -> Answer:
    """Call what blocks, in a thread."""
    return await asyncio.to_thread(verb, *arguments, **named)


async def put(user: Minio, bucket: str, key: str, content: bytes = b"content") -> None:
    """Store an object as somebody."""
    await call(user.put_object, bucket, key, io.BytesIO(content), len(content))


async def refused(verb: Callable[..., object], *arguments: object) -> bool:
    """Say whether the store answers somebody's call with a 4xx that is no 404."""
    try:
        await call(_to_its_end, verb, *arguments)
    except S3Error as error:
        status = int(error.response.status)
        return 400 <= status < 500 and status != 404
    return False


def _to_its_end(verb: Callable[..., object], *arguments: object) -> None:
    answer = verb(*arguments)
    if hasattr(answer, "__next__"):
        list(answer)  # type: ignore[call-overload]  # minio-py asks only when it is iterated


async def keys_in(store: ObjectStore, bucket: str) -> list[str]:
    """Return the keys of the bucket's objects, in the order they are told."""
    return [found.key async for found in store.list_objects(bucket)]


def expect(kept: bool, otherwise: str) -> None:
    """Go on only if a promise was kept.

    Raises:
        NotKept: it was not; ``otherwise`` says what was seen.
    """
    if not kept:
        raise NotKept(otherwise)
