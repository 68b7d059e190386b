"""Logging in without sending the password: what the client derives, proves, opens and seals by itself.

Invariant: of what is made here only ``auth`` and sealed blobs may leave the machine; the password, ``kek`` and the
private keys never do. Written from docs/formats.md alone; the service has code of its own for the same formats.
Talking to the service is the caller's: each function makes a request's body, or takes an answer.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ddsctl.delivery import DeliveryError
from ddsd.contract.delivery import (
    Cost,
    Derivation,
    LoggedIn,
    ProjectKey,
    ProveLogin,
    UpgradeLogin,
)

_KEY_BYTES: Final = 32
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_SEAL_HEAD: Final = b"\x01\x01"
_WRAP_HEAD: Final = b"\x01\x02"
_HPKE: Final = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


class KeyDoesNotOpen(DeliveryError):
    """What the service sent does not open: another password, another account or project, or altered."""


@dataclass(frozen=True)
class PasswordKeys:
    """What follows from a password: ``auth`` proves it, ``kek`` opens the private key. 32 bytes each."""

    auth: bytes = field(repr=False)
    kek: bytes = field(repr=False)


def derive(password: str, by: Derivation) -> PasswordKeys:
    """Derive from a password what proves it and what opens the private key: one Argon2id run.

    The answer's model has refused a cost under 8 MiB, so that a false service cannot ask for a proof that is cheap to
    guess from.
    """
    master = Argon2id(
        salt=by.salt,
        length=_KEY_BYTES,
        iterations=by.cost.iterations,
        lanes=by.cost.lanes,
        memory_cost=by.cost.memory_kib,
    ).derive(unicodedata.normalize("NFC", password).encode())
    return PasswordKeys(auth=_expand(master, "auth"), kek=_expand(master, "kek"))


def prove(username: str, keys: PasswordKeys) -> ProveLogin:
    """Return what ``POST login/proof`` takes."""
    return ProveLogin(username=username, auth=keys.auth)


def open_private_key(answer: LoggedIn, keys: PasswordKeys) -> X25519PrivateKey:
    """Open one's own private key.

    Raises:
        KeyDoesNotOpen: it was not sealed for this account under this password, or is not that of the public key.
    """
    opened = _unseal(answer.wrapped_private_key, keys.kek, "user-key", answer.account.uid)
    return _belonging(opened, answer.public_key)


def open_project_key(answer: ProjectKey, private: X25519PrivateKey) -> X25519PrivateKey:
    """Open a project's private key with one's own.

    Raises:
        KeyDoesNotOpen: it was wrapped for somebody else or another project, or is not that of the public key.
    """
    if answer.wrap[:2] != _WRAP_HEAD:
        raise KeyDoesNotOpen("The project's key is of a format that this client does not know.")
    info = _WRAP_HEAD + _binding("project-key", answer.project)
    try:
        opened = _HPKE.decrypt(answer.wrap[2:], private, info)
    except (InvalidTag, ValueError):
        raise KeyDoesNotOpen(f"The key of project {answer.project} does not open.") from None
    return _belonging(opened, answer.public_key)


def upgrade(
    password: str, keys: PasswordKeys, answer: LoggedIn, wanted: Cost
) -> tuple[UpgradeLogin, PasswordKeys]:
    """Return what ``POST login/upgrade`` takes, and what follows from the password afterwards.

    The private key is sealed under a fresh salt and the wanted cost, and opened once more before it is handed out:
    nobody else could tell that it does not open.

    Raises:
        KeyDoesNotOpen: the private key does not open with ``keys``.
    """
    private = open_private_key(answer, keys).private_bytes_raw()
    salt = os.urandom(_SALT_BYTES)
    anew = derive(password, Derivation(salt=salt, cost=wanted))
    sealed = _seal(private, anew.kek, "user-key", answer.account.uid)
    if _unseal(sealed, anew.kek, "user-key", answer.account.uid) != private:
        raise KeyDoesNotOpen("The private key that was sealed anew does not open.")
    asked = UpgradeLogin(
        auth_before=keys.auth,
        salt=salt,
        cost=wanted,
        auth=anew.auth,
        wrapped_private_key=sealed,
    )
    return asked, anew


def _binding(purpose: str, *subjects: str) -> bytes:
    return "\0".join(("ddsd/1", purpose, *subjects)).encode()


def _expand(key: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), length=_KEY_BYTES, salt=b"", info=_binding(purpose)).derive(key)


def _seal(plain: bytes, key: bytes, purpose: str, subject: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    bound = _SEAL_HEAD + _binding(purpose, subject)
    return _SEAL_HEAD + nonce + AESGCM(key).encrypt(nonce, plain, bound)


def _unseal(blob: bytes, key: bytes, purpose: str, subject: str) -> bytes:
    if blob[:2] != _SEAL_HEAD:
        raise KeyDoesNotOpen("Your private key is of a format that this client does not know.")
    nonce, sealed = blob[2 : 2 + _NONCE_BYTES], blob[2 + _NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, sealed, _SEAL_HEAD + _binding(purpose, subject))
    except (InvalidTag, ValueError):
        raise KeyDoesNotOpen("Your private key does not open with this password.") from None


def _belonging(private: bytes, public: bytes) -> X25519PrivateKey:
    key = X25519PrivateKey.from_private_bytes(private)
    if key.public_key().public_bytes_raw() != public:
        raise KeyDoesNotOpen("The private key is not that of the public key that came with it.")
    return key
