"""Changing a password that is known: the key pair and all access stay, every other login ends.

Invariant: the private key is sealed under the new password in the same transaction in which the old one stops working.
"""

from __future__ import annotations

from typing import Final

from ddsd.audit import trail
from ddsd.errors import Busy, InvalidFields
from ddsd.mail import outbox
from ddsd.secret import SecretText
from ddsd.users import links, login, passwords, sessions
from ddsd.users.sessions import Caller
from ddsd.users.tables import LinkKind, User
from ddsd.work import Services, Work, transaction

BECAUSE: Final = "password changed"


async def change(
    services: Services, caller: Caller, current: SecretText, new: SecretText, *, address: str
) -> None:
    """Set another password for somebody who is logged in and types the one they have.

    Their other sessions end; the one they are using goes on, as what it sealed is the same key pair.

    Args:
        services: the process's services; Argon2id runs twice, outside any transaction.
        caller: who asks, with both factors.
        current: the password as it is.
        new: the one to set.
        address: the client's, for limits.

    Raises:
        InvalidFields: ``current`` is wrong, or ``new`` does not meet the rules or is the same.
        TooManyRequests: too many tries of this account from this address.
        Busy: the password was changed at this moment by somebody else.
        Forbidden, UnderMaintenance: see :func:`ddsd.users.login.prove_password`.
        SealBroken: the account's row was tampered with.
    """
    passwords.check_strength(new)
    if new == current:
        raise InvalidFields({"password": ["This is the password you have. Choose another one."]})
    user, split = await login.prove_again(services, caller, current, address)
    derived = await passwords.derive_new(services, new)
    async with transaction(services, caller.member) as work:
        now = await lock_unchanged(work, user)
        passwords.follow_cost(now, login.unlock(now, split), *derived)
        now.password_set_at = work.now
        await links.forget(work, now.id, LinkKind.RESET_PASSWORD)
        ended = await sessions.end_all(work, now.id, BECAUSE, but=caller.session.id)
        await tell(work, now)
        trail.record(work, "user.change_password", now.username, sessions_ended=ended)


async def lock_unchanged(work: Work, user: User) -> User:
    """Return the account's row, locked, if its password is still the one that ``user`` was read with.

    Raises:
        Busy: it is another one by now, or the account is gone.
    """
    now = await work.session.get(User, user.id, populate_existing=True, with_for_update=True)
    if now is None or now.auth_verifier != user.auth_verifier:
        raise Busy("Your account was changed at this moment from elsewhere. Please log in again.")
    return now


async def tell(work: Work, user: User) -> None:
    """Write to the person that their password is another one now."""
    recipient = await login.primary_email(work, user.id)
    await outbox.write(work, "password_changed", recipient, username=user.username)
