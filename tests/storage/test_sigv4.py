"""Our signatures are minio-py's signatures, byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minio.credentials.credentials import Credentials
from minio.helpers import quote
from minio.signer import presign_v4, sign_v4_s3

from ddsd.secret import SecretText
from ddsd.storage.port import May, ScopedKey
from ddsd.storage.sigv4 import LinkSigner, Signable, canonical_query, host_of, signing_key

KEY = ScopedKey("ABCDEFGHIJKLMNOPQRST", SecretText("s/e+c=r~t" * 4), May.DOWNLOAD)
NOW = datetime(2026, 11, 22, 7, 0, 53, tzinfo=UTC)
BUCKET = "genom00001-261122070053720608-c55997a1"
object_keys = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1
)


def as_minio_signs_it(endpoint: str, key: str, now: datetime, expires: timedelta) -> str:
    signed = presign_v4(
        method="GET",
        url=urlsplit(f"{endpoint}/{BUCKET}/{quote(key)}"),
        region="eu-north-1",
        credentials=Credentials(KEY.access_key, KEY.secret_key.text()),
        date=now,
        expires=int(expires.total_seconds()),
    )
    return signed.geturl()


@given(key=object_keys, seconds=st.integers(1, 604800))
def test_link_equals_that_of_minio_py(key: str, seconds: int) -> None:
    expires = timedelta(seconds=seconds)
    ours = LinkSigner("https://store.example:9000", "eu-north-1", KEY).sign(
        BUCKET, key, now=NOW, expires=expires
    )
    assert ours == as_minio_signs_it("https://store.example:9000", key, NOW, expires)


@pytest.mark.parametrize(
    "key", ["a b", "a+b", "~x", "å/ö", "日本語", "a%20b", "a?b#c&d=e", "(*)'!"]
)
def test_link_of_an_awkward_key_equals_that_of_minio_py(key: str) -> None:
    ours = LinkSigner("http://127.0.0.1:9000/", "eu-north-1", KEY).sign(
        BUCKET, key, now=NOW, expires=timedelta(days=7)
    )
    assert ours == as_minio_signs_it("http://127.0.0.1:9000", key, NOW, timedelta(days=7))


def test_one_signer_follows_the_day_and_the_duration() -> None:
    signer = LinkSigner("http://127.0.0.1:9000", "eu-north-1", KEY)
    for now in (NOW, NOW + timedelta(days=1), NOW):
        for expires in (timedelta(hours=1), timedelta(days=7)):
            assert signer.sign(BUCKET, "a", now=now, expires=expires) == as_minio_signs_it(
                "http://127.0.0.1:9000", "a", now, expires
            )


def test_time_in_another_zone_signs_as_the_same_moment() -> None:
    signer = LinkSigner("http://127.0.0.1:9000", "eu-north-1", KEY)
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    day = timedelta(days=1)
    assert signer.sign(BUCKET, "a", now=NOW, expires=day) == LinkSigner(
        "http://127.0.0.1:9000", "eu-north-1", KEY
    ).sign(BUCKET, "a", now=elsewhere, expires=day)


def test_naive_time_is_refused() -> None:
    signer = LinkSigner("http://127.0.0.1:9000", "eu-north-1", KEY)
    with pytest.raises(ValueError, match="aware"):
        signer.sign(BUCKET, "a", now=NOW.replace(tzinfo=None), expires=timedelta(hours=1))


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=7, seconds=1)])
def test_duration_out_of_range_is_refused(expires: timedelta) -> None:
    signer = LinkSigner("http://127.0.0.1:9000", "eu-north-1", KEY)
    with pytest.raises(ValueError, match="7 days"):
        signer.sign(BUCKET, "a", now=NOW, expires=expires)


def test_header_signature_equals_that_of_minio_py() -> None:
    headers: dict[str, str | list[str] | tuple[str]] = {
        "Host": "127.0.0.1:9000",
        "x-amz-date": "20261122T070053Z",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        "Content-Type": "text/plain;   charset=utf-8",
    }
    url = urlsplit("http://127.0.0.1:9000/b/a%20b?partNumber=2&uploadId=x%2Fy")
    theirs = sign_v4_s3(
        method="PUT",
        url=url,
        region="eu-north-1",
        headers=dict(headers),
        credentials=Credentials(KEY.access_key, KEY.secret_key.text()),
        content_sha256="UNSIGNED-PAYLOAD",
        date=NOW,
    )
    ours = Signable(
        "PUT",
        "/b/a%20b",
        canonical_query([("uploadId", "x/y"), ("partNumber", "2")]),
        {name.lower(): str(value) for name, value in headers.items()},
        "UNSIGNED-PAYLOAD",
    ).signature(
        signing_key(KEY.secret_key, "20261122", "eu-north-1"), "20261122T070053Z", "eu-north-1"
    )
    assert str(theirs["Authorization"]).endswith(f"Signature={ours}")


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("http://a.example", "a.example"),
        ("http://a.example:80", "a.example"),
        ("https://a.example:443/", "a.example"),
        ("https://a.example:80", "a.example:80"),
        ("http://[::1]:9000", "[::1]:9000"),
    ],
)
def test_host_is_what_clients_send(endpoint: str, host: str) -> None:
    assert host_of(endpoint) == host
