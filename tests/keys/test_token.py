"""The bearer token: what it carries, what is refused, and what the stock client makes of it."""

import base64
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.jwk import OctKey

from ddsd.errors import InvalidInput, NotAuthenticated
from ddsd.keys.token import TokenContents, TokenPurpose, open_token, seal_token
from ddsd.secret import SecretBytes

KEY = SecretBytes(bytes(range(32)))
TOKEN_KEY = SecretBytes(bytes(range(32, 64)))
EXPIRY = datetime(2026, 11, 29, 7, 0, 10, 300697, tzinfo=UTC)
NOW = EXPIRY - timedelta(hours=168)
SESSION = TokenContents(TokenPurpose.SESSION, "session-9", TOKEN_KEY, EXPIRY)
PARTIAL = TokenContents(TokenPurpose.PARTIAL, "session-9", TOKEN_KEY)


def header_of(token: str) -> dict[str, str]:
    segment = token.split(".")[0]
    header: dict[str, str] = json.loads(
        base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    )
    return header


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def with_header(token: str, header: object) -> str:
    return ".".join([segment(header), *token.split(".")[1:]])


def refused(token: str, key: SecretBytes = KEY, now: datetime = NOW) -> str:
    with pytest.raises(NotAuthenticated) as refusal:
        open_token(token, key=key, now=now)
    assert refusal.value.__cause__ is None
    return refusal.value.message


@pytest.mark.parametrize("contents", [SESSION, PARTIAL])
def test_what_was_sealed_opens(contents: TokenContents) -> None:
    assert open_token(seal_token(contents, key=KEY), key=KEY, now=NOW) == contents


@given(
    session=st.text(max_size=40),
    token_key=st.binary(min_size=32, max_size=32).map(SecretBytes),
    expires_at=st.datetimes(min_value=datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_any_contents_open_again(
    session: str, token_key: SecretBytes, expires_at: datetime
) -> None:
    contents = TokenContents(TokenPurpose.SESSION, session, token_key, expires_at)
    assert open_token(seal_token(contents, key=KEY), key=KEY, now=NOW) == contents


def test_session_tokens_header_is_what_the_stock_client_reads() -> None:
    assert header_of(seal_token(SESSION, key=KEY)) == {
        "alg": "dir",
        "enc": "A256GCM",
        "typ": "dds-session",
        "exp": "2026-11-29T07:00:10.300697",
    }


def test_partial_tokens_header_has_no_expiry() -> None:
    header = header_of(seal_token(PARTIAL, key=KEY))
    assert header == {"alg": "dir", "enc": "A256GCM", "typ": "dds-partial"}


def test_expiry_is_written_in_utc_with_microseconds_and_no_zone() -> None:
    stockholm = datetime(2026, 11, 29, 8, 0, tzinfo=timezone(timedelta(hours=1)))
    token = seal_token(replace(SESSION, expires_at=stockholm), key=KEY)
    assert header_of(token)["exp"] == "2026-11-29T07:00:00.000000"
    assert open_token(token, key=KEY, now=NOW).expires_at == stockholm


def test_token_is_over_at_its_expiry_and_not_before() -> None:
    token = seal_token(SESSION, key=KEY)
    assert open_token(token, key=KEY, now=EXPIRY - timedelta(microseconds=1)) == SESSION
    assert refused(token, now=EXPIRY) == "Expired token"


def test_altered_expiry_is_refused_even_of_an_expired_token() -> None:
    token = seal_token(SESSION, key=KEY)
    later = with_header(token, {**header_of(token), "exp": "2036-11-29T07:00:10.300697"})
    assert refused(later, now=EXPIRY) == "Invalid token"


def test_partial_token_does_not_turn_into_a_session_token() -> None:
    token = seal_token(PARTIAL, key=KEY)
    risen = with_header(token, {**header_of(token), "typ": "dds-session", "exp": "2036-01-01"})
    assert refused(risen) == "Invalid token"


def test_removed_expiry_is_refused() -> None:
    token = seal_token(SESSION, key=KEY)
    header = {name: value for name, value in header_of(token).items() if name != "exp"}
    assert refused(with_header(token, header)) == "Invalid token"


def test_another_instances_token_is_refused_even_if_expired() -> None:
    token = seal_token(SESSION, key=KEY)
    assert refused(token, key=SecretBytes(b"k" * 32), now=EXPIRY) == "Invalid token"


@pytest.mark.parametrize("contents", [SESSION, PARTIAL])
def test_every_changed_character_is_refused(contents: TokenContents) -> None:
    token = seal_token(contents, key=KEY)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place, was in enumerate(token):
        # Its neighbours in the alphabet: the last character of a segment has bits that say nothing.
        index = max(alphabet.find(was), 0)
        for other in {alphabet[index ^ 1], alphabet[index ^ 2], ".", "=", "\n"} - {was}:
            assert refused(token[:place] + other + token[place + 1 :]) == "Invalid token"


@pytest.mark.parametrize(
    "header",
    [
        [],
        "alg enc",
        None,
        7,
        {},
        {"alg": "dir"},
        {"alg": "none", "enc": "A256GCM"},
        {"alg": "A256KW", "enc": "A256GCM"},
        {"alg": "dir", "enc": "A128GCM"},
        {"alg": "dir", "enc": "A256GCM", "zip": "DEF"},
        {"alg": "dir", "enc": "A256GCM", "crit": ["exp"]},
        {"alg": ["dir"], "enc": {"A256GCM": 1}},
    ],
)
def test_foreign_headers_are_refused(header: object) -> None:
    assert refused(with_header(seal_token(PARTIAL, key=KEY), header)) == "Invalid token"


def test_deeply_nested_header_is_refused() -> None:
    nested = base64.urlsafe_b64encode(b"[" * 766).decode().rstrip("=")
    deep = ".".join([nested, *seal_token(PARTIAL, key=KEY).split(".")[1:]])

    def under(frames: int) -> str:
        return refused(deep) if frames == 0 else under(frames - 1)

    assert under(sys.getrecursionlimit() // 2) == "Invalid token"


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"7", b"{}", b'{"sid":"s"}', b'{"sid":"s","key":"AAAA"}', b'{"sid":"s","key":7}'],
)
def test_foreign_payload_under_our_key_is_refused(payload: bytes) -> None:
    header = {"alg": "dir", "enc": "A256GCM", "typ": "dds-partial"}
    token = jwe.encrypt_compact(
        header, payload, OctKey.import_key(KEY.reveal()), algorithms=["dir", "A256GCM"]
    )
    assert refused(token) == "Invalid token"


@pytest.mark.parametrize("typ", ["JWT", "dds-session"])
def test_token_of_another_kind_or_without_needed_expiry_is_refused(typ: str) -> None:
    payload = json.dumps({"sid": "s", "key": "A" * 43})
    token = jwe.encrypt_compact(
        {"alg": "dir", "enc": "A256GCM", "typ": typ},
        payload,
        OctKey.import_key(KEY.reveal()),
        algorithms=["dir", "A256GCM"],
    )
    assert refused(token) == "Invalid token"


@pytest.mark.parametrize(
    "token", ["", ".", "....", "abc", "a.b.c", "é....", "a..b.c.d", "x" * 100_000, "\0", "a\n"]
)
def test_garbage_is_refused(token: str) -> None:
    assert refused(token) == "Invalid token"


@given(token=st.text(max_size=80) | st.from_regex(r"[\w-]+\.\.[\w-]{16}\.[\w-]+\.[\w-]{22}"))
def test_text_from_nowhere_is_refused(token: str) -> None:
    assert refused(token) == "Invalid token"


@given(
    header=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["alg", "enc", "typ", "exp", "zip", "crit"]), inner)
        ),
        max_leaves=6,
    )
)
def test_any_json_as_header_is_refused(header: object) -> None:
    assert refused(with_header(seal_token(PARTIAL, key=KEY), header)) == "Invalid token"


