"""Resetting a password that is forgotten: a mailed link, a new key pair, and every key the old one opened is lost.

Nobody can tell from the answer to a request, nor from the time it takes, whether the address has an account: the
request is only noted, and a job looks it up and writes the letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import select

from ddsd.access import Nobody, Role, System
from ddsd.audit import trail
from ddsd.errors import InvalidFields, InvalidInput
from ddsd.jobs import queue
from ddsd.keys import service as keys
from ddsd.mail import outbox
from ddsd.notices import maintenance
from ddsd.secret import SecretText
from ddsd.users import accounts, limits, links, password_change, passwords, sessions
from ddsd.users.tables import LinkKind, OneTimeLink, User, UserEmail
from ddsd.work import Services, Work, reading, transaction

MAIL_RESET_LINK: Final = "mail_reset_link"
LIFETIME: Final = timedelta(hours=1)
BECAUSE: Final = "password reset"
# Nobody can fill a mailbox with these letters, and a link is not worthless before its letter was read.
_BETWEEN_LETTERS: Final = timedelta(minutes=15)
_HOUR: Final = timedelta(hours=1)
_REFUSAL: Final = "Too many requests for a new password. Please try again later."


async def request(services: Services, email: str, *, address: str) -> None:
    """Note that somebody wants to reset the password of the account with this address.

    Args:
        services: the process's services.
        email: as typed.
        address: the client's, for limits.

    Raises:
        InvalidFields: it is no e-mail address.
        TooManyRequests: too many from this network address.
    """
    try:
        wanted = accounts.normal_email(email.strip())
    except InvalidInput as wrong:
        raise InvalidFields({"email": [wrong.message]}) from None
    security = services.settings.security
    every, network = security.logins_per_hour_per_address, limits.network_of(address)
    await limits.spend(
        services,
        limits.Budget(("reset", wanted, network), security.logins_per_hour, _HOUR, _REFUSAL),
        limits.Budget(("reset-address", network), every, _HOUR, _REFUSAL),
    )
    async with transaction(services, Nobody()) as work:
        await queue.enqueue_unless_active(work, MAIL_RESET_LINK, wanted)


async def mail_reset_link(services: Services, subject: str) -> None:
    """Handle the job :data:`MAIL_RESET_LINK`: mail a link to the address ``subject`` if an active account has it."""
    async with transaction(services, System()) as work:
        user = await accounts.find_by_email(work, subject)
        if user is None or not user.active or await _mailed_just_now(work, user):
            return
        await outbox.write(
            work,
            "reset_password",
            subject,
            secret=True,
            username=user.username,
            link=await links.issue(work, user, LinkKind.RESET_PASSWORD, LIFETIME),
            hours=str(int(LIFETIME.total_seconds()) // 3600),
        )
        trail.record(work, "user.request_password_reset", user.username)


async def owner_of(work: Work, code: SecretText) -> User:
    """Return whose password the link resets; nothing is changed.

    Raises:
        NotFound: no such link, it was used, or it is too old.
    """
    _, user = await links.find(work, LinkKind.RESET_PASSWORD, links.secret_of(code))
    return user


async def use(services: Services, code: SecretText, password: SecretText, *, address: str) -> User:
    """Set a new password with the link's code, and a new key pair; the link is gone afterwards.

    What was wrapped for the old pair is forgotten: nobody could ever open it. Every session ends. The other admins of
    a unit admin's unit are told, as one of them may have to restore the access.

    Args:
        services: the process's services; Argon2id runs between two transactions.
        code: the link, or the code in it, as typed or clicked.
        password: the one to set.
        address: the client's, for limits.

    Raises:
        InvalidFields: the password does not meet the rules; the link stays good.
        NotFound: no such link, it was used (by somebody a moment ago, too), or it is too old.
        TooManyRequests: too many from this address.
        UnderMaintenance: the service is closed for this role.
    """
    passwords.check_strength(password)
    secret = links.secret_of(code)
    await limits.spend(services, links.spending(services, "reset-password", address))
    async with reading(services, Nobody()) as work:
        _, user = await links.find(work, LinkKind.RESET_PASSWORD, secret)
        await maintenance.require_open(work, user.role)
    derived = await passwords.derive_new(services, password)
    async with transaction(services, Nobody()) as work:
        link, user = await links.find(work, LinkKind.RESET_PASSWORD, secret, for_change=True)
        await work.session.delete(link)
        await _start_anew(work, user, derived)
    return user


async def _start_anew(work: Work, user: User, derived: passwords.Derived) -> None:
    passwords.set_first(work, user, *derived)
    # Flushed before the wraps go: whoever shares a key with this account waits for the row, and sees the new pair.
    await work.session.flush()
    lost = await keys.forget_holder(work, user_id=user.id)
    ended = await sessions.end_all(work, user.id, BECAUSE)
    await links.forget(work, user.id, LinkKind.SET_PASSWORD)
    await password_change.tell(work, user)
    if user.role is Role.UNIT_ADMIN:
        await _tell_colleagues(work, user)
    trail.record(work, "user.reset_password", user.username, keys_lost=lost, sessions_ended=ended)


async def _tell_colleagues(work: Work, user: User) -> None:
    email, *_ = await accounts.emails_of(work, user.id)
    for recipient in await _other_admins(work, user):
        await outbox.write(work, "access_lost_admin", recipient, name=user.name, email=email)


async def _other_admins(work: Work, user: User) -> Sequence[str]:
    users, emails = User.columns(), UserEmail.columns()
    found = await work.session.execute(
        select(emails.email)
        .join(User, users.id == emails.user_id)
        .where(
            users.unit_id == user.unit_id,
            users.role == Role.UNIT_ADMIN,
            users.active.is_(True),
            users.id != user.id,
            emails.is_primary,
        )
        .order_by(emails.id)
    )
    return [str(email) for (email,) in found]


async def _mailed_just_now(work: Work, user: User) -> bool:
    table = OneTimeLink.columns()
    found = await work.session.execute(
        select(table.id).where(
            table.user_id == user.id,
            table.kind == LinkKind.RESET_PASSWORD,
            table.created_at > work.now - _BETWEEN_LETTERS,
        )
    )
    return found.first() is not None


HANDLERS: Final = {MAIL_RESET_LINK: mail_reset_link}
