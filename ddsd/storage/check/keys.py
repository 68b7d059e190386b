"""Checks of the keys that are handed out: narrow, short-lived, and worthless once they are withdrawn."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import urllib3
from minio.commonconfig import CopySource
from minio.error import MinioAdminException

from ddsd.errors import StoreRefused
from ddsd.storage.check.bench import Bench, call, expect, keys_in, put, refused
from ddsd.storage.check.outcome import Concern, NotKept, NotTried
from ddsd.storage.port import SHORTEST_LIFETIME, May, ScopedKey, new_secret_key


async def upload_keys(bench: Bench) -> str:
    """A key can be made that puts objects into one bucket, and does nothing else."""
    store, bucket, other = bench.store, await bench.bucket(), await bench.bucket()
    await store.put(bucket, "a", b"content")
    try:
        key = await store.issue_upload_key(bucket, SHORTEST_LIFETIME)
    except StoreRefused as wrong:
        raise NotKept(wrong.message) from wrong
    if key.may is not May.UPLOAD:
        raise Concern(
            "The configured key itself is handed to everybody who uploads "
            "(store.allow_wide_upload_keys): each of them reaches every project."
        )
    try:
        await _is_narrow(bench, key, bucket, other)
    finally:
        await store.revoke_key(key.access_key)
    return ""


async def _is_narrow(bench: Bench, key: ScopedKey, bucket: str, other: str) -> None:
    user = bench.holder(key)
    await put(user, bucket, "b")
    for verb, arguments in (
        (user.get_object, (bucket, "a")),
        (user.stat_object, (bucket, "a")),
        (user.remove_object, (bucket, "a")),
        (user.list_objects, (bucket,)),
        (user.remove_bucket, (bucket,)),
        (user.make_bucket, (bench.new_name(),)),
        (user._create_multipart_upload, (other, "a", {})),
    ):
        expect(await refused(verb, *arguments), f"It was not refused {verb.__name__}.")
    forged = bench.holder(replace(key, secret_key=new_secret_key()))
    expect(await refused(forged._create_multipart_upload, bucket, "c", {}), "Any secret will do.")
    expect(
        await refused(lambda: user.copy_object(bucket, "copy", CopySource(bucket, "a"))),
        "It copied an object that it may not read.",
    )
    left = await keys_in(bench.store, bucket)
    expect(left == ["a", "b"], "It changed more than it was to.")


async def download_keys(bench: Bench) -> str:
    """A key can be made that gets objects, and does nothing else."""
    store, bucket = bench.store, await bench.bucket()
    await store.put(bucket, "a", b"content")
    try:
        key = await store.issue_download_key(SHORTEST_LIFETIME)
    except StoreRefused as wrong:
        raise NotKept(wrong.message) from wrong
    user = bench.holder(key)
    try:
        for verb, arguments in (
            (user.remove_object, (bucket, "a")),
            (user.list_objects, (bucket,)),
            (user._create_multipart_upload, (bucket, "b", {})),
            (user.make_bucket, (bench.new_name(),)),
        ):
            expect(await refused(verb, *arguments), f"It was not refused {verb.__name__}.")
        signed = user.get_presigned_url("PUT", bucket, "b")
        answer = await bench.http.put(signed, content=b"content")
        expect(answer.status_code == 403, f"A PUT it signed was answered {answer.status_code}.")
        expect(await keys_in(store, bucket) == ["a"], "It changed what is there.")
    finally:
        await store.revoke_key(key.access_key)
    return ""


async def withdrawal(bench: Bench) -> str:
    """A key that is withdrawn is worthless at once, and so are the links it signed."""
    store, bucket = bench.store, await bench.bucket()
    await store.put(bucket, "a", b"content")
    reader, writer = await bench.download_key(), await bench.narrow_key(bucket)
    link = store.download_signer(reader).sign(
        bucket, "a", now=bench.clock.now(), expires=timedelta(hours=1)
    )
    expect((await bench.http.get(link)).status_code == 200, "The link did not work before.")
    await put(bench.holder(writer), bucket, "b")
    if reader.expires_at is None:
        raise NotTried("the key that signs links is the operator's own, which is not withdrawn")
    await store.revoke_key(reader.access_key)
    await store.revoke_key(writer.access_key)
    seen = (await bench.http.get(link)).status_code
    expect(seen == 403, f"A link of a withdrawn key was answered {seen}.")
    user = bench.holder(writer)
    expect(
        await refused(user._create_multipart_upload, bucket, "c", {}),
        "A withdrawn key began an upload.",
    )
    return ""


async def siblings(bench: Bench) -> str:
    """An upload key cannot be used to withdraw another one, which the same account made."""
    bucket = await bench.bucket()
    one, other = await bench.narrow_key(bucket), await bench.narrow_key(bucket)
    with suppress(MinioAdminException, urllib3.exceptions.HTTPError):
        await call(bench.administrator(one).delete_service_account, other.access_key)
    user = bench.holder(other)
    expect(
        not await refused(user._create_multipart_upload, bucket, "a", {}),
        "An upload key withdrew another key.",
    )
    return ""
