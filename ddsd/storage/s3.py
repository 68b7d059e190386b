"""What every S3 store does alike: buckets, objects and signed links, through minio-py.

minio-py blocks, so its calls run in a small pool of threads that belongs to the store; when all are
taken, callers wait. Invariant: nothing of minio-py or urllib3 gets out, neither types nor errors,
and a store that does not answer is reported within seconds.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from xml.etree import ElementTree

import urllib3
from minio import Minio
from minio.commonconfig import ENABLED
from minio.datatypes import Object
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, S3Error, ServerError

from ddsd.errors import StoreObjectMissing, StoreUnavailable
from ddsd.secret import SecretText
from ddsd.storage import faults
from ddsd.storage.port import (
    DownloadSigner,
    ObjectReader,
    OpenUpload,
    Readable,
    RemovalFailure,
    ScopedKey,
    StoredObject,
)
from ddsd.storage.sigv4 import LinkSigner, host_of
from ddsd.storage.trust import trusting

_T = TypeVar("_T")

_CONNECT_S = 3.0
_READ_S = 30.0
_PROBE_READ_S = 3.0
_PAGE = 1000
_BUSY = (502, 503, 504)


@dataclass(frozen=True, slots=True)
class Account:
    """How to reach a store: ``endpoint`` is scheme, host and port.

    ``ca_file`` is a private CA in PEM, trusted beside the system's own.
    """

    endpoint: str
    region: str
    access_key: str
    secret_key: SecretText
    ca_file: Path | None = None

    @property
    def secure(self) -> bool:
        """Tell whether the endpoint speaks TLS."""
        return urlsplit(self.endpoint).scheme == "https"

    def http(self, *, read_s: float = _READ_S, retries: int = 1) -> urllib3.PoolManager:
        """Return an HTTP client that gives up soon (minio-py's own waits for minutes)."""
        return urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=read_s),
            # A MinIO that is starting asks for a minute's patience (Retry-After): callers have seconds.
            retries=urllib3.Retry(
                total=retries,
                backoff_factor=0.2,
                status_forcelist=_BUSY,
                respect_retry_after_header=False,
            ),
            maxsize=16,
            ssl_context=trusting(self.ca_file) if self.secure else None,
        )

    def client(self, http: urllib3.PoolManager) -> Minio:
        """Return minio-py's client for this account."""
        return Minio(
            host_of(self.endpoint),
            access_key=self.access_key,
            secret_key=self.secret_key.text(),
            secure=self.secure,
            region=self.region,
            http_client=http,
        )


@dataclass(frozen=True, slots=True)
class _Session:
    """What lives between start and stop."""

    account: Account
    client: Minio
    quick: Minio
    threads: ThreadPoolExecutor


