"""The stores of units that have one of their own, opened when they are first needed.

Invariant: one open adapter to an account. When a unit's account changes, the next call gets the new one; what is under
way with the former one may end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ddsd.secret import SecretText
from ddsd.storage.port import ObjectStore, ScopedKey

_ON_BUCKETS = (
    "s3:CreateBucket",
    "s3:DeleteBucket",
    "s3:ListBucket",
    "s3:GetBucketLocation",
    "s3:GetBucketVersioning",
    "s3:ListBucketMultipartUploads",
)
_ON_OBJECTS = (
    "s3:PutObject",
    "s3:GetObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where an S3 store is: scheme, host and port, for the daemon and for clients, and the region signatures name.

    ``iam_endpoint`` is the service that makes its keys, where that is none of MinIO's.
    """

    endpoint: str
    public_endpoint: str
    region: str
    iam_endpoint: str = ""


@dataclass(frozen=True, slots=True)
class StoreAccount:
    """A key at a store. ``read_only`` is the operator's, for a store that cannot make such keys.

    ``wide_upload_keys`` is the permission to hand this key to uploaders where the store cannot make narrow ones.
    ``buckets`` is the pattern of the names that keys for downloads are good for.
    """

    address: StoreAddress
    access_key: str
    secret_key: SecretText
    wide_upload_keys: bool = False
    read_only: ScopedKey | None = None
    buckets: str = "*"

    @property
    def identity(self) -> str:
        """Name whose keys these are: keys made by another account are another's."""
        return f"s3 {self.address.endpoint} {self.access_key}"


@dataclass(frozen=True, slots=True)
class StoreUser:
    """A user that a store's administrator is to make: its name, its secret, and the policy that bounds it."""

    name: str
    secret_key: SecretText
    policy: dict[str, object]


Opener = Callable[[StoreAccount], ObjectStore]
UserMaker = Callable[[StoreAccount, StoreUser], Awaitable[None]]


class Stores:
    """Opens the stores of units.

    Args:
        opener: makes an adapter, not yet started.
        user_maker: makes a user, or gives an existing one a new secret, with an administrator's account.
    """

    def __init__(self, opener: Opener, user_maker: UserMaker) -> None:
        self._opener = opener
        self.make_user = user_maker
        self._open: dict[int, tuple[StoreAccount, ObjectStore]] = {}
        self._replaced: list[ObjectStore] = []
        self._opening = asyncio.Lock()

    async def of(self, number: int, account: StoreAccount) -> ObjectStore:
        """Return the started store of an account; ``number`` is whose it is, such as a row's."""
        async with self._opening:
            known = self._open.get(number)
            if known is not None and known[0] == account:
                return known[1]
            store = await self.tried(account)
            if known is not None:
                self._replaced.append(known[1])
            self._open[number] = (account, store)
            return store

    async def tried(self, account: StoreAccount) -> ObjectStore:
        """Return a started store that is the caller's own to stop."""
        store = self._opener(account)
        await store.start()
        return store

    async def stop(self) -> None:
        """Stop everything that was opened. Harmless when nothing was."""
        stores = [store for _, store in self._open.values()] + self._replaced
        self._open.clear()
        self._replaced.clear()
        for store in stores:
            await store.stop()


def policy_for(pattern: str) -> dict[str, object]:
    """Return the policy for a user of ours: all that deliveries need, in buckets of such names and in no others.

    Args:
        pattern: the names, ``?`` for any one character. A ``*`` reaches into longer names, and so other units'.
    """
    # MinIO matches a bucket without an object as "bucket/": the second form is for both.
    buckets = [f"arn:aws:s3:::{pattern}", f"arn:aws:s3:::{pattern}/*"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": list(_ON_BUCKETS), "Resource": buckets},
            {"Effect": "Allow", "Action": list(_ON_OBJECTS), "Resource": buckets[1:]},
        ],
    }
