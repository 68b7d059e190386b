"""Changing the address of an account: wanted with the password, proven by a link that was mailed to the new address.

Invariant: an account's address changes only for somebody who is logged in to it and can read what is sent to the new
one, or by an operator; the earlier address is told. Whether somebody has the wanted address is said to nobody but its
reader.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from ddsd.access import Action, require
from ddsd.audit import trail
from ddsd.errors import AlreadyExists, InvalidFields, InvalidInput
from ddsd.mail import outbox
from ddsd.secret import SecretText
from ddsd.users import accounts, codes, invites, limits, links, login, password_change
from ddsd.users.sessions import Caller
from ddsd.users.tables import LinkKind, User, UserEmail
from ddsd.work import Services, Work, transaction

LIFETIME: Final = timedelta(hours=1)
_HOUR: Final = timedelta(hours=1)
_LETTERS_PER_HOUR: Final = 5
_REFUSAL: Final = (
    "Too many links to a new address were asked for. Please use the last one, or wait."
)
# Links that lie in the earlier mailbox, which is no longer this person's.
_MAILED_BEFORE: Final = (
    LinkKind.RESET_PASSWORD,
    LinkKind.ACTIVATE_APP,
    LinkKind.ACTIVATE_MAIL,
    LinkKind.CONFIRM_DELETION,
)


async def request(
    services: Services, caller: Caller, current: SecretText, email: str, *, address: str
) -> str:
    """Mail a link to the address that somebody wants to have; return that address as it would be stored.

    If it belongs to another account, or an invite waits for it, the letter says so; the answer here is the same.

    Args:
        services: the process's services.
        caller: who asks, with both factors.
        current: their password.
        email: as typed.
        address: the client's, for limits.

    Raises:
        InvalidFields: ``current`` is wrong (field ``current``); it is no address, or the one they have (``email``).
        TooManyRequests: too many passwords were tried, or too many letters asked for: by them, or to this address.
        Busy: the account was changed at this moment from elsewhere.
        Forbidden, UnderMaintenance: see :func:`ddsd.users.login.prove_password`.
    """
    wanted = _parse(email)
    user, _ = await login.prove_again(services, caller, current, address)
    await limits.spend(
        services,
        limits.Budget(("email-change", user.uid), _LETTERS_PER_HOUR, _HOUR, _REFUSAL),
        limits.Budget(("email-wanted", wanted), _LETTERS_PER_HOUR, _HOUR, _REFUSAL),
    )
    async with transaction(services, caller.member) as work:
        now = await password_change.lock_unchanged(work, user)
        if wanted == await login.primary_email(work, now.id):
            raise InvalidFields({"email": ["This is the address you have."]})
        await _write(work, now, wanted)
    return wanted


async def confirm(work: Work, user: User, code: SecretText) -> str:
    """Give the account the address that the link was mailed to; return it. The link is gone afterwards.

    What was mailed to the earlier address and not used yet is worthless from now on.

    Args:
        work: the transaction.
        user: who is logged in.
        code: the link, or the code in it, as typed or clicked.

    Raises:
        NotFound: no such link, another account's, it was used, or it is too old.
        AlreadyExists: the address was taken meanwhile.
    """
    link, owner = await links.find(
        work, LinkKind.CONFIRM_EMAIL, links.secret_of(code), for_change=True
    )
    links.require_owner(owner, user)
    await work.session.delete(link)
    await _change(work, owner, link.email)
    return link.email


async def put(work: Work, user: User, email: str) -> str:
    """Give an account another address, for somebody who cannot read the earlier mailbox; return it as stored.

    Nothing proves that the address is theirs: whoever operates the service has to be sure. The earlier one is told.

    Raises:
        Forbidden: the actor does not operate this service.
        InvalidInput: it is no address.
        AlreadyExists: another account has it, or an invite waits for it.
    """
    require(work.actor, Action.OPERATE)
    wanted = accounts.normal_email(email)
    await work.session.refresh(user, with_for_update=True)
    if wanted != await login.primary_email(work, user.id):
        await links.forget(work, user.id, LinkKind.CONFIRM_EMAIL)
        await _change(work, user, wanted)
    return wanted


async def _change(work: Work, user: User, now: str) -> None:
    before = await login.primary_email(work, user.id)
    await _replace(work, user, now)
    await links.forget(work, user.id, *_MAILED_BEFORE)
    await codes.withdraw_mailed(work, user.id)
    await outbox.write(work, "email_changed", before, username=user.username, email=now)
    trail.record(work, "user.change_email", user.username, before=before, now=now)


def _parse(email: str) -> str:
    try:
        return accounts.normal_email(email.strip())
    except InvalidInput as wrong:
        raise InvalidFields({"email": [wrong.message]}) from None


async def _write(work: Work, user: User, wanted: str) -> None:
    if not await _is_free(work, user, wanted):
        await outbox.write(work, "email_taken", wanted, username=user.username, email=wanted)
        return
    await outbox.write(
        work,
        "confirm_email",
        wanted,
        secret=True,
        username=user.username,
        link=await links.issue(work, user, LinkKind.CONFIRM_EMAIL, LIFETIME, email=wanted),
        hours=str(int(LIFETIME.total_seconds()) // 3600),
    )
    trail.record(work, "user.request_email", user.username, wanted=wanted)


async def _replace(work: Work, user: User, now: str) -> None:
    if not await _is_free(work, user, now):
        raise _taken(now)
    table = UserEmail.columns()
    await work.session.execute(
        delete(UserEmail).where(
            table.user_id == user.id, table.email == now, table.is_primary.is_(False)
        )
    )
    primary = await work.session.execute(
        select(UserEmail).where(table.user_id == user.id, table.is_primary)
    )
    primary.scalar_one().email = now
    try:
        await work.session.flush()
    except IntegrityError:  # somebody else took it since we looked
        raise _taken(now) from None


async def _is_free(work: Work, user: User, address: str) -> bool:
    """Say whether an address is nobody's, or one of this account's own."""
    owner = await accounts.find_by_email(work, address)
    if owner is not None:
        return owner.id == user.id
    return await invites.find(work, address) is None


def _taken(address: str) -> AlreadyExists:
    return AlreadyExists(
        f"The address {address} belongs to another account by now, or has been invited."
    )
