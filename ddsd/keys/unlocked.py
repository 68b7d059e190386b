"""A user's private key, or a unit's recovery key, opened for one request.

Invariant: an :class:`Unlocked` exists only because somebody proved to hold a password, a token or
a link's secret, an :class:`OpenedKit` because somebody typed the words on a kit's paper. There is
no constructor from nothing, so whoever has none of them (an operator, a job) cannot call what asks
for one. They never leave memory: no pickle, no copy, nothing in their ``repr``.
"""

from __future__ import annotations

from typing import NoReturn, final

from ddsd.keys import hierarchy
from ddsd.keys.hierarchy import SessionSplit
from ddsd.secret import SecretBytes


@final
class Unlocked:
    """An opened private key and the uid of the user it belongs to."""

    __slots__ = ("_pair", "_user_uid")

    _pair: hierarchy.KeyPair
    _user_uid: str

    def __init__(self) -> None:
        raise TypeError("made only by unlock_by_kek, unlock_by_session and unlock_by_link")

    @property
    def user_uid(self) -> str:
        """Whose key this is."""
        return self._user_uid

    @property
    def public(self) -> bytes:
        """The public half: 32 bytes."""
        return self._pair.public

    def open_project_key(self, blob: bytes, project: str) -> SecretBytes:
        """Open a project's private key that was wrapped for this user; ``project`` is its uid.

        Raises:
            SealBroken: wrapped for somebody else, for another project, or damaged.
        """
        return hierarchy.unwrap_project_key(
            blob, holder_private=self._pair.private, project=project
        )

    def seal_for_session(self, split: SessionSplit) -> bytes:
        """Seal the private key for a session's row: at login, and when the token changes."""
        return hierarchy.seal_for_session(self._pair.private, split=split, owner=self._user_uid)

    def seal_for_password(self, kek: SecretBytes) -> bytes:
        """Seal the private key under a new password's key.

        Raises:
            SealBroken: ``kek`` is not 32 bytes.
        """
        return hierarchy.seal_user_key(self._pair.private, kek=kek, owner=self._user_uid)

    def __repr__(self) -> str:
        return f"Unlocked(user_uid={self._user_uid!r}, ***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an opened key is neither pickled nor copied")


@final
class OpenedKit:
    """The private half of a unit's recovery kit."""

    __slots__ = ("_pair",)

    _pair: hierarchy.KeyPair

    def __init__(self) -> None:
        raise TypeError("made only by unlock_kit")

    @property
    def public(self) -> bytes:
        """The public half: 32 bytes. It says which kit this is."""
        return self._pair.public

    def open_project_key(self, blob: bytes, project: str) -> SecretBytes:
        """Open a project's private key that was wrapped for this kit; ``project`` is its uid.

        Raises:
            SealBroken: wrapped for somebody else, for another project, or damaged.
        """
        return hierarchy.unwrap_project_key(
            blob, holder_private=self._pair.private, project=project
        )

    def __repr__(self) -> str:
        return "OpenedKit(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an opened key is neither pickled nor copied")


def unlock_kit(secret: SecretBytes) -> OpenedKit:
    """Open a kit with the 32 bytes that its words stand for. Which kit that is, is not checked.

    Raises:
        SealBroken: the secret is not 32 bytes.
    """
    opened = object.__new__(OpenedKit)
    opened._pair = hierarchy.kit_pair(secret)
    return opened


def unlock_by_kek(blob: bytes, *, kek: SecretBytes, user_uid: str) -> Unlocked:
    """Open a user's key with what follows from the password.

    Raises:
        SealBroken: another password, another user, or damaged.
    """
    return _unlocked(hierarchy.open_user_key(blob, kek=kek, owner=user_uid), user_uid)


def unlock_by_session(blob: bytes, *, split: SessionSplit, user_uid: str) -> Unlocked:
    """Open a user's key with what follows from the token.

    Raises:
        SealBroken: another token, session or user, or damaged.
    """
    return _unlocked(hierarchy.open_from_session(blob, split=split, owner=user_uid), user_uid)


def unlock_by_link(blob: bytes, *, secret: SecretBytes, owner: str, user_uid: str) -> Unlocked:
    """Open the key a link carries the secret for, on behalf of the user it goes to.

    ``owner`` is what the blob was sealed for: the invite's uid at registration, else the user's.

    Raises:
        SealBroken: another link, another owner, or damaged.
    """
    return _unlocked(hierarchy.open_from_link(blob, secret=secret, owner=owner), user_uid)


def _unlocked(private: SecretBytes, user_uid: str) -> Unlocked:
    unlocked = object.__new__(Unlocked)
    unlocked._pair = hierarchy.pair_of(private)
    unlocked._user_uid = user_uid
    return unlocked
