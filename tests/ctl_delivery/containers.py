"""Builders and an independent reader for the container tests, written from the wire contract."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import zstandard
from Crypto.Cipher import ChaCha20_Poly1305
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from ddsctl.delivery.container import ContainerFacts, Seed, decrypt, encrypt

PROJECT = X25519PrivateKey.from_private_bytes(bytes(range(32)))


@dataclass(frozen=True)
class Stored:
    blob: bytes
    facts: ContainerFacts


def fixed_seed(first_nonce: bytes = bytes(12)) -> Seed:
    """The same choices every time: for tests only."""
    ephemeral = X25519PrivateKey.from_private_bytes(hashlib.sha256(b"ephemeral").digest())
    return Seed(ephemeral, hashlib.md5(b"salt").digest(), first_nonce)


def sealed(original: bytes, *, compress: bool = False, seed: Seed | None = None) -> Stored:
    sink = io.BytesIO()
    facts = encrypt(
        io.BytesIO(original),
        sink,
        project_public=PROJECT.public_key(),
        compress=compress,
        seed=seed,
    )
    return Stored(sink.getvalue(), facts)


def opened(stored: Stored) -> bytes:
    sink = io.BytesIO()
    decrypt(io.BytesIO(stored.blob), sink, project_private=PROJECT, facts=stored.facts)
    return sink.getvalue()


def opened_independently(stored: Stored, private: X25519PrivateKey = PROJECT) -> bytes:
    """Open a container with another library for every step but the X25519 itself."""
    peer = X25519PublicKey.from_public_bytes(bytes.fromhex(stored.facts.public_key_hex))
    salt = bytes.fromhex(stored.facts.salt_hex)
    key = HKDF(private.exchange(peer), 32, salt, SHA256)
    assert isinstance(key, bytes)
    first, body, last = stored.blob[:12], stored.blob[12:-12], stored.blob[-12:]
    payload, nonce = b"", b""
    for index, start in enumerate(range(0, len(body), 65_552)):
        nonce = ((int.from_bytes(first, "little") + index) % 2**96).to_bytes(12, "little")
        segment = body[start : start + 65_552]
        cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
        payload += cipher.decrypt_and_verify(segment[:-16], segment[-16:])
    assert nonce == last
    if not stored.facts.compressed:
        return payload
    return zstandard.ZstdDecompressor().decompressobj().decompress(payload)