@pytest.mark.parametrize(
    ("purpose", "token_key", "expires_at"),
    [
        (TokenPurpose.SESSION, TOKEN_KEY, None),
        (TokenPurpose.SESSION, TOKEN_KEY, EXPIRY.replace(tzinfo=None)),
        (TokenPurpose.PARTIAL, SecretBytes(b"short"), None),
    ],
    ids=["session without end", "naive end", "short key"],
)
def test_unsound_contents_cannot_be_made(
    purpose: TokenPurpose, token_key: SecretBytes, expires_at: datetime | None
) -> None:
    with pytest.raises(InvalidInput):
        TokenContents(purpose, "s", token_key, expires_at)


def test_token_is_shorter_than_the_original_ones() -> None:
    # 596 characters there; it travels with every request.
    assert len(seal_token(replace(SESSION, session="s" * 36), key=KEY)) < 300


def test_token_key_shows_neither_in_contents_nor_in_the_token() -> None:
    plain = base64.urlsafe_b64encode(TOKEN_KEY.reveal()).decode().rstrip("=")
    assert "***" in repr(SESSION)
    assert repr(TOKEN_KEY.reveal())[2:-1] not in repr(SESSION)
    assert plain not in seal_token(SESSION, key=KEY)


def in_the_stock_client(python: Path, expression: str, token: str) -> str:
    """Return what the stock client's own library, in its own interpreter, reads in a token."""
    script = (
        "import sys\n"
        "from jwcrypto import jwt\n"
        "import datetime\n"
        "token = jwt.JWT(jwt=sys.stdin.read(), expected_type='JWE')\n"
        "header = token.token.jose_header\n"
        f"print({expression})\n"
    )
    ran = subprocess.run(
        [python, "-c", script], input=token, capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout.strip()


def test_the_stock_client_reads_the_expiry_without_a_key(stock_python: Path) -> None:
    expression = "datetime.datetime.fromisoformat(header['exp']).isoformat()"
    read = in_the_stock_client(stock_python, expression, seal_token(SESSION, key=KEY))
    assert read == EXPIRY.isoformat()[:-6]


def test_the_stock_client_reads_the_partial_token(stock_python: Path) -> None:
    token = seal_token(PARTIAL, key=KEY)
    assert in_the_stock_client(stock_python, "header['typ']", token) == "dds-partial"
