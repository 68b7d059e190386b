"""Passwords: what is asked of one, and how an account gets its first or follows a new cost.

The server keeps a salt, a cost, a verifier of ``auth`` and the private key sealed under ``kek``: nothing from
which the password or the private key follows.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from ddsd.errors import InvalidFields
from ddsd.keys import hierarchy
from ddsd.keys.hierarchy import KdfCost, MasterSplit
from ddsd.keys.unlocked import Unlocked
from ddsd.secret import SecretBytes, SecretText
from ddsd.users.tables import User
from ddsd.work import Services, Work

_SHORTEST: Final = 10
_LONGEST: Final = 64
_DIGIT_OR_SIGN: Final = re.compile(r"[0-9#?!@$%^&*-]")

Derived = tuple[MasterSplit, bytes, KdfCost]
"""What a password became: the split, its salt and its cost."""


def check_strength(password: SecretText) -> None:
    """Hold a new password against the rules (wire contract, section 10).

    Latin-1 only: the stock client sends it as HTTP Basic credentials, which cannot carry more. What is judged is the
    composed form (NFC), as that is what is derived from, however it was typed. Control characters cannot be sent by
    every client, invisible ones not be typed again.

    Raises:
        InvalidFields: it does not meet them; the message names every rule it misses.
    """
    text = unicodedata.normalize("NFC", password.text())
    misses = [
        why
        for why, holds in (
            (f"at least {_SHORTEST} characters", len(text) >= _SHORTEST),
            (f"at most {_LONGEST} characters", len(text) <= _LONGEST),
            ("a lower-case letter", any(c.islower() for c in text)),
            ("an upper-case letter", any(c.isupper() for c in text)),
            ("a digit or one of #?!@$%^&*-", bool(_DIGIT_OR_SIGN.search(text))),
            ("only characters of Latin-1 (no emoji, no other scripts)", _is_latin1(text)),
            ("no control characters", not any(map(_is_invisible, text))),
        )
        if not holds
    ]
    if misses:
        raise InvalidFields({"password": [f"The password needs: {', '.join(misses)}."]})


async def derive_new(services: Services, password: SecretText) -> Derived:
    """Run Argon2id for a new password or cost; return the split, the fresh salt and the cost.

    Call it outside a transaction: it takes a fraction of a second.
    """
    salt, cost = hierarchy.new_salt(), services.deriver.cost
    return await services.deriver.derive(password, salt, cost), salt, cost


def set_first(work: Work, user: User, split: MasterSplit, salt: bytes, cost: KdfCost) -> None:
    """Give an account its first password, and with it its key pair."""
    pair = hierarchy.new_key_pair()
    user.public_key = pair.public
    user.wrapped_private_key = hierarchy.seal_user_key(pair.private, kek=split.kek, owner=user.uid)
    store_proof(user, split.auth, salt, cost)
    user.password_set_at = work.now


def follow_cost(
    user: User, unlocked: Unlocked, split: MasterSplit, salt: bytes, cost: KdfCost
) -> None:
    """Keep the password and the key pair, under a new salt and cost."""
    user.wrapped_private_key = unlocked.seal_for_password(split.kek)
    store_proof(user, split.auth, salt, cost)


def store_proof(user: User, auth: SecretBytes, salt: bytes, cost: KdfCost) -> None:
    """Store what recognises the password; the sealed private key must change with it.

    Args:
        user: whose.
        auth: 32 bytes that follow from the password.
        salt: what they were derived with, 16 bytes or more, and
        cost: at this cost.
    """
    user.kdf_salt = salt
    user.kdf_memory_kib = cost.memory_kib
    user.kdf_iterations = cost.iterations
    user.kdf_lanes = cost.lanes
    user.auth_verifier = hierarchy.auth_verifier(auth)


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf"}


def _is_latin1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
