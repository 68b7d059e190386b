"""The gate's decisions, without a wire: who may do what, and which signatures are believed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ddsd.secret import SecretText
from ddsd.storage.gate import Refused, Request, allows, check_signature, claim_of, held_back, parse
from ddsd.storage.keyfile import KeyFile, read_keys, write_keys
from ddsd.storage.port import May, ScopedKey
from ddsd.storage.sigv4 import LinkSigner, Signable, canonical_query, signing_key

NOW = datetime(2026, 11, 22, 7, 0, 53, tzinfo=UTC)
UPLOAD = ScopedKey("UPLOADUPLOADUPLOAD00", SecretText("u" * 40), May.UPLOAD, "mine")
DOWNLOAD = ScopedKey("DOWNLOADDOWNLOAD0000", SecretText("d" * 40), May.DOWNLOAD)
ROOT = ScopedKey("ROOTROOTROOTROOTROOT", SecretText("r" * 40), May.EVERYTHING)


def link(key: ScopedKey, *, expires: timedelta = timedelta(hours=1)) -> Request:
    signed = LinkSigner("http://store.example", "us-east-1", key).sign(
        "mine", "a", now=NOW, expires=expires
    )
    url = urlsplit(signed)
    return parse("GET", f"{url.path}?{url.query}", {"host": "store.example"})


def check(request: Request, key: ScopedKey | None, now: datetime = NOW) -> None:
    check_signature(request, claim_of(request), key, now)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("PUT", "/mine/a"),
        ("PUT", "/mine/a/b?x-id=PutObject"),
        ("POST", "/mine/a?uploads"),
        ("PUT", "/mine/a?partNumber=1&uploadId=x"),
        ("POST", "/mine/a?uploadId=x"),
        ("DELETE", "/mine/a?uploadId=x"),
        ("GET", "/mine/a?uploadId=x"),
    ],
)
def test_upload_key_may_put_and_upload_in_parts(method: str, target: str) -> None:
    assert allows(UPLOAD, parse(method, target, {}))
    assert not allows(UPLOAD, parse(method, target.replace("mine", "theirs"), {}))
    assert not allows(UPLOAD, parse(method, target, {"x-amz-copy-source": "/mine/b"}))


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/mine/a"),
        ("HEAD", "/mine/a"),
        ("DELETE", "/mine/a"),
        ("PUT", "/mine"),
        ("PUT", "/mine/"),
        ("DELETE", "/mine"),
        ("GET", "/mine?list-type=2"),
        ("GET", "/mine?uploads"),
        ("POST", "/mine?delete"),
        ("PUT", "/mine/a?acl"),
        ("PUT", "/mine/a?tagging"),
        ("PUT", "/mine/a?versionId=1"),
        ("GET", "/"),
    ],
)
def test_upload_key_may_do_nothing_else(method: str, target: str) -> None:
    assert not allows(UPLOAD, parse(method, target, {}))


@pytest.mark.parametrize("target", ["/mine/a", "/theirs/b?response-content-disposition=x"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_download_key_may_get_from_every_bucket(method: str, target: str) -> None:
    assert allows(DOWNLOAD, parse(method, target, {}))


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("PUT", "/mine/a"),
        ("DELETE", "/mine/a"),
        ("POST", "/mine/a?uploads"),
        ("GET", "/mine"),
        ("GET", "/mine/"),
        ("GET", "/"),
        ("GET", "/mine/a?acl"),
        ("GET", "/mine/a?uploadId=x"),
    ],
)
def test_download_key_may_do_nothing_else(method: str, target: str) -> None:
    assert not allows(DOWNLOAD, parse(method, target, {}))


@pytest.mark.parametrize("target", ["/mine/.rclone_temp_put_x", "/mine/a/.rclone_temp_x"])
def test_name_reserved_for_unfinished_uploads_is_for_the_daemon_alone(target: str) -> None:
    assert not allows(UPLOAD, parse("PUT", target, {}))
    assert not allows(DOWNLOAD, parse("GET", target, {}))
    assert allows(ROOT, parse("DELETE", target, {}))


@pytest.mark.parametrize(
    "target",
    [
        "/mine/../theirs/a",
        "/mine/%2e%2e/theirs/a",
        "/mine/a/./b",
        "/mine/a//b",
        "/mine/a/",
        "/../a",
        "/MINE/a",
        "/mine%2Fa%00",
        "/mine/%ff",
        "http://elsewhere/mine/a",
        "*",
    ],
)
def test_name_that_two_readers_could_read_differently_is_refused(target: str) -> None:
    with pytest.raises(Refused) as caught:
        parse("PUT", target, {})
    assert caught.value.status == 400


def test_link_is_believed_with_the_right_key() -> None:
    check(link(DOWNLOAD), DOWNLOAD)


def test_key_that_nobody_knows_is_refused() -> None:
    with pytest.raises(Refused, match="No such access key"):
        check(link(DOWNLOAD), None)


@pytest.mark.parametrize(("seconds", "good"), [(1, True), (0, False), (-1, False)])
def test_key_is_good_until_the_second_of_its_end(seconds: int, good: bool) -> None:
    key = replace(DOWNLOAD, expires_at=NOW + timedelta(seconds=seconds))
    if good:
        check(link(key), key)
    else:
        with pytest.raises(Refused, match="expired"):
            check(link(key), key)


def test_link_is_good_until_the_second_of_its_end() -> None:
    request = link(DOWNLOAD, expires=timedelta(seconds=60))
    check(request, DOWNLOAD, NOW + timedelta(seconds=59))
    with pytest.raises(Refused, match="Request has expired"):
        check(request, DOWNLOAD, NOW + timedelta(seconds=60))


def test_signature_from_the_future_is_refused() -> None:
    check(link(DOWNLOAD), DOWNLOAD, NOW - timedelta(minutes=14))
    with pytest.raises(Refused, match="clocks"):
        check(link(DOWNLOAD), DOWNLOAD, NOW - timedelta(minutes=16))


def test_signature_of_another_method_host_path_or_secret_is_refused() -> None:
    good = link(DOWNLOAD)
    for changed in (
        replace(good, method="HEAD"),
        replace(good, path="/mine/b"),
        replace(good, headers={"host": "elsewhere.example"}),
        replace(good, query=(*good.query, ("response-content-type", "text/html"))),
    ):
        with pytest.raises(Refused, match="does not fit"):
            check(changed, DOWNLOAD)
    with pytest.raises(Refused, match="does not fit"):
        check(good, replace(DOWNLOAD, secret_key=SecretText("x" * 40)))


def test_derived_key_of_another_day_signs_nothing_today() -> None:
    old = "20261101"
    claim = replace(claim_of(link(DOWNLOAD)), day=old)
    request = link(DOWNLOAD)
    signable = Signable(
        "GET",
        request.path,
        canonical_query(claim.query),
        {"host": "store.example"},
        "UNSIGNED-PAYLOAD",
    )
    derived = signing_key(DOWNLOAD.secret_key, old, claim.region)
    forged = replace(claim, signature=signable.signature(derived, claim.amz_date, claim.region))
    with pytest.raises(Refused, match="does not fit"):
        check_signature(request, forged, DOWNLOAD, NOW)


def test_header_that_s3_acts_on_must_be_signed() -> None:
    good = link(DOWNLOAD)
    sneaky = replace(good, headers={**good.headers, "x-amz-copy-source": "/theirs/b"})
    with pytest.raises(Refused, match="must be signed"):
        check(sneaky, DOWNLOAD)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic eDp5"},
        {"authorization": "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=b"},
        {"authorization": "AWS4-HMAC-SHA256 nonsense", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"},
    ],
)
def test_request_without_a_proper_signature_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        claim_of(parse("GET", "/mine/a", headers))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "payload", ["STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"]
)
def test_body_in_signed_chunks_is_refused_in_both_forms(payload: str) -> None:
    """CVE-2026-41145 of MinIO: such a body, with a link, was taken without a signature."""
    credential = "UPLOADUPLOADUPLOAD00/20261122/us-east-1/s3/aws4_request"
    header = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature={'0' * 64}"
    query = (
        f"/mine/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}"
        f"&X-Amz-Date=20261122T070053Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
        f"&X-Amz-Signature={'0' * 64}"
    )
    sent = {"host": "store.example", "x-amz-content-sha256": payload}
    for target, headers in (("/mine/a", sent | {"authorization": header}), (query, sent)):
        with pytest.raises(Refused) as caught:
            claim_of(parse("PUT", target, headers))
        assert caught.value.status == 501


def test_end_of_a_body_with_another_hash_is_held_back() -> None:
    passed = held_back(iter([b"one", b"two", b"end"]), hashlib.sha256(b"other").hexdigest())
    assert [next(passed), next(passed)] == [b"one", b"two"]
    with pytest.raises(Refused, match="not the one"):
        next(passed)


@pytest.mark.parametrize("pieces", [[b"all"], [b"a", b"l", b"l"]])
@pytest.mark.parametrize("payload", ["UNSIGNED-PAYLOAD", hashlib.sha256(b"all").hexdigest()])
def test_body_with_the_signed_hash_is_passed_on_whole(pieces: list[bytes], payload: str) -> None:
    assert b"".join(held_back(iter(pieces), payload)) == b"all"


def test_body_that_breaks_off_is_not_finished() -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        raise Refused(400, "IncompleteBody", "The body ended early.")

    passed = held_back(broken(), "UNSIGNED-PAYLOAD")
    assert next(passed) == b"one"
    with pytest.raises(Refused, match="early"):
        next(passed)


def test_keys_come_back_from_their_file_and_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    expiring = replace(UPLOAD, expires_at=NOW)
    write_keys(path, [expiring, ROOT])
    assert read_keys(path) == {UPLOAD.access_key: expiring, ROOT.access_key: ROOT}
    assert path.stat().st_mode & 0o777 == 0o600


def test_reader_sees_every_replacement_of_the_key_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, [UPLOAD])
    reader = KeyFile(path)
    assert reader.find(UPLOAD.access_key) == UPLOAD
    for _ in range(20):
        write_keys(path, [ROOT])
        assert reader.find(UPLOAD.access_key) is None
        write_keys(path, [UPLOAD])
        assert reader.find(UPLOAD.access_key) == UPLOAD
