"""The port to the object store: what the domain may ask of it, and the values it answers with.

Every adapter keeps the same promises, and one suite (``tests/contracts/test_object_store.py``)
holds them to it. Nothing here imports more than the standard library: the embedded store's gate is
started without site-packages.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from ddsd.errors import StoreRefused
from ddsd.secret import SecretText

SHORTEST_LIFETIME = timedelta(minutes=15)
LONGEST_LIFETIME = timedelta(days=365)
LONGEST_SIGNATURE = timedelta(days=7)
"""The limits of MinIO (keys) and of SigV4 (signatures), kept by every adapter."""

_KEY_ALPHABET = string.ascii_uppercase + string.digits


class May(StrEnum):
    """What a key may be used for."""

    UPLOAD = "upload"
    """Put objects, also in parts, into one bucket; nothing else."""
    DOWNLOAD = "download"
    """Get objects whose names are known, from every bucket; nothing else."""
    EVERYTHING = "everything"
    """Whatever the store's own key may do."""


@dataclass(frozen=True, slots=True)
class ScopedKey:
    """An access key and what it is good for.

    ``bucket`` is None where the key is not bound to one; ``expires_at`` is None where it does not
    expire.
    """

    access_key: str
    secret_key: SecretText
    may: May
    bucket: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object. ``etag`` has no quotes and is empty where the store does not tell it.

    ``stored_at`` is aware, by the store's clock.
    """

    key: str
    size_bytes: int
    etag: str
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class RemovalFailure:
    """An object that could not be removed, and what the store said."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload in parts that is neither completed nor aborted. It takes room and is no object.

    ``key`` is what it is to become, or the store's own name for it; ``touched_at`` is aware, by the store's clock:
    when it began, or its last part where the store tells that.
    """

    key: str
    upload_id: str
    touched_at: datetime


class ObjectReader(Protocol):
    """The bytes of one object, to be read in a thread and closed."""

    @property
    def size_bytes(self) -> int:
        """How many there are."""
        ...

    def read(self, amount: int = -1) -> bytes:
        """Return the next ``amount`` bytes, or all that are left; nothing at the end.

        Raises:
            StoreUnavailable: the store stops answering.
        """
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


class Readable(Protocol):
    """What bytes come from."""

    def read(self, amount: int = -1) -> bytes:
        """Return the next ``amount`` bytes, or all that are left; nothing at the end."""
        ...


class DownloadSigner(Protocol):
    """Makes download links without talking to anybody."""

    def sign(self, bucket: str, object_key: str, *, now: datetime, expires: timedelta) -> str:
        """Return a link with which anyone may get that one object until ``now + expires``.

        ``now`` is aware; ``expires`` is 1 second to 7 days. Whether the object exists is not
        checked.

        Raises:
            ValueError: ``expires`` is out of range.
        """
        ...


class ObjectStore(Protocol):
    """An S3 store, as far as deliveries need one.

    Every method that talks to the store raises ``StoreUnavailable`` when it does not answer (within
    seconds), ``StoreRefused`` when it says no, and ``StoreObjectMissing`` when the bucket or object
    is not there, unless the method says otherwise.
    """

    @property
    def public_endpoint(self) -> str:
        """The address at which clients reach the store: scheme, host, port, no trailing slash."""
        ...

    @property
    def region(self) -> str:
        """The region that signatures name."""
        ...

    async def start(self) -> None:
        """Make the store ready for calls. An external store need not be up for this."""
        ...

    async def stop(self) -> None:
        """Give back what ``start`` took. Harmless when not started."""
        ...

    async def probe(self) -> None:
        """Return when the store answers and accepts our key; fail within seconds otherwise."""
        ...

    async def ensure_bucket(self, bucket: str) -> None:
        """Create the bucket unless it is there."""
        ...

    async def bucket_exists(self, bucket: str) -> bool:
        """Tell whether the bucket is there."""
        ...

    async def list_buckets(self, prefix: str = "") -> tuple[str, ...]:
        """Return the names of the buckets that begin with ``prefix``, sorted."""
        ...

    async def remove_bucket(self, bucket: str) -> None:
        """Remove an empty bucket; one that is gone already is fine.

        Raises:
            StoreRefused: the bucket still holds objects.
        """
        ...

    async def keeps_versions(self, bucket: str) -> bool:
        """Tell whether the bucket keeps what is replaced or removed.

        Raises:
            StoreRefused: our key may not ask, or the store knows no versions.
        """
        ...

    async def stat(self, bucket: str, key: str) -> StoredObject | None:
        """Describe one object, or return None where there is none (or no such bucket)."""
        ...

    def list_objects(self, bucket: str) -> AsyncIterator[StoredObject]:
        """Yield every object of the bucket, in the order of their keys."""
        ...

    async def put(self, bucket: str, key: str, content: bytes) -> None:
        """Store a small object whole, replacing what was there."""
        ...

    async def get(self, bucket: str, key: str) -> bytes:
        """Return a small object whole."""
        ...

    async def reader(self, bucket: str, key: str) -> ObjectReader:
        """Open an object of any size for reading."""
        ...

    async def put_from(self, bucket: str, key: str, source: Readable, size_bytes: int) -> None:
        """Store an object of any size, replacing what was there; it appears when it is whole.

        ``source`` is read in a thread, a part at a time.

        Raises:
            StoreUnavailable: it ended early.
        """
        ...

    async def remove_objects(self, bucket: str, keys: Iterable[str]) -> tuple[RemovalFailure, ...]:
        """Remove the objects, 1000 a call, and return those that stayed; missing ones are fine."""
        ...

    def list_uploads(self, bucket: str) -> AsyncIterator[OpenUpload]:
        """Yield the uploads in parts that are open in the bucket, as far as the store tells them.

        MinIO tells only those begun since it was started, and ends abandoned ones by itself.
        """
        ...

    async def abort_upload(self, bucket: str, upload: OpenUpload) -> None:
        """End an upload in parts and free its room; one that is gone already is fine."""
        ...

    async def issue_upload_key(self, bucket: str, lifetime: timedelta) -> ScopedKey:
        """Make a key that can put objects into that one bucket, and nothing else, until it expires.

        ``lifetime`` is 15 minutes to 365 days.

        Raises:
            StoreRefused: the lifetime is out of range, or this store cannot make such keys.
        """
        ...

    async def issue_download_key(self, lifetime: timedelta | None = None) -> ScopedKey:
        """Make a key that can get objects of every bucket, and nothing else; None: for good.

        Raises:
            StoreRefused: the lifetime is out of range, or this store cannot make such keys.
        """
        ...

    async def revoke_key(self, access_key: str) -> None:
        """Make a key that was issued here worthless at once; an unknown one is fine."""
        ...

    async def change_secret(self, secret: SecretText) -> None:
        """Let the account that this store is used with have another secret; this object still uses the one it has.

        Keys that were made with the account stay as they are.

        Raises:
            StoreRefused: this store has no such request, or the account is its root.
        """
        ...

    def download_signer(self, key: ScopedKey) -> DownloadSigner:
        """Return a signer of download links that uses ``key``, against the public endpoint."""
        ...


def new_access_key() -> str:
    """Return a fresh access key: 20 capital letters and digits (MinIO takes 3 to 20)."""
    return "".join(secrets.choice(_KEY_ALPHABET) for _ in range(20))


def new_secret_key() -> SecretText:
    """Return a fresh secret key: 40 URL-safe characters, 240 bits (MinIO takes 8 to 40)."""
    return SecretText(secrets.token_urlsafe(30))


def expiry(now: datetime, lifetime: timedelta) -> datetime:
    """Return the moment, in whole seconds, at which a key issued ``now`` for ``lifetime`` dies.

    Raises:
        StoreRefused: ``lifetime`` is not 15 minutes to 365 days.
    """
    if not SHORTEST_LIFETIME <= lifetime <= LONGEST_LIFETIME:
        raise StoreRefused(
            f"A key must live for 15 minutes to 365 days, not for {lifetime}: change the setting."
        )
    return (now + lifetime).replace(microsecond=0)
