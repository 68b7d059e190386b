"""The hierarchy itself: password, master, key-encryption key, user key pair, project key.

Invariant: nothing made here for the database opens anything without a secret that is not in it (a
password, a token, a link), and each blob opens only for the purpose and the subject it was sealed
for.
Formats with test vectors: docs/formats.md.
"""

from __future__ import annotations

import hmac
import os
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from ddsd.errors import InvalidInput, SealBroken
from ddsd.keys import primitives
from ddsd.keys.primitives import KEY_BYTES, binding
from ddsd.secret import SecretBytes, SecretText

SALT_BYTES = 16


class Purpose(StrEnum):
    """What a derived key or a sealed blob is for; part of what it is bound to."""

    AUTH = "auth"
    KEK = "kek"
    AUTH_VERIFIER = "auth-verifier"
    USER_KEY = "user-key"
    PROJECT_KEY = "project-key"
    LINK_SEAL = "link-seal"
    LINK_KEY = "link-key"
    SESSION_VERIFIER = "session-verifier"
    SESSION_SEAL = "session-seal"
    SESSION_KEY = "session-key"
    RECOVERY_KIT = "recovery-kit"


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidInput(f"{name} must lie between {low} and {high}, not {value}")


@dataclass(frozen=True)
class KdfCost:
    """What one Argon2id run costs; kept with each user, so that it can be raised later.

    The default is RFC 9106's second recommendation (section 4): 64 MiB, three passes, four lanes.

    Raises:
        InvalidInput: outside 8 MiB to 4 GiB, 1 to 64 passes, 1 to 16 lanes. The upper bounds keep a
            forged row from exhausting the machine, the lower one a slip from giving passwords away.
    """

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4

    current: ClassVar[KdfCost]

    def __post_init__(self) -> None:
        _within("memory_kib", self.memory_kib, 8 * 1024, 4 * 1024 * 1024)
        _within("iterations", self.iterations, 1, 64)
        _within("lanes", self.lanes, 1, 16)


KdfCost.current = KdfCost()


@dataclass(frozen=True)
class MasterSplit:
    """The two halves of a master key: neither tells anything about the other.

    ``auth`` (32 bytes) proves the password to the server; ``kek`` (32 bytes) seals the user's
    private key.
    """

    auth: SecretBytes
    kek: SecretBytes


@dataclass(frozen=True)
class KeyPair:
    """An X25519 key pair: two times 32 raw bytes (RFC 7748)."""

    public: bytes
    private: SecretBytes


@dataclass(frozen=True)
class SessionSplit:
    """What follows from a token's key in one session.

    ``verifier`` (32 bytes) goes into the session's row and says whether a token belongs to it;
    ``seal_key`` (32 bytes) never leaves memory. The verifier does not lead to the seal key.
    """

    session: str
    verifier: bytes
    seal_key: SecretBytes

    def matches(self, stored: bytes) -> bool:
        """Tell, in constant time, whether the row's verifier is this token's."""
        return hmac.compare_digest(self.verifier, stored)


def new_salt() -> bytes:
    """Return a fresh salt for :func:`derive_master`: 16 random bytes."""
    return os.urandom(SALT_BYTES)


def new_secret() -> SecretBytes:
    """Return 32 random bytes: a token's key or a link's secret."""
    return SecretBytes(os.urandom(KEY_BYTES))


def derive_master(password: SecretText, salt: bytes, cost: KdfCost) -> SecretBytes:
    """Derive the 32-byte master key from a password: Argon2id over its UTF-8 bytes in form NFC.

    NFC, because the same password reaches us precomposed from the stock client (latin-1 Basic
    credentials, wire contract 2.1: nothing else can be sent) and possibly decomposed from a
    browser. Not NFKC, not trimmed, not case-folded: those would make different passwords equal.

    Takes a tenth of a second and ``cost.memory_kib`` KiB: run it in a thread, behind a semaphore.

    Raises:
        InvalidInput: the salt is under 16 bytes.
        Unavailable: not enough memory.
    """
    if len(salt) < SALT_BYTES:
        raise InvalidInput(f"a password's salt has {SALT_BYTES} bytes or more")
    return SecretBytes(
        primitives.argon2id(
            unicodedata.normalize("NFC", password.text()).encode(),
            salt=salt,
            memory_kib=cost.memory_kib,
            iterations=cost.iterations,
            lanes=cost.lanes,
        )
    )


def split_master(master: SecretBytes) -> MasterSplit:
    """Split a 32-byte master key into what logs in and what unlocks.

    Raises:
        SealBroken: the master key is not 32 bytes.
    """
    return MasterSplit(
        auth=_derive(master, binding(Purpose.AUTH)), kek=_derive(master, binding(Purpose.KEK))
    )


def auth_verifier(auth: SecretBytes) -> bytes:
    """Return the 32 bytes that the server keeps to recognise ``auth``.

    Nothing follows from them, neither ``auth`` nor the key-encryption key.
    HKDF is hash enough here: ``auth`` is no password but 256 bits out of Argon2id.

    Raises:
        SealBroken: ``auth`` is not 32 bytes.
    """
    return _derive(auth, binding(Purpose.AUTH_VERIFIER)).reveal()


def auth_matches(auth: SecretBytes, verifier: bytes) -> bool:
    """Tell, in constant time, whether ``auth`` is what the verifier was made from.

    A client may send ``auth`` itself, so one of a wrong length is simply not it.
    """
    return len(auth) == KEY_BYTES and hmac.compare_digest(auth_verifier(auth), verifier)


