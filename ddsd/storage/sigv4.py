"""AWS Signature Version 4 for S3, as far as this package signs and checks it by itself.

Source: AWS, "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference. minio-py
signs what goes through minio-py; here is what it does too slowly (a listing signs 100,000 links) or
not at all (checking). Invariant: only the standard library, and every signature equals minio-py's.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from ddsd.secret import SecretBytes, SecretText
from ddsd.storage.port import LONGEST_SIGNATURE, ScopedKey

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def signing_key(secret_key: SecretText, day: str, region: str, service: str = "s3") -> SecretBytes:
    """Derive the 32-byte key for one ``day`` (YYYYMMDD), region and service."""
    derived = b"AWS4" + secret_key.reveal()
    for step in (day, region, service, "aws4_request"):
        derived = hmac.digest(derived, step.encode(), "sha256")
    return SecretBytes(derived)


def canonical_path(path: str) -> str:
    """Encode a decoded path as S3 signs it: once, all but unreserved characters and ``/``."""
    return quote(path, safe="/")


def canonical_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Encode and sort decoded query parameters as S3 signs them."""
    encoded = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


class Signable(NamedTuple):
    """A request as it is signed: path and query canonical, header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    payload: str

    def signature(self, key: SecretBytes, amz_date: str, region: str, service: str = "s3") -> str:
        """Return the signature, 64 hexadecimal characters, over all of ``headers``."""
        names = sorted(self.headers)
        lines = "".join(f"{name}:{' '.join(self.headers[name].split())}\n" for name in names)
        request = (
            f"{self.method}\n{self.path}\n{self.query}\n{lines}\n{';'.join(names)}\n{self.payload}"
        )
        digest = hashlib.sha256(request.encode()).hexdigest()
        to_sign = f"{ALGORITHM}\n{amz_date}\n{scope(amz_date, region, service)}\n{digest}"
        return hmac.digest(key.reveal(), to_sign.encode(), "sha256").hex()


def scope(amz_date: str, region: str, service: str = "s3") -> str:
    """Return the credential scope for a date of the form ``20261122T070053Z``."""
    return f"{amz_date[:8]}/{region}/{service}/aws4_request"


def host_of(endpoint: str) -> str:
    """Return the Host header that clients send to ``endpoint``: default ports are left out."""
    url = urlsplit(endpoint)
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    if url.port is None or url.port == _DEFAULT_PORTS.get(url.scheme):
        return host
    return f"{host}:{url.port}"


class _Batch(NamedTuple):
    """What all links signed for the same moment and duration have in common."""

    now: datetime
    expires: timedelta
    query: str
    request_tail: str
    to_sign_head: str
    key: SecretBytes


class LinkSigner:
    """Signs GET links (query-string SigV4, path style) with one key against one endpoint.

    What does not depend on the object is worked out once per ``(now, expires)``: pass the same
    ``now`` for all links of a listing.
    """

    def __init__(self, endpoint: str, region: str, key: ScopedKey) -> None:
        self._origin = f"{urlsplit(endpoint).scheme}://{host_of(endpoint)}"
        self._host = host_of(endpoint)
        self._region = region
        self._key = key
        self._batch: _Batch | None = None

    def sign(self, bucket: str, object_key: str, *, now: datetime, expires: timedelta) -> str:
        """Return the link; see ``DownloadSigner.sign``."""
        batch = self._batch
        if batch is None or batch.now != now or batch.expires != expires:
            batch = self._batch = self._prepare(now, expires)
        path = f"/{bucket}/{quote(object_key, safe='/')}"
        request = f"GET\n{path}{batch.request_tail}"
        to_sign = batch.to_sign_head + hashlib.sha256(request.encode()).hexdigest()
        signature = hmac.digest(batch.key.reveal(), to_sign.encode(), "sha256").hex()
        return f"{self._origin}{path}?{batch.query}&X-Amz-Signature={signature}"

    def _prepare(self, now: datetime, expires: timedelta) -> _Batch:
        if not timedelta(seconds=1) <= expires <= LONGEST_SIGNATURE:
            raise ValueError(f"a link can be valid for 1 second to 7 days, not for {expires}")
        amz_date = amz_date_of(now)
        query = canonical_query(
            {
                "X-Amz-Algorithm": ALGORITHM,
                "X-Amz-Credential": f"{self._key.access_key}/{scope(amz_date, self._region)}",
                "X-Amz-Date": amz_date,
                "X-Amz-Expires": str(int(expires.total_seconds())),
                "X-Amz-SignedHeaders": "host",
            }.items()
        )
        return _Batch(
            now=now,
            expires=expires,
            query=query,
            request_tail=f"\n{query}\nhost:{self._host}\n\nhost\n{UNSIGNED_PAYLOAD}",
            to_sign_head=f"{ALGORITHM}\n{amz_date}\n{scope(amz_date, self._region)}\n",
            key=signing_key(self._key.secret_key, amz_date[:8], self._region),
        )


def amz_date_of(now: datetime) -> str:
    """Return an aware moment as SigV4 writes it, ``20261122T070053Z``.

    Raises:
        ValueError: ``now`` is naive.
    """
    offset = now.utcoffset()
    if offset is None:
        raise ValueError("a signature needs an aware time")
    return (now.replace(tzinfo=None) - offset).strftime("%Y%m%dT%H%M%SZ")
