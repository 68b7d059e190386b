"""Checks of captured grants: a signed request that somebody else sends again, changed in one place, is refused.

One matrix: what was signed (a link to an object, a PUT of an object, a PUT of one part) × what is changed. A refusal
is any 4xx; that nothing was changed or told is looked at besides.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from minio import Minio

from ddsd.storage.check.bench import HOUR, MIB, Bench, call, expect, keys_in
from ddsd.storage.check.outcome import NotKept
from ddsd.storage.sigv4 import amz_date_of

_SECRET: Final = b"what only its reader may know"
UNPACK: Final = {
    "x-amz-meta-snowball-auto-extract": "true",
    "x-amz-meta-minio-snowball-prefix": "elsewhere",
}
"""Asks MinIO to unpack an archive. With a prefix, which a policy on the bucket's objects lets pass."""
_TAGS: Final = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
_PART_BYTES: Final = 5 * MIB


@dataclass(frozen=True)
class Replay:
    """A request made of a captured one; ``change`` says what is different."""

    change: str
    method: str
    address: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None


def tampered(link: str) -> str:
    """Return the link with its signature's last digit changed."""
    return link[:-1] + ("0" if link[-1] != "0" else "1")


async def links(bench: Bench) -> str:
    """A captured download link is good for its object, GET and time alone."""
    store, bucket, other = bench.store, await bench.bucket(), await bench.bucket()
    for place, key in ((bucket, "a"), (bucket, "b"), (other, "a")):
        await store.put(place, key, _SECRET)
    link = await bench.link(bucket, "a")
    ago = bench.clock.now() - 2 * HOUR
    stranger = await bench.download_key()
    named = link.split("X-Amz-Credential=")[1].split("%2F")[0]
    replays = [
        Replay("another key", "GET", link.replace(f"/{bucket}/a?", f"/{bucket}/b?")),
        Replay("another bucket", "GET", link.replace(f"/{bucket}/", f"/{other}/")),
        *[
            Replay(method, method, link, content=b"other" if method in {"PUT", "POST"} else None)
            for method in ("PUT", "DELETE", "POST")
        ],
        *_prolonged(await bench.link(bucket, "a", now=ago, expires=HOUR), "GET"),
        Replay("a later end", "GET", link.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200")),
        Replay("another signature", "GET", tampered(link)),
        Replay("no signature", "GET", link.partition("?")[0]),
        Replay("another parameter", "GET", f"{link}&response-content-type=text%2Fhtml"),
        Replay("uploads of its bucket", "GET", f"{link}&uploads="),
        Replay("another key id", "GET", link.replace(named, stranger.access_key)),
        Replay("another host", "GET", link, {"Host": "elsewhere.example"}),
        Replay("the bucket", "GET", link.replace(f"/{bucket}/a?", f"/{bucket}/?")),
        Replay("only its head", "HEAD", link),
        Replay("a version of it", "GET", f"{link}&versionId=null"),
        Replay("a part of it", "GET", f"{link}&partNumber=1"),
        Replay("parts of an upload", "GET", f"{link}&uploadId=x"),
        *_spelled_otherwise(link, bucket, other, "GET"),
    ]
    await _all_refused(bench, replays)
    for place, key in ((bucket, "a"), (bucket, "b"), (other, "a")):
        expect(await store.get(place, key) == _SECRET, f"{key} was changed.")
    return f"{len(replays)} changed requests"


async def uploads(bench: Bench) -> str:
    """A captured PUT of an object is good for its key, method and time alone."""
    store, bucket, other = bench.store, await bench.bucket(), await bench.bucket()
    await store.put(bucket, "b", _SECRET)
    user = bench.holder(await bench.narrow_key(bucket))
    link = _signed_put(user, bucket, "a")
    replays = [
        *_changed_puts(link, bucket, other),
        *_prolonged(_signed_put(user, bucket, "a", hours_ago=2), "PUT"),
        Replay("to read", "GET", link),
        Replay("to read another", "GET", link.replace(f"/{bucket}/a?", f"/{bucket}/b?")),
        Replay("to remove", "DELETE", link),
        Replay("as a part", "PUT", f"{link}&partNumber=1&uploadId=x", content=b"x"),
        Replay("to begin parts", "POST", f"{link}&uploads="),
    ]
    await _all_refused(bench, replays)
    expect(await keys_in(store, bucket) == ["b"], "Something was stored all the same.")
    expect(await store.get(bucket, "b") == _SECRET, "An object was changed.")
    answer = await bench.http.put(link, content=b"content")
    expect(answer.status_code == 200, f"As it was signed it was answered {answer.status_code}.")
    return f"{len(replays)} changed requests"


async def parts(bench: Bench) -> str:
    """A captured PUT of a part is good for its number, its upload, its key and time alone."""
    store, bucket, other = bench.store, await bench.bucket(), await bench.bucket()
    user = bench.holder(await bench.narrow_key(bucket))
    one = await call(user._create_multipart_upload, bucket, "a", {})
    two = await call(user._create_multipart_upload, bucket, "a", {})
    link = _signed_put(user, bucket, "a", one)
    replays = [
        *_changed_puts(link, bucket, other),
        Replay("another number", "PUT", link.replace("partNumber=1", "partNumber=2"), content=b"x"),
        Replay("another upload", "PUT", link.replace(one, two), content=b"x"),
        Replay("no part", "PUT", link.replace("partNumber=1&", ""), content=b"x"),
        *_prolonged(_signed_put(user, bucket, "a", one, hours_ago=2), "PUT"),
        Replay("to complete", "POST", link, content=b"<CompleteMultipartUpload/>"),
        Replay("to end it", "DELETE", link),
        Replay("to list the parts", "GET", link),
    ]
    await _all_refused(bench, replays)
    expect(await keys_in(store, bucket) == [], "Something was stored all the same.")
    answer = await bench.http.put(link, content=b"x" * _PART_BYTES)
    expect(answer.status_code == 200, f"As it was signed it was answered {answer.status_code}.")
    return f"{len(replays)} changed requests"


async def headers(bench: Bench) -> str:
    """A captured PUT becomes nothing else by headers that are added to it."""
    store, bucket, other = bench.store, await bench.bucket(), await bench.bucket()
    await store.put(bucket, "b", _SECRET)
    await store.put(other, "c", _SECRET)
    user = bench.holder(await bench.narrow_key(bucket))
    reached = []
    for source in (f"/{bucket}/b", f"/{other}/c"):
        await bench.http.put(
            _signed_put(user, bucket, "copy"), headers={"x-amz-copy-source": source}
        )
        if _SECRET in await _contents(bench, bucket, "copy"):
            reached.append(f"x-amz-copy-source: {source} copied what the key may not read")
    await bench.http.put(
        _signed_put(user, bucket, "archive"),
        headers=UNPACK,
        content=tar_of("unpacked"),
    )
    if "elsewhere/unpacked" in await keys_in(store, bucket):
        reached.append(
            "x-amz-meta-snowball-auto-extract: a PUT of one object became objects of other names"
        )
    if reached:
        raise NotKept("; ".join(reached))
    return ""


def tar_of(name: str) -> bytes:
    """Return a tar archive with one small file in it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 5
        archive.addfile(member, io.BytesIO(b"probe"))
    return packed.getvalue()


async def _contents(bench: Bench, bucket: str, key: str) -> bytes:
    there = await bench.store.stat(bucket, key)
    return await bench.store.get(bucket, key) if there else b""


def _changed_puts(link: str, bucket: str, other: str) -> list[Replay]:
    """Return what a captured PUT of an object and of a part have in common."""
    addresses = {
        "another key": link.replace(f"/{bucket}/a?", f"/{bucket}/other?"),
        "another bucket": link.replace(f"/{bucket}/", f"/{other}/"),
        "a later end": link.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200"),
        "another signature": tampered(link),
        "no signature": link.partition("?")[0],
        "another parameter": f"{link}&versionId=null",
    }
    return [
        *[Replay(change, "PUT", where, content=b"x") for change, where in addresses.items()],
        Replay("another host", "PUT", link, {"Host": "elsewhere.example"}, b"x"),
        Replay("tags of it", "PUT", f"{link}&tagging=", content=_TAGS),
        Replay("who may read it", "PUT", f"{link}&acl=", {"x-amz-acl": "public-read"}, b""),
        *_spelled_otherwise(link, bucket, other, "PUT"),
    ]


def _spelled_otherwise(link: str, bucket: str, other: str, method: str) -> list[Replay]:
    """Return requests that two readers could read differently, and one of them believe."""
    content = b"x" if method == "PUT" else None
    addresses = {
        "its key encoded twice": link.replace(f"/{bucket}/a?", f"/{bucket}/%2561?"),
        "another key behind a slash": link.replace(f"/{bucket}/a?", f"/{bucket}/a%2Fb?"),
        "by way of another bucket": link.replace(f"/{bucket}/", f"/{other}/%2e%2e/{bucket}/"),
        "into another bucket": link.replace(f"/{bucket}/a?", f"/{bucket}/%2e%2e/{other}/a?"),
        "a token": f"{link}&X-Amz-Security-Token=x",
    }
    return [Replay(change, method, where, content=content) for change, where in addresses.items()]


def _prolonged(over: str, method: str) -> list[Replay]:
    """Return requests that are over, and say twice when: some stores read the first, some the last."""
    content = b"x" if method == "PUT" else None
    date = amz_date_of(datetime.now(UTC))
    replays = [Replay("after its end", method, over, content=content)]
    for name, value in (("X-Amz-Expires", "604800"), ("X-Amz-Date", date)):
        for place, where in (
            ("before", over.replace("?", f"?{name}={value}&", 1)),
            ("after", f"{over}&{name}={value}"),
        ):
            change = f"after its end, with a second {name} {place} the first"
            replays.append(Replay(change, method, where, content=content))
    return replays


def _signed_put(
    user: Minio, bucket: str, key: str, upload_id: str | None = None, *, hours_ago: int = 0
) -> str:
    part: dict[str, str | list[str] | tuple[str]] = {}
    if upload_id:
        part = {"partNumber": "1", "uploadId": upload_id}
    when = datetime.now(UTC) - timedelta(hours=hours_ago) if hours_ago else None
    return user.get_presigned_url(
        "PUT",
        bucket,
        key,
        expires=HOUR,
        request_date=when,
        extra_query_params=part,
    )


async def _all_refused(bench: Bench, replays: Sequence[Replay]) -> None:
    accepted = []
    for one in replays:
        answer = await bench.http.request(
            one.method, one.address, headers=dict(one.headers), content=one.content
        )
        if not 400 <= answer.status_code < 500:
            accepted.append(f"{one.change}: {answer.status_code}")
    if accepted:
        raise NotKept("Not refused: " + ", ".join(accepted))
