"""Cryptographic building blocks, bytes in and bytes out, each one a published construction.

Invariant: every sealed blob starts with a format byte and a suite byte, both authenticated, and
whatever is wrong with a blob or a key comes out as ``SealBroken``, without secrets.
"""

from __future__ import annotations

import os
import threading
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ddsd.errors import InvalidInput, SealBroken, Unavailable

FORMAT = 1
KEY_BYTES = 32
NONCE_BYTES = 12
SEAL_BYTES = 30
"""What :func:`aead_seal` adds: head, nonce, tag."""
# OpenSSL takes a thread for each lane from one pool per process. Two runs that each hold some of them and want the
# rest wait for each other for ever: nobody could log in again until a restart.
_ONE_ARGON2 = threading.Lock()


class Suite(IntEnum):
    """The second byte of a blob: what it was sealed with."""

    AES_256_GCM = 1
    HPKE_X25519_HKDF_SHA256_CHACHA20_POLY1305 = 2


# ChaCha20-Poly1305 rather than AES-256-GCM: RFC 9180 prints test vectors for this very suite with
# X25519 (appendix A.2), and it is constant-time on machines without AES instructions.
_HPKE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def argon2id(
    password: bytes, *, salt: bytes, memory_kib: int, iterations: int, lanes: int, length: int = 32
) -> bytes:
    """Run Argon2id version 0x13 (RFC 9106) without secret and associated data.

    Holds ``memory_kib`` KiB while it runs and lets other threads run meanwhile, but one Argon2id at a time.

    Raises:
        InvalidInput: the salt is under 8 bytes or a parameter is outside RFC 9106's limits.
        Unavailable: the machine has not that much memory to give.
    """
    try:
        with _ONE_ARGON2:
            return Argon2id(
                salt=salt, length=length, iterations=iterations, lanes=lanes, memory_cost=memory_kib
            ).derive(password)
    except ValueError:
        raise InvalidInput("the salt or the cost is outside what Argon2id allows") from None
    except MemoryError:
        raise Unavailable(f"no {memory_kib} KiB of memory free to derive a key") from None


def hkdf_sha256(key: bytes, *, info: bytes, salt: bytes = b"", length: int = KEY_BYTES) -> bytes:
    """Derive ``length`` bytes from ``key`` by HKDF-SHA256 (RFC 5869).

    ``key`` must be strong already: this is no password hash.
    """
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def binding(purpose: str, *subjects: str) -> bytes:
    """Name what a derivation or a seal is for: ``ddsd/1``, purpose and subjects, joined by NUL.

    Raises:
        InvalidInput: a part is empty or holds NUL, so that two bindings could be confused.
    """
    parts = ("ddsd/1", purpose, *subjects)
    if any(not part or "\0" in part for part in parts):
        raise InvalidInput("what a key is bound to must be named, without NUL")
    return "\0".join(parts).encode()


def aead_seal(plain: bytes, *, key: bytes, context: bytes) -> bytes:
    """Seal under AES-256-GCM with a random nonce.

    Returns ``0x01 ‖ 0x01 ‖ nonce (12) ‖ ciphertext ‖ tag (16)``; the associated data is the first
    two bytes and ``context``. One key may seal up to 2^32 blobs (NIST SP 800-38D, section 8.3).

    Raises:
        SealBroken: the key is not 32 bytes.
    """
    head = _head(Suite.AES_256_GCM)
    nonce = os.urandom(NONCE_BYTES)
    return head + nonce + AESGCM(_checked(key)).encrypt(nonce, plain, head + context)


def aead_open(blob: bytes, *, key: bytes, context: bytes) -> bytes:
    """Open what :func:`aead_seal` made.

    Raises:
        SealBroken: unknown format or suite, wrong key, wrong context, or damaged.
    """
    head, body = _split(blob, Suite.AES_256_GCM)
    nonce, sealed = body[:NONCE_BYTES], body[NONCE_BYTES:]
    try:
        return AESGCM(_checked(key)).decrypt(nonce, sealed, head + context)
    except (InvalidTag, ValueError):
        raise _broken() from None


def is_sealed(blob: bytes, *, plain_bytes: int) -> bool:
    """Tell whether a blob has the head and the length of what :func:`aead_seal` makes of so many bytes."""
    head = _head(Suite.AES_256_GCM)
    return blob[: len(head)] == head and len(blob) == plain_bytes + SEAL_BYTES


def hpke_seal(plain: bytes, *, public: bytes, context: bytes) -> bytes:
    """Seal for the holder of an X25519 key: HPKE base mode (RFC 9180), one message, empty ``aad``.

    DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. Returns
    ``0x01 ‖ 0x02 ‖ enc (32) ‖ ciphertext ‖ tag (16)``; HPKE's ``info`` is the first two bytes and
    ``context``. Does not say who sealed it.

    Raises:
        SealBroken: ``public`` is not a usable X25519 public key of 32 bytes.
    """
    head = _head(Suite.HPKE_X25519_HKDF_SHA256_CHACHA20_POLY1305)
    try:
        holder = X25519PublicKey.from_public_bytes(public)
        return head + _HPKE.encrypt(plain, holder, head + context)
    except ValueError:
        raise SealBroken("this public key cannot be sealed for") from None


def hpke_open(blob: bytes, *, private: bytes, context: bytes) -> bytes:
    """Open what :func:`hpke_seal` made.

    Raises:
        SealBroken: unknown format or suite, wrong key, wrong context, or damaged.
    """
    head, body = _split(blob, Suite.HPKE_X25519_HKDF_SHA256_CHACHA20_POLY1305)
    try:
        return _HPKE.decrypt(
            body, X25519PrivateKey.from_private_bytes(_checked(private)), head + context
        )
    except (InvalidTag, ValueError):
        raise _broken() from None


def x25519_generate() -> bytes:
    """Return a fresh X25519 private key: 32 raw bytes (RFC 7748)."""
    return X25519PrivateKey.generate().private_bytes_raw()


def x25519_public(private: bytes) -> bytes:
    """Return the 32-byte public key that belongs to a private one.

    Raises:
        SealBroken: ``private`` is not 32 bytes.
    """
    return X25519PrivateKey.from_private_bytes(_checked(private)).public_key().public_bytes_raw()


def _head(suite: Suite) -> bytes:
    return bytes((FORMAT, suite))


def _split(blob: bytes, suite: Suite) -> tuple[bytes, bytes]:
    head = _head(suite)
    if blob[: len(head)] != head:
        raise SealBroken(f"this is no blob of format {FORMAT}, suite {suite.value}")
    return head, blob[len(head) :]


def _checked(key: bytes) -> bytes:
    # AESGCM takes 16 and 24 bytes too and would quietly seal with less than promised.
    if len(key) != KEY_BYTES:
        raise SealBroken(f"a key has {KEY_BYTES} bytes, this one {len(key)}")
    return key


def _broken() -> SealBroken:
    return SealBroken("it does not open: wrong key, wrong purpose, or damaged")
