"""A key tried out at a store before it is kept: that it can do what deliveries need, and how far it reaches.

Invariant: what is made for it is removed again.
"""

from __future__ import annotations

from dataclasses import dataclass

from ddsd.errors import StoreRefused
from ddsd.storage.port import SHORTEST_LIFETIME, ObjectStore

_KEY = "ddsd-trial"
_CONTENT = b"ddsd looks whether this key can do what deliveries need"


@dataclass(frozen=True, slots=True)
class Trial:
    """What a key can do beyond the necessary.

    ``reaches_further``: it can make buckets that are none of the unit's. ``no_upload_keys`` says why the store makes
    no keys that can only upload; empty where it does.
    """

    reaches_further: bool
    no_upload_keys: str


async def try_out(store: ObjectStore, inside: str, outside: str) -> Trial:
    """Do with a store, in a bucket made for it, all that deliveries do.

    Args:
        store: started, with the key that is tried.
        inside: the name of a bucket of the unit, which is not there.
        outside: the name of a bucket that the key should not be able to make.

    Raises:
        StoreUnavailable: the store does not answer.
        StoreRefused: the key is wrong, or cannot do what is necessary.
    """
    await store.probe()
    await store.ensure_bucket(inside)
    try:
        await _deliver(store, inside)
        await store.revoke_key((await store.issue_download_key(SHORTEST_LIFETIME)).access_key)
        no_upload_keys = await _why_no_upload_keys(store, inside)
    finally:
        await store.remove_objects(inside, [_KEY])
        await store.remove_bucket(inside)
    return Trial(await _reaches(store, outside), no_upload_keys)


async def _deliver(store: ObjectStore, bucket: str) -> None:
    await store.put(bucket, _KEY, _CONTENT)
    if await store.get(bucket, _KEY) != _CONTENT:
        raise StoreRefused("The store gives back something else than was stored.")
    listed = [one.key async for one in store.list_objects(bucket)]
    if listed != [_KEY]:
        raise StoreRefused("The store does not list what was stored.")
    failures = await store.remove_objects(bucket, [_KEY])
    if failures:
        raise StoreRefused(f"The store does not let this key remove objects: {failures[0].reason}")


async def _why_no_upload_keys(store: ObjectStore, bucket: str) -> str:
    try:
        key = await store.issue_upload_key(bucket, SHORTEST_LIFETIME)
    except StoreRefused as no:
        return no.message
    await store.revoke_key(key.access_key)
    return ""


async def _reaches(store: ObjectStore, outside: str) -> bool:
    try:
        await store.ensure_bucket(outside)
    except StoreRefused:
        return False
    await store.remove_bucket(outside)
    return True
