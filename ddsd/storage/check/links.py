"""Checks of download links, as browsers and clients follow them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from ddsd.storage.check.bench import Bench, expect, keys_in
from ddsd.storage.check.objects import AWKWARD_KEYS

_RANGES: Final = (("bytes=2-5", b"2345"), ("bytes=7-", b"789"), ("bytes=-2", b"89"))


async def links(bench: Bench) -> str:
    """A signed link gets the object, whole, whatever its name is."""
    store, bucket = bench.store, await bench.bucket()
    for key in AWKWARD_KEYS:
        await store.put(bucket, key, b"content")
        answer = await bench.http.get(await bench.link(bucket, key))
        expect(answer.status_code == 200, f"{key!r} was answered {answer.status_code}.")
        expect(answer.content == b"content", f"{key!r} came back as something else.")
        length = answer.headers.get("content-length")
        expect(length == "7", f"{key!r} has a Content-Length of {length}, not 7.")
    await store.put(bucket, "empty", b"")
    empty = await bench.http.get(await bench.link(bucket, "empty"))
    expect((empty.status_code, empty.content) == (200, b""), "An object of no bytes did not come.")
    return ""


async def ranges(bench: Bench) -> str:
    """A link gets a part of an object; one beyond its end is refused: downloads go on where they broke off."""
    bucket = await bench.bucket()
    await bench.store.put(bucket, "digits", b"0123456789")
    link = await bench.link(bucket, "digits")
    for asked, part in _RANGES:
        answer = await bench.http.get(link, headers={"Range": asked})
        seen = (answer.status_code, answer.content)
        expect(seen == (206, part), f"Range {asked} was answered {seen}.")
        expect(answer.headers["content-range"].endswith("/10"), "Content-Range lacks the size.")
    beyond = await bench.http.get(link, headers={"Range": "bytes=10-"})
    expect(beyond.status_code == 416, f"Beyond the end was answered {beyond.status_code}.")
    return ""


async def ends(bench: Bench) -> str:
    """A link is refused after its end, and not before."""
    bucket = await bench.bucket()
    await bench.store.put(bucket, "a", b"content")
    ago = bench.clock.now() - timedelta(seconds=61)
    over = await bench.link(bucket, "a", now=ago, expires=timedelta(seconds=60))
    running = await bench.link(bucket, "a", now=ago, expires=timedelta(seconds=600))
    seen = (await bench.http.get(over)).status_code
    expect(seen == 403, f"A link was answered {seen} a second after its end.")
    seen = (await bench.http.get(running)).status_code
    expect(seen == 200, f"A link was answered {seen} before its end.")
    return ""


async def anonymous(bench: Bench) -> str:
    """Who has no key gets nothing."""
    bucket = await bench.bucket()
    await bench.store.put(bucket, "a", b"content")
    address = f"{bench.endpoint}/{bucket}/a"
    for method, where in (("GET", address), ("PUT", address), ("GET", f"{bench.endpoint}/")):
        content = b"other" if method == "PUT" else None
        answer = await bench.http.request(method, where, content=content)
        expect(
            400 <= answer.status_code < 500,
            f"{method} without any signature was answered {answer.status_code}.",
        )
    expect(await keys_in(bench.store, bucket) == ["a"], "Somebody without a key changed objects.")
    return ""
