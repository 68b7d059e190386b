"""Checks of buckets and objects: what the daemon itself does at a store, and uploads in parts."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from contextlib import suppress
from typing import Final

from minio.error import S3Error

from ddsd.errors import StoreObjectMissing, StoreRefused
from ddsd.storage.check.bench import HOUR, MIB, Bench, call, expect, keys_in, put

AWKWARD_KEYS: Final = (
    "plain",
    "a/b/c.txt",
    "å ö.txt",
    "a+b ~c",
    "x=1&y=2?#%41",
    "日本語",
    "(1)*'!",
)
_MORE_THAN_A_PAGE: Final = 1005
_AT_A_TIME: Final = 8


async def answers(bench: Bench) -> str:
    """The store answers, and takes our key."""
    await bench.store.probe()
    return ""


async def buckets(bench: Bench) -> str:
    """Buckets are made, found, listed and removed; one with objects in it stays."""
    store, name = bench.store, await bench.bucket()
    await store.ensure_bucket(name)
    expect(await store.bucket_exists(name), "A bucket that was made is not there.")
    expect(name in await store.list_buckets(name[:-1]), "A bucket that was made is not listed.")
    await store.put(name, "a", b"content")
    try:
        await store.remove_bucket(name)
    except StoreRefused:
        expect(await store.get(name, "a") == b"content", "An object was lost.")
    else:
        expect(False, "A bucket was removed although there was an object in it.")
    await store.remove_objects(name, ["a"])
    await store.remove_bucket(name)
    await store.remove_bucket(name)
    expect(not await store.bucket_exists(name), "A bucket that was removed is still there.")
    return ""


async def objects(bench: Bench) -> str:
    """Objects come back under the names they were stored with, and are replaced whole."""
    store, bucket = bench.store, await bench.bucket()
    for key in AWKWARD_KEYS:
        await store.put(bucket, key, b"a first, longer content")
        await store.put(bucket, key, b"content")
        found = await store.stat(bucket, key)
        expect(await store.get(bucket, key) == b"content", f"{key!r} came back as something else.")
        expect(found is not None and found.size_bytes == 7, f"{key!r} has the wrong size.")
    expect(
        await keys_in(store, bucket) == sorted(AWKWARD_KEYS),
        "The listing is not what was stored, in the order of the names' bytes.",
    )
    await store.put(bucket, "empty", b"")
    expect(await store.get(bucket, "empty") == b"", "An object of no bytes did not come back.")
    return f"{len(AWKWARD_KEYS)} awkward names"


async def missing(bench: Bench) -> str:
    """What is not there is told as missing, and not as forbidden."""
    store, bucket = bench.store, await bench.bucket()
    expect(await store.stat(bucket, "nothing") is None, "An object that is not there was found.")
    try:
        await store.get(bucket, "nothing")
    except StoreObjectMissing:
        return ""
    expect(False, "An object that is not there was returned.")
    return ""


async def listing(bench: Bench) -> str:
    """More objects than one answer holds are listed in order, and removed by the thousand."""
    store, bucket = bench.store, await bench.bucket()
    names = [f"object-{number:04d}" for number in range(_MORE_THAN_A_PAGE)]
    gate = asyncio.Semaphore(_AT_A_TIME)

    async def store_one(name: str) -> None:
        async with gate:
            await store.put(bucket, name, b"")

    await asyncio.gather(*(store_one(name) for name in names))
    expect(await keys_in(store, bucket) == names, "The listing is not complete, or out of order.")
    stayed = await store.remove_objects(bucket, [*names, "never there"])
    expect(stayed == (), f"{len(stayed)} objects were not removed: {stayed[:1]}")
    expect(await keys_in(store, bucket) == [], "Objects that were removed are still listed.")
    return f"{len(names)} objects"


async def parts(bench: Bench) -> str:
    """An upload key puts an object in parts, several at a time."""
    store, bucket = bench.store, await bench.bucket()
    user = bench.holder(await bench.upload_key(bucket))
    content = bytes(range(256)) * 4096 * 14
    await call(
        user.put_object,
        bucket,
        "big",
        io.BytesIO(content),
        len(content),
        part_size=6 * MIB,
        num_parallel_uploads=2,
    )
    expect(await store.get(bucket, "big") == content, "What came back is not what was sent.")
    return f"{len(content) // MIB} MiB in parts of 6 MiB"


async def open_uploads(bench: Bench) -> str:
    """An upload in parts that nobody ends is told of and can be ended; it is no object meanwhile."""
    store, bucket = bench.store, await bench.bucket()
    user = bench.holder(await bench.upload_key(bucket))
    begun = await call(user._create_multipart_upload, bucket, "big", {})
    await call(user._upload_part, bucket, "big", b"x" * (6 * MIB), {}, begun, 1)
    expect(await keys_in(store, bucket) == [], "An upload that is not complete is an object.")
    uploads = [one async for one in store.list_uploads(bucket)]
    expect(len(uploads) == 1, f"One upload is open, {len(uploads)} are told of.")
    apart = abs(uploads[0].touched_at - bench.clock.now())
    expect(apart < HOUR, f"It is told to have begun {apart} from now.")
    await store.abort_upload(bucket, uploads[0])
    await store.abort_upload(bucket, uploads[0])
    still = [one async for one in store.list_uploads(bucket)]
    expect(still == [], "An upload that was ended is still told of.")
    with suppress(S3Error):
        await call(user._complete_multipart_upload, bucket, "big", begun, [])
    expect(await keys_in(store, bucket) == [], "An upload that was ended became an object.")
    return ""


async def bucket_with_open_upload(bench: Bench) -> str:
    """A bucket without objects is removed, although an upload in parts is open in it."""
    store, bucket = bench.store, await bench.bucket()
    user = bench.holder(await bench.upload_key(bucket))
    begun = await call(user._create_multipart_upload, bucket, "big", {})
    await call(user._upload_part, bucket, "big", b"x" * (6 * MIB), {}, begun, 1)
    await store.remove_bucket(bucket)
    expect(not await store.bucket_exists(bucket), "The bucket is still there.")
    return ""


async def damage(bench: Bench) -> str:
    """A body that is not what its Content-MD5 says is refused."""
    bucket = await bench.bucket()
    user = bench.holder(await bench.upload_key(bucket))
    link = user.get_presigned_url("PUT", bucket, "a")
    wrong = base64.b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
    answer = await bench.http.put(link, content=b"content", headers={"Content-MD5": wrong})
    expect(answer.status_code == 400, f"It was answered {answer.status_code}, not 400.")
    expect(await keys_in(bench.store, bucket) == [], "The damaged object was stored.")
    return ""


async def at_once(bench: Bench) -> str:
    """What one client has put, another one sees at once: listings and links are not cached."""
    store, bucket = bench.store, await bench.bucket()
    await keys_in(store, bucket)
    link = await bench.link(bucket, "a")
    before = (await bench.http.get(link)).status_code
    expect(before == 404, f"A link to nothing was answered {before}, not 404.")
    await put(bench.holder(await bench.upload_key(bucket)), bucket, "a")
    expect((await bench.http.get(link)).content == b"content", "The object was not there yet.")
    expect(await keys_in(store, bucket) == ["a"], "The object was not listed yet.")
    return ""