class S3Objects:
    """The object half of a store; the key half differs and is added by the adapters."""

    longest_s = 120.0
    """How long a call may take altogether: one that is answered drop by drop, or waits for a thread."""

    probe_longest_s = 10.0
    """The same for a probe: somebody waits to be told whether it answers."""

    def __init__(self, *, region: str, threads: int = 8) -> None:
        self.region = region
        self._thread_count = threads
        self._session: _Session | None = None

    @property
    def public_endpoint(self) -> str:
        """See ``ObjectStore.public_endpoint``."""
        raise NotImplementedError

    async def probe(self) -> None:
        """See ``ObjectStore.probe``. A key that may not list buckets still counts as accepted."""
        quick = self._open().quick
        await self._within(self.probe_longest_s, lambda: _ask_for_buckets(quick))

    async def ensure_bucket(self, bucket: str) -> None:
        """See ``ObjectStore.ensure_bucket``."""
        if not await self.bucket_exists(bucket):
            await self._call(_make_bucket, self._open().client, bucket)

    async def bucket_exists(self, bucket: str) -> bool:
        """See ``ObjectStore.bucket_exists``."""
        return await self._call(self._open().client.bucket_exists, bucket)

    async def list_buckets(self, prefix: str = "") -> tuple[str, ...]:
        """See ``ObjectStore.list_buckets``."""
        buckets = await self._call(self._open().client.list_buckets)
        return tuple(sorted(found.name for found in buckets if found.name.startswith(prefix)))

    async def remove_bucket(self, bucket: str) -> None:
        """See ``ObjectStore.remove_bucket``."""
        try:
            await self._call(self._open().client.remove_bucket, bucket)
        except StoreObjectMissing:
            return

    async def keeps_versions(self, bucket: str) -> bool:
        """See ``ObjectStore.keeps_versions``."""
        state = await self._call(self._open().client.get_bucket_versioning, bucket)
        return state.status == ENABLED

    async def stat(self, bucket: str, key: str) -> StoredObject | None:
        """See ``ObjectStore.stat``."""
        try:
            return _stored(await self._call(self._open().client.stat_object, bucket, key))
        except StoreObjectMissing:
            return None

    async def list_objects(self, bucket: str) -> AsyncIterator[StoredObject]:
        """See ``ObjectStore.list_objects``; one call to the store per 1000 objects."""
        listing = self._open().client.list_objects(bucket, recursive=True)
        while page := await self._call(lambda: tuple(islice(listing, _PAGE))):
            for found in page:
                yield _stored(found)

    async def put(self, bucket: str, key: str, content: bytes) -> None:
        """See ``ObjectStore.put``."""
        client = self._open().client
        await self._call(client.put_object, bucket, key, io.BytesIO(content), len(content))

    async def get(self, bucket: str, key: str) -> bytes:
        """See ``ObjectStore.get``."""
        return await self._call(_read, self._open().client, bucket, key)

    async def reader(self, bucket: str, key: str) -> ObjectReader:
        """See ``ObjectStore.reader``."""
        session = self._open()
        answer = await self._call(session.client.get_object, bucket, key)
        return _Reader(answer, session.account.endpoint)

    async def put_from(self, bucket: str, key: str, source: Readable, size_bytes: int) -> None:
        """See ``ObjectStore.put_from``."""
        client = self._open().client

        def move() -> None:
            client.put_object(bucket, key, source, size_bytes)  # type: ignore[arg-type]  # it only calls read()

        await self._within(None, move)

    async def remove_objects(self, bucket: str, keys: Iterable[str]) -> tuple[RemovalFailure, ...]:
        """See ``ObjectStore.remove_objects``."""
        client, wanted = self._open().client, tuple(keys)
        return await self._within(None, lambda: _remove(client, bucket, wanted))

    async def list_uploads(self, bucket: str) -> AsyncIterator[OpenUpload]:
        """See ``ObjectStore.list_uploads``; one call to the store per 1000."""
        client, after = self._open().client, _Page((), None, None)
        while True:
            after = await self._call(_uploads, client, bucket, after)
            for one in after.uploads:
                yield one
            if after.key_marker is None:
                return

    async def abort_upload(self, bucket: str, upload: OpenUpload) -> None:
        """See ``ObjectStore.abort_upload``."""
        client = self._open().client
        try:
            # minio-py has no other way to it.
            await self._call(client._abort_multipart_upload, bucket, upload.key, upload.upload_id)
        except StoreObjectMissing:
            return

    def download_signer(self, key: ScopedKey) -> DownloadSigner:
        """See ``ObjectStore.download_signer``."""
        return LinkSigner(self.public_endpoint, self.region, key)

    def _connect(self, account: Account) -> None:
        self._session = _Session(
            account=account,
            client=account.client(account.http()),
            quick=account.client(account.http(read_s=_PROBE_READ_S, retries=0)),
            threads=ThreadPoolExecutor(self._thread_count, thread_name_prefix="store"),
        )

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session:
            session.threads.shutdown(wait=False, cancel_futures=True)

    def _open(self) -> _Session:
        if self._session is None:
            raise StoreUnavailable("The object store is not started.")
        return self._session

    async def _call(self, verb: Callable[..., _T], *arguments: object) -> _T:
        return await self._within(self.longest_s, lambda: verb(*arguments))

    async def _within(self, longest_s: float | None, verb: Callable[[], _T]) -> _T:
        """Call what blocks, in a thread; ``None``: as long as it goes on, to move a whole object or remove many."""
        session = self._open()
        running = asyncio.get_running_loop().run_in_executor(session.threads, verb)
        try:
            return await asyncio.wait_for(running, longest_s)
        except (S3Error, ServerError, InvalidResponseError) as error:
            raise faults.refusal(error) from error
        except TimeoutError as error:
            raise faults.slowness(session.account.endpoint, longest_s) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise faults.silence(session.account.endpoint, error) from error
        except (ValueError, AttributeError, ElementTree.ParseError) as error:
            # Of minio-py, which trusts that an answer has the form and the headers that S3's have.
            raise faults.nonsense(error) from error


def _ask_for_buckets(client: Minio) -> None:
    try:
        client.list_buckets()
    except S3Error as error:
        if error.code != "AccessDenied":
            raise


def _make_bucket(client: Minio, bucket: str) -> None:
    try:
        client.make_bucket(bucket)
    except S3Error as error:
        if error.code != "BucketAlreadyOwnedByYou" and not (
            error.code == "BucketAlreadyExists" and client.bucket_exists(bucket)
        ):
            raise


def _read(client: Minio, bucket: str, key: str) -> bytes:
    response = client.get_object(bucket, key)
    try:
        return bytes(response.read())
    finally:
        response.close()
        response.release_conn()


class _Reader:
    """An answer of the store; what urllib3 raises is told as the store's own trouble."""

    def __init__(self, answer: urllib3.BaseHTTPResponse, endpoint: str) -> None:
        self._answer = answer
        self._endpoint = endpoint
        self.size_bytes = int(answer.headers.get("Content-Length", 0))

    def read(self, amount: int = -1) -> bytes:
        try:
            return self._answer.read(None if amount < 0 else amount)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailable(
                f"The object store at {self._endpoint} stopped answering: {error}"
            ) from error

    def close(self) -> None:
        self._answer.close()
        self._answer.release_conn()


def _remove(client: Minio, bucket: str, keys: tuple[str, ...]) -> tuple[RemovalFailure, ...]:
    failures = client.remove_objects(bucket, [DeleteObject(key) for key in keys])
    return tuple(
        RemovalFailure(failure.name or "", f"{failure.code}: {failure.message}")
        for failure in failures
    )


def _stored(found: Object) -> StoredObject:
    return StoredObject(
        found.object_name or "",
        found.size or 0,
        found.etag or "",
        found.last_modified or datetime.now(UTC),
    )


@dataclass(frozen=True, slots=True)
class _Page:
    """One answer about open uploads, and where the next begins; without a ``key_marker`` it was the last."""

    uploads: tuple[OpenUpload, ...]
    key_marker: str | None
    id_marker: str | None


def _uploads(client: Minio, bucket: str, after: _Page) -> _Page:
    found = client._list_multipart_uploads(
        bucket, key_marker=after.key_marker, upload_id_marker=after.id_marker
    )
    uploads = tuple(
        OpenUpload(one.object_name, one.upload_id or "", one.initiated_time or datetime.now(UTC))
        for one in found.uploads
    )
    if not found.is_truncated or not uploads:
        return _Page(uploads, None, None)
    return _Page(uploads, found.next_key_marker, found.next_upload_id_marker)
