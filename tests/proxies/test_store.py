"""The proxies before a real MinIO: ordinary requests pass, and the ones that no honest client makes do not."""

from __future__ import annotations

import asyncio
import http.client
import io
import ssl
import zlib
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import httpx
import pytest
from minio import Minio
from urllib3 import PoolManager

from ddsd.storage.minio import S3Store
from ddsd.storage.port import ScopedKey
from tests.parts.certificates import Authority
from tests.parts.minio_server import MinioServer
from tests.parts.ports import free_port
from tests.parts.proxies import PROXIES, Site

BUCKET = "unit1-project"
FORGED = b"forged"
STREAM = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
PART_BYTES = 5 * 1024 * 1024


@dataclass(frozen=True)
class Before:
    """A proxy before MinIO, and a key that may upload into one bucket there."""

    site: Site
    server: MinioServer
    key: ScopedKey

    @property
    def trust(self) -> ssl.SSLContext:
        return self.site.authority.trusting()

    def client(self) -> Minio:
        """Speak to the store through the proxy, as those do who upload."""
        return Minio(
            urlsplit(self.site.store_url).netloc,
            access_key=self.key.access_key,
            secret_key=self.key.secret_key.text(),
            region=self.server.region,
            http_client=PoolManager(ssl_context=self.trust, retries=False),
        )

    def put(self, url: str, name: str, query: str, *headers: tuple[str, str]) -> int:
        """Send a body that nobody has signed, in the form that streams have; return the status."""
        address = urlsplit(url)
        host, port = address.hostname or "", address.port
        connection = (
            http.client.HTTPSConnection(host, port, context=self.trust)
            if address.scheme == "https"
            else http.client.HTTPConnection(host, port)
        )
        checksum = b64encode(zlib.crc32(FORGED).to_bytes(4, "big"))
        end = b"0\r\nx-amz-checksum-crc32:%b\r\n\r\n" % checksum
        body = b"%x\r\n%b\r\n%b" % (len(FORGED), FORGED, end)
        connection.putrequest("PUT", f"/{BUCKET}/{name}?{query}")
        for header, value in (
            ("content-encoding", "aws-chunked"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("x-amz-decoded-content-length", str(len(FORGED))),
            ("content-length", str(len(body))),
            *headers,
        ):
            connection.putheader(header, value)
        connection.endheaders(body)
        status = connection.getresponse().status
        connection.close()
        return status

    def unsigned_query(self) -> str:
        """Return the query of a signature over nothing, in the name of the key: its secret is not needed."""
        now = datetime.now(UTC)
        scope = f"{self.key.access_key}/{now:%Y%m%d}/{self.server.region}/s3/aws4_request"
        return (
            "X-Amz-Algorithm=AWS4-HMAC-SHA256"
            f"&X-Amz-Credential={quote(scope, safe='')}&X-Amz-Date={now:%Y%m%dT%H%M%SZ}"
            f"&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature={'0' * 64}"
        )


@pytest.fixture(scope="module")
def key(minio: MinioServer) -> ScopedKey:
    """Made once for the module: MinIO's keys are slow to make."""

    async def made() -> ScopedKey:
        store = S3Store(
            endpoint=minio.endpoint, access_key=minio.access_key, secret_key=minio.secret_key
        )
        await store.start()
        try:
            await store.ensure_bucket(BUCKET)
            return await store.issue_upload_key(BUCKET, timedelta(hours=1))
        finally:
            await store.stop()

    return asyncio.run(made())


@pytest.fixture(scope="module", params=sorted(PROXIES))
def before(
    request: pytest.FixtureRequest,
    minio: MinioServer,
    key: ScopedKey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Before]:
    store_port = urlsplit(minio.endpoint).port
    assert store_port
    place = tmp_path_factory.mktemp(str(request.param))
    site = Site(place, Authority(), daemon_port=free_port(), store_port=store_port)
    with PROXIES[request.param](site):
        yield Before(site, minio, key)


def content(before: Before, name: str) -> bytes | None:
    """Return what MinIO has under that name, asked without a proxy."""
    root = Minio(
        urlsplit(before.server.endpoint).netloc,
        access_key=before.server.access_key,
        secret_key=before.server.secret_key.text(),
        secure=False,
        region=before.server.region,
    )
    found = [one.object_name for one in root.list_objects(BUCKET, prefix=name)]
    if name not in found:
        return None
    answer = root.get_object(BUCKET, name)
    try:
        return answer.data
    finally:
        answer.close()
        answer.release_conn()


def test_ordinary_uploads_pass_in_one_piece_and_in_parts(before: Before) -> None:
    client = before.client()
    name = f"ordinary {before.site.place.name}/prov från Umeå+~"
    client.put_object(BUCKET, name, io.BytesIO(b"x" * 1000), 1000)
    assert content(before, name) == b"x" * 1000
    large = b"0123456789abcdef" * (PART_BYTES // 16) + b"the end"
    client.put_object(BUCKET, f"{name} large", io.BytesIO(large), len(large), part_size=PART_BYTES)
    assert content(before, f"{name} large") == large


def test_signed_links_pass_with_ranges_and_only_as_signed(before: Before) -> None:
    name = f"link {before.site.place.name}"
    root = Minio(
        urlsplit(before.site.store_url).netloc,
        access_key=before.server.access_key,
        secret_key=before.server.secret_key.text(),
        region=before.server.region,
    )
    put = root.presigned_put_object(BUCKET, name)
    with httpx.Client(verify=before.trust, trust_env=False, timeout=30) as plain:
        assert plain.put(put, content=b"0123456789").status_code == 200
        link = root.presigned_get_object(BUCKET, name)
        part = plain.get(link, headers={"Range": "bytes=2-4"})
        assert (part.status_code, part.content) == (206, b"234")
        assert plain.get(link.replace(quote(name), "other")).status_code == 403


def test_the_form_of_cve_2026_41145_is_refused_and_is_dangerous_without_the_proxy(
    before: Before,
) -> None:
    name = f"forged-{before.site.place.name}"
    stream = ("x-amz-content-sha256", STREAM)
    query = before.unsigned_query()
    empty = ("authorization", "")
    bogus = ("authorization", "AWS4-HMAC-SHA256 Credential=x")
    for number, headers in enumerate(
        [(stream,), (stream, empty), (stream, empty, bogus), (stream, stream)]
    ):
        status = before.put(before.site.store_url, f"{name}-{number}", query, *headers)
        # By the proxy; or by MinIO, as it got the one header that the proxy looked at.
        assert status in {400, 403}, headers
        assert content(before, f"{name}-{number}") is None
    hidden = query.replace("X-Amz-Signature", "X%2DAmz%2DSignature")
    assert before.put(before.site.store_url, name, hidden, stream) == 403
    assert content(before, name) is None
    assert before.put(before.server.endpoint, name, query, stream) == 200
    assert content(before, name) == FORGED


def test_what_deliveries_never_need_is_refused(before: Before) -> None:
    unpack = ("x-amz-meta-snowball-auto-extract", "true")
    stream = ("x-amz-content-sha256", STREAM)
    bogus = ("authorization", "AWS4-HMAC-SHA256 Credential=x")
    assert before.put(before.site.store_url, "archive.tar", "", unpack, stream, bogus) == 403
    with httpx.Client(verify=before.trust, trust_env=False, timeout=30) as plain:
        assert plain.get(f"{before.site.store_url}/minio/admin/v3/info").status_code == 403
        assert plain.get(f"{before.site.store_url}/minio/v2/metrics/cluster").status_code == 403