def new_key_pair() -> KeyPair:
    """Make a fresh X25519 key pair, for a user, an invite or a project."""
    return pair_of(SecretBytes(primitives.x25519_generate()))


def pair_of(private: SecretBytes) -> KeyPair:
    """Complete a 32-byte private key with its public half.

    Raises:
        SealBroken: the private key is not 32 bytes.
    """
    return KeyPair(public=primitives.x25519_public(private.reveal()), private=private)


def kit_pair(secret: SecretBytes) -> KeyPair:
    """Derive a unit's recovery key pair from the 32-byte secret that is written on paper.

    Raises:
        SealBroken: the secret is not 32 bytes.
    """
    return pair_of(_derive(secret, binding(Purpose.RECOVERY_KIT)))


def seal_user_key(private: SecretBytes, *, kek: SecretBytes, owner: str) -> bytes:
    """Seal a user's private key under the key that follows from the password.

    ``owner`` is the user's uid. Returns 62 bytes.

    Raises:
        SealBroken: a key is not 32 bytes.
    """
    return _seal(private, kek, binding(Purpose.USER_KEY, owner))


def open_user_key(blob: bytes, *, kek: SecretBytes, owner: str) -> SecretBytes:
    """Open what :func:`seal_user_key` made.

    Raises:
        SealBroken: another password, another owner, or damaged.
    """
    return _open(blob, kek, binding(Purpose.USER_KEY, owner))


def is_user_key(blob: bytes) -> bool:
    """Tell whether a blob has the form of what :func:`seal_user_key` makes; not whether it opens."""
    return primitives.is_sealed(blob, plain_bytes=KEY_BYTES)


def wrap_project_key(private: SecretBytes, *, holder_public: bytes, project: str) -> bytes:
    """Wrap a project's private key for one holder; ``project`` is the project's uid.

    Bound to the holder's key pair by HPKE and not to a name, so that an invite's pair can move to
    the user who accepts it and everything wrapped for it moves along. Returns 82 bytes.

    Raises:
        SealBroken: the private key is not 32 bytes, or the public one not usable.
    """
    return primitives.hpke_seal(
        _whole(private), public=holder_public, context=binding(Purpose.PROJECT_KEY, project)
    )


def unwrap_project_key(blob: bytes, *, holder_private: SecretBytes, project: str) -> SecretBytes:
    """Open what :func:`wrap_project_key` made.

    Does not check that the key belongs to the project's public key: compare :func:`pair_of`.

    Raises:
        SealBroken: another holder, another project, or damaged.
    """
    return SecretBytes(
        primitives.hpke_open(
            blob, private=holder_private.reveal(), context=binding(Purpose.PROJECT_KEY, project)
        )
    )


def seal_for_link(private: SecretBytes, *, secret: SecretBytes, owner: str) -> bytes:
    """Seal a private key under the 32-byte secret that only a mailed link carries.

    ``owner`` is the uid of the invite or of the user the link is for. Returns 62 bytes.

    Raises:
        SealBroken: a key or the secret is not 32 bytes.
    """
    return _seal(private, _link_key(secret, owner), binding(Purpose.LINK_KEY, owner))


def open_from_link(blob: bytes, *, secret: SecretBytes, owner: str) -> SecretBytes:
    """Open what :func:`seal_for_link` made.

    Raises:
        SealBroken: another link, another owner, or damaged.
    """
    return _open(blob, _link_key(secret, owner), binding(Purpose.LINK_KEY, owner))


def split_token_key(token_key: SecretBytes, *, session: str) -> SessionSplit:
    """Derive from a token's 32-byte key what the session with that uid keeps and what seals for it.

    Raises:
        SealBroken: the token's key is not 32 bytes.
    """
    return SessionSplit(
        session=session,
        verifier=_derive(token_key, binding(Purpose.SESSION_VERIFIER, session)).reveal(),
        seal_key=_derive(token_key, binding(Purpose.SESSION_SEAL, session)),
    )


def seal_for_session(private: SecretBytes, *, split: SessionSplit, owner: str) -> bytes:
    """Seal a user's private key for the session's row.

    ``owner`` is the user's uid. Returns 62 bytes.

    Raises:
        SealBroken: the private key is not 32 bytes.
    """
    return _seal(private, split.seal_key, binding(Purpose.SESSION_KEY, split.session, owner))


def open_from_session(blob: bytes, *, split: SessionSplit, owner: str) -> SecretBytes:
    """Open what :func:`seal_for_session` made.

    Raises:
        SealBroken: another token, session or owner, or damaged.
    """
    return _open(blob, split.seal_key, binding(Purpose.SESSION_KEY, split.session, owner))


def _link_key(secret: SecretBytes, owner: str) -> SecretBytes:
    return _derive(secret, binding(Purpose.LINK_SEAL, owner))


def _derive(key: SecretBytes, info: bytes) -> SecretBytes:
    return SecretBytes(primitives.hkdf_sha256(_whole(key), info=info))


def _seal(private: SecretBytes, key: SecretBytes, context: bytes) -> bytes:
    return primitives.aead_seal(_whole(private), key=key.reveal(), context=context)


def _open(blob: bytes, key: SecretBytes, context: bytes) -> SecretBytes:
    return SecretBytes(primitives.aead_open(blob, key=key.reveal(), context=context))


def _whole(key: SecretBytes) -> bytes:
    # A cut-off private key would seal well and be lost for good, a cut-off secret be guessable.
    if len(key) != KEY_BYTES:
        raise SealBroken(f"a key has {KEY_BYTES} bytes, this one {len(key)}")
    return key.reveal()
