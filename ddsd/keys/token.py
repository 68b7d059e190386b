"""The bearer token: a JWE that carries a session's uid and the key that opens the session's row.

Invariant: a token holds no password and no private key, and nothing it says is believed before it
is authenticated, its expiry included. What the stock client reads of it: wire contract, section
2.3.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.registry import HeaderParameter

from ddsd.errors import InvalidInput, NotAuthenticated
from ddsd.keys.primitives import KEY_BYTES
from ddsd.secret import SecretBytes

_REGISTRY = jwe.JWERegistry(
    header_registry={"exp": HeaderParameter("naive ISO 8601 date and time, UTC", "str")},
    algorithms=["dir", "A256GCM"],
)


# The header is anybody's JSON until the tag has been checked, and the library trips over one that
# is no object, or nested deeply, in more ways than its own errors.
_UNREADABLE = (JoseError, InvalidInput, ValueError, TypeError, KeyError, RecursionError)


class TokenPurpose(StrEnum):
    """What a token is good for; its ``typ`` header."""

    PARTIAL = "dds-partial"
    SESSION = "dds-session"


@dataclass(frozen=True)
class TokenContents:
    """What a token says.

    ``session`` is the session's uid, ``token_key`` 32 bytes, ``expires_at`` aware UTC: set in every
    session token; without it only the session's row limits the token.

    Raises:
        InvalidInput: a key of another length, a session token that never expires, a naive date.
    """

    purpose: TokenPurpose
    session: str
    token_key: SecretBytes
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if len(self.token_key) != KEY_BYTES:
            raise InvalidInput(f"a token's key has {KEY_BYTES} bytes")
        if self.purpose is TokenPurpose.SESSION and self.expires_at is None:
            raise InvalidInput("a session token must say when it expires")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise InvalidInput("a token expires at an aware date")


def seal_token(contents: TokenContents, *, key: SecretBytes) -> str:
    """Make the compact JWE (RFC 7516; ``dir`` with A256GCM) under the instance's 32-byte token key.

    The protected header is ``alg``, ``enc``, ``typ`` and, if it expires, ``exp``: a naive UTC
    string such as ``2026-11-29T07:00:10.300697``. It is readable by anybody and authenticated.
    """
    header: dict[str, str] = {"alg": "dir", "enc": "A256GCM", "typ": contents.purpose.value}
    if contents.expires_at is not None:
        header["exp"] = _naive_iso(contents.expires_at)
    payload = {"sid": contents.session, "key": _base64url(contents.token_key.reveal())}
    plain = json.dumps(payload, separators=(",", ":"))
    return jwe.encrypt_compact(header, plain, _octets(key), registry=_REGISTRY)


def open_token(token: str, *, key: SecretBytes, now: datetime) -> TokenContents:
    """Authenticate a token and return what it says; ``now`` is aware.

    Does not ask whether the session still lives, nor whether the purpose is the one needed.

    Raises:
        NotAuthenticated: ``Invalid token`` if it is not one of ours or was altered,
            ``Expired token`` if it is ours and its time is up.
    """
    contents = _read(token, key)
    if contents.expires_at is not None and contents.expires_at <= now:
        raise NotAuthenticated("Expired token")
    return contents


def _read(token: str, key: SecretBytes) -> TokenContents:
    try:
        return _contents(jwe.decrypt_compact(token, _octets(key), registry=_REGISTRY))
    except _UNREADABLE:
        raise NotAuthenticated("Invalid token") from None


def _contents(opened: jwe.CompactEncryption) -> TokenContents:
    payload = json.loads(opened.plaintext or b"")
    expiry = opened.protected.get("exp")
    return TokenContents(
        purpose=TokenPurpose(opened.protected["typ"]),
        session=str(payload["sid"]),
        token_key=SecretBytes(base64.urlsafe_b64decode(payload["key"] + "=")),
        expires_at=None if expiry is None else datetime.fromisoformat(expiry).replace(tzinfo=UTC),
    )


def _naive_iso(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _octets(key: SecretBytes) -> OctKey:
    return OctKey.import_key(key.reveal())
