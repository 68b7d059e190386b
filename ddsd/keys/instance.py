"""The instance key: one secret per installation, from a file or a systemd credential.

Invariant: it is never in the database, and seals nothing itself; each purpose has a key of its own,
derived from it.
"""

from __future__ import annotations

import base64
import os
import re

from ddsd.errors import ConfigurationError
from ddsd.keys import primitives
from ddsd.keys.primitives import KEY_BYTES, binding
from ddsd.secret import SecretBytes, SecretText

_HEX = re.compile(r"[0-9a-fA-F]{64}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{43}=?")
# 32 random bytes with so few different values happen once in 10^36: such a key was typed.
_FEWEST_DISTINCT_BYTES = 8


class InstanceKey:
    """32 random bytes that seal this installation's secrets at rest and its tokens."""

    __slots__ = ("_key", "_token_key")

    def __init__(self, key: SecretBytes) -> None:
        """Take the key as it is.

        Raises:
            ConfigurationError: not 32 bytes, or plainly not random.
        """
        if len(key) != KEY_BYTES:
            raise ConfigurationError(f"the instance key has {KEY_BYTES} bytes, this one {len(key)}")
        if len(set(key.reveal())) < _FEWEST_DISTINCT_BYTES:
            raise ConfigurationError("the instance key is not random; make one with `generate`")
        self._key = key
        self._token_key = self._subkey("token")  # every request asks for it

    @classmethod
    def generate(cls) -> InstanceKey:
        """Make a fresh one."""
        return cls(SecretBytes(os.urandom(KEY_BYTES)))

    @classmethod
    def from_text(cls, text: SecretText) -> InstanceKey:
        """Read the key file's text: 64 hex digits or 43 characters of base64url.

        White space around them does not matter.

        Raises:
            ConfigurationError: neither of the two, or plainly not random.
        """
        return cls(SecretBytes(_decoded(text.text().strip())))

    def to_text(self) -> SecretText:
        """Return what goes into the key file: 43 characters of base64url, without a line end."""
        return SecretText(base64.urlsafe_b64encode(self._key.reveal()).decode().rstrip("="))

    @property
    def token_key(self) -> SecretBytes:
        """The 32-byte key that bearer tokens are sealed under."""
        return self._token_key

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Seal a secret at rest; ``purpose`` names its kind and, if there are many, whose it is.

        Returns ``len(plain) + 30`` bytes (docs/formats.md).
        """
        return primitives.aead_seal(
            plain, key=self._sealing_key(purpose), context=_context(purpose)
        )

    def open(self, blob: bytes, purpose: str) -> SecretBytes:
        """Open what :meth:`seal` made.

        Raises:
            SealBroken: another instance's, another purpose, or damaged.
        """
        return SecretBytes(
            primitives.aead_open(blob, key=self._sealing_key(purpose), context=_context(purpose))
        )

    def derive(self, purpose: str) -> SecretBytes:
        """Return 32 bytes that follow from this key and ``purpose`` alone, and lead to neither."""
        return self._subkey("derive", purpose)

    def _sealing_key(self, purpose: str) -> bytes:
        return self._subkey("seal", purpose).reveal()

    def _subkey(self, *names: str) -> SecretBytes:
        info = binding("instance-key", *names)
        return SecretBytes(primitives.hkdf_sha256(self._key.reveal(), info=info))

    def __repr__(self) -> str:
        return "InstanceKey(***)"


def _context(purpose: str) -> bytes:
    return binding("instance-secret", purpose)


def _decoded(text: str) -> bytes:
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    if _BASE64URL.fullmatch(text):
        return base64.urlsafe_b64decode(text.rstrip("=") + "=")
    raise ConfigurationError(
        "the instance key's file must hold 64 hex digits or 43 characters of base64url"
        f" and nothing else; it holds {len(text)} characters"
    )
