"""Recovery codes: ten of them, each good once in place of the second factor of a web login.

Invariant: a code is shown when it is made and never again. The database keeps a hash under a key that follows from
the instance key and the account, so that neither the rows alone nor another account's code lead anywhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select, update

from ddsd.audit import trail
from ddsd.db.statements import affected
from ddsd.errors import NotAuthenticated
from ddsd.secret import SecretText
from ddsd.users import alerts, limits, login
from ddsd.users.sessions import Caller
from ddsd.users.tables import RecoveryCode, User
from ddsd.work import Services, Work, transaction

CODES: Final = 10
# 32 of them, so 5 bits each; without 0, O, 1 and I, which are taken for one another.
_LETTERS: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_GROUPS: Final = 4
_GROUP_LETTERS: Final = 4
_LONGEST_TYPED: Final = 100
_MADE_PER_HOUR: Final = 10
_WRONG: Final = "This is not one of your recovery codes, or it was used already."


@dataclass(frozen=True)
class Remaining:
    """How many unused codes an account has, and when they were made."""

    codes: int
    made_at: datetime | None


async def make(services: Services, caller: Caller) -> Sequence[SecretText]:
    """Make ten new codes and end all earlier ones; return them, to be shown this once.

    A code has four groups of four characters, ``A-Z`` and ``2-9`` without look-alikes: 80 random bits.

    Raises:
        TooManyRequests: codes were made too often within an hour.
    """
    await limits.spend(services, _making(caller.user))
    codes = [_new_code() for _ in range(CODES)]
    table = RecoveryCode.columns()
    async with transaction(services, caller.member) as work:
        # The account's row is held, so that of two who make codes at once only one leaves any.
        user = await work.session.get_one(User, caller.user.id, with_for_update=True)
        await work.session.execute(delete(RecoveryCode).where(table.user_id == user.id))
        work.session.add_all(
            RecoveryCode(
                user_id=user.id, code_hash=_hash(work.services, user, code), created_at=work.now
            )
            for code in codes
        )
        trail.record(work, "recovery_codes.make", user.username, codes=CODES)
        await alerts.security_notice(
            work, user, "New recovery codes were made. All earlier ones are worthless now."
        )
    return codes


async def remaining(work: Work, user_id: int) -> Remaining:
    """Say how many codes of the account are left."""
    table = RecoveryCode.columns()
    found = await work.session.execute(
        select(func.count(), func.max(table.created_at)).where(
            table.user_id == user_id, table.used_at.is_(None)
        )
    )
    left, made_at = found.one()
    return Remaining(int(left), made_at)


async def log_in(services: Services, token: str, typed: SecretText) -> str:
    """Take the second step of a login with a recovery code; return the session token and tell the person by mail.

    Args:
        services: the process's services.
        token: the partial token.
        typed: the code; case, spaces and hyphens do not matter.

    Raises:
        NotAuthenticated: the token is wrong or too old, or the code is none of the account's, or used.
        TooManyRequests: too many codes of any kind were tried.
    """

    async def check(work: Work, caller: Caller) -> None:
        await _use(work, caller.user, typed)

    return await login.pass_second_factor(services, token, "recovery code", check)


async def _use(work: Work, user: User, typed: SecretText) -> None:
    code = _canonical(typed)
    table = RecoveryCode.columns()
    used = await work.session.execute(
        update(RecoveryCode)
        .where(
            table.user_id == user.id,
            table.code_hash == _hash(work.services, user, code),
            table.used_at.is_(None),
        )
        .values(used_at=work.now)
    )
    if not affected(used):
        raise NotAuthenticated(_WRONG)
    left = (await remaining(work, user.id)).codes
    trail.record(work, "recovery_code.use", user.username, left=left)
    await alerts.recovery_code_used(work, user, left)


def _making(user: User) -> limits.Budget:
    return limits.Budget(
        ("recovery-codes", user.uid),
        _MADE_PER_HOUR,
        timedelta(hours=1),
        "Recovery codes were made too often. The last ones you were shown are good; try again later.",
    )


def _new_code() -> SecretText:
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_GROUPS * _GROUP_LETTERS))
    starts = range(0, len(letters), _GROUP_LETTERS)
    return SecretText("-".join(letters[start : start + _GROUP_LETTERS] for start in starts))


def _canonical(typed: SecretText) -> SecretText:
    """Return a code as it was shown, from however it was typed.

    Raises:
        NotAuthenticated: it has not the shape of one.
    """
    letters = "".join(typed.text()[:_LONGEST_TYPED].split()).replace("-", "").upper()
    if len(letters) != _GROUPS * _GROUP_LETTERS or not set(letters) <= set(_LETTERS):
        raise NotAuthenticated(_WRONG)
    return SecretText(letters)


def _hash(services: Services, user: User, code: SecretText) -> bytes:
    """Return what the database keeps of a code: HMAC-SHA256 of its sixteen letters, 32 bytes."""
    key = services.instance_key.derive(f"recovery codes of {user.uid}")
    letters = code.text().replace("-", "").encode()
    return hmac.new(key.reveal(), letters, hashlib.sha256).digest()
