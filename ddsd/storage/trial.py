"""A key tried out at a store before it is kept: that it can do what deliveries need, and how far it reaches.

Invariant: what is made for it is removed again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from ddsd.errors import DdsError, StoreRefused
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


async def try_out(
    store: ObjectStore, inside: str, outside: str, reader: ObjectStore | None = None
) -> Trial:
    """Do with a store, in a bucket made for it, all that deliveries do.

    Args:
        store: started, with the key that is tried.
        inside: the name of a bucket of the unit, which is not there.
        outside: the name of a bucket that the key should not be able to make.
        reader: the same, with the operator's own key for downloads, where there is one.

    Raises:
        StoreUnavailable: the store does not answer.
        StoreRefused: the key is wrong, or cannot do what is necessary; the one for downloads can do more than read.
    """
    await store.probe()
    await store.ensure_bucket(inside)
    try:
        await _deliver(store, inside)
        if reader is not None:
            await _only_reads(store, reader, inside)
        await store.revoke_key((await store.issue_download_key(SHORTEST_LIFETIME)).access_key)
        no_upload_keys = await _why_no_upload_keys(store, inside)
    except BaseException:
        with suppress(DdsError):  # what went wrong before says more
            await _clean_up(store, inside)
        raise
    await _clean_up(store, inside)
    return Trial(await _reaches(store, outside), no_upload_keys)


async def _clean_up(store: ObjectStore, bucket: str) -> None:
    await store.remove_objects(bucket, [_KEY])
    await store.remove_bucket(bucket)


async def _only_reads(store: ObjectStore, reader: ObjectStore, bucket: str) -> None:
    """Refuse a key for downloads that does not read, or can write: whoever downloads is shown its id."""
    await store.put(bucket, _KEY, _CONTENT)
    try:
        read = await reader.get(bucket, _KEY)
    except StoreRefused as no:
        raise StoreRefused(f"The key for downloads cannot get objects: {no.message}") from no
    if read != _CONTENT:
        raise StoreRefused("The store gives back something else than was stored.")
    try:
        await reader.put(bucket, _KEY, _CONTENT)
    except StoreRefused:
        return
    raise StoreRefused(
        "The key for downloads can store objects, and everybody who may download is shown its name. Make one that may "
        "only get objects (s3:GetObject)."
    )


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
