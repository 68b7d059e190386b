"""Checks of what is around a store: its clock, its certificate, whether it keeps what is removed, its speed."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from ddsd.errors import StoreRefused
from ddsd.settings import is_loopback
from ddsd.storage.check.bench import MIB, Bench, call, expect
from ddsd.storage.check.outcome import Concern, NotKept, NotTried
from ddsd.storage.trust import trusting

_WORRYING_SKEW: Final = timedelta(seconds=60)
_REFUSED_SKEW: Final = timedelta(minutes=15)
"""More than this apart, S3 refuses every signature (AWS: RequestTimeTooSkewed)."""
_RENEW_DAYS: Final = 21
_CONNECT_S: Final = 5.0
_PIECE: Final = 16 * MIB
_LONGEST_S: Final = 20.0


async def clock(bench: Bench) -> str:
    """The store's clock agrees with ours."""
    answer = await bench.http.get(f"{bench.endpoint}/")
    told = answer.headers.get("date")
    if told is None:
        raise NotTried("its answers have no Date")
    apart = parsedate_to_datetime(told).astimezone(UTC) - bench.clock.now()
    seconds = apart.total_seconds()
    where = "ahead of" if seconds > 0 else "behind"
    seen = f"The store is {abs(seconds):.0f} s {where} this machine."
    expect(abs(apart) < _REFUSED_SKEW, seen)
    if abs(apart) > _WORRYING_SKEW:
        raise Concern(seen)
    return f"{abs(seconds):.0f} s apart"


async def versions(bench: Bench) -> str:
    """The store does not keep what was removed."""
    try:
        kept = await bench.store.keeps_versions(await bench.bucket())
    except StoreRefused as wrong:
        raise NotTried(wrong.message) from wrong
    if kept:
        raise NotKept("A new bucket keeps versions: what is removed goes on to take room.")
    return "off"


async def transport(bench: Bench) -> str:
    """What travels between clients and store cannot be read or changed on the way."""
    address = urlsplit(bench.endpoint)
    host = address.hostname or ""
    if address.scheme != "https":
        if is_loopback(host):
            raise NotTried("plain HTTP, on this machine only")
        raise NotKept(
            f"{bench.endpoint} is plain HTTP: names of objects and download links can be read on the way."
        )
    until = await asyncio.to_thread(_certificate_end, bench, host, address.port or 443)
    left = until - bench.clock.now()
    if left < timedelta(days=_RENEW_DAYS):
        raise Concern(f"The certificate ends in {left.days} days, on {until:%Y-%m-%d}.")
    return f"certificate until {until:%Y-%m-%d}"


def _certificate_end(bench: Bench, host: str, port: int) -> datetime:
    """Return when the certificate ends that the store shows, if it is one to be trusted.

    Raises:
        NotKept: it is not.
    """
    trust = trusting(bench.ca_file)
    try:
        with (
            socket.create_connection((host, port), timeout=_CONNECT_S) as connection,
            trust.wrap_socket(connection, server_hostname=host) as secured,
        ):
            shown = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as wrong:
        raise NotKept(f"Its certificate is not trusted: {wrong.verify_message}") from wrong
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)


async def speed(bench: Bench) -> str:
    """Say how fast bytes go up and down, from this machine, one connection each way."""
    bucket = await bench.bucket()
    user = bench.holder(await bench.upload_key(bucket))
    content = os.urandom(min(_PIECE, bench.transfer_bytes))  # a store may compress
    pieces = max(1, bench.transfer_bytes // len(content))
    begun, count = time.monotonic(), 0
    while count < pieces and time.monotonic() - begun < _LONGEST_S:
        await call(user.put_object, bucket, f"{count}", io.BytesIO(content), len(content))
        count += 1
    up = count * len(content) / (time.monotonic() - begun)
    await bench.link(bucket, "0")  # makes a key, which takes a moment
    begun, received = time.monotonic(), 0
    for number in range(count):
        received += await _read_through(bench, await bench.link(bucket, f"{number}"))
        if time.monotonic() - begun > _LONGEST_S:
            break
    down = received / (time.monotonic() - begun)
    return (
        f"{up / MIB:.0f} MiB/s up, {down / MIB:.0f} MiB/s down ({count * len(content) // MIB} MiB)"
    )


async def _read_through(bench: Bench, link: str) -> int:
    size = 0
    async with bench.http.stream("GET", link) as answer:
        expect(answer.status_code == 200, f"A download was answered {answer.status_code}.")
        async for piece in answer.aiter_raw(MIB):
            size += len(piece)
    return size
