"""An account's standing: whether it may be used, and what ends its logins.

Invariant: who is deactivated, or has lost a second factor, has no living session in the same moment. What an account
holds (its keys, its projects, its password) is left as it is, so reactivating gives all of that back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, delete, or_, select

from ddsd.access import NOT_THIS_ROLE, UNIT_ROLES, Action, Member, Operator, Role, System, require
from ddsd.audit import trail
from ddsd.db.types import may_be_id
from ddsd.errors import Conflict, Forbidden, NotFound
from ddsd.jobs import queue
from ddsd.mail import outbox
from ddsd.users import accounts, sessions
from ddsd.users.tables import (
    LinkKind,
    OneTimeLink,
    Passkey,
    RecoveryCode,
    SecondFactor,
    Session,
    SessionKind,
    User,
)
from ddsd.work import Work

WITHDRAW_UPLOADS_OF_UNIT: Final = "withdraw_uploads_of_unit"
"""The kind of the job that follows: its subject is a unit's number, and that of the account that is closed."""
_ENROLLING: Final = (LinkKind.ACTIVATE_APP, LinkKind.ACTIVATE_MAIL)


async def activate(work: Work, user: User) -> None:
    """Let a deactivated account be used again, with every key it still holds.

    Args:
        work: the transaction; its actor is who decides.
        user: whose account.

    Raises:
        Forbidden: the actor may not (texts of the wire contract, section 4, user/activation).
        Conflict: it is active.
        NotFound: it was deleted meanwhile.
    """
    await _lock(work, user)
    _require_may_switch(work, user, "reactivate")
    if user.active:
        raise Conflict("User is already reactivated!")
    user.active = True
    # A login that was between its two transactions when the account was deactivated may have left a session.
    await sessions.end_all(work, user.id, "reactivated")
    trail.record(work, "user.activate", user.username)


async def deactivate(work: Work, user: User) -> None:
    """Close an account at once: its sessions end, nobody can log in to it, its keys and projects stay.

    A unit user's upload keys are withdrawn, too. They are their unit's: colleagues who upload just now begin anew.

    Args:
        work: the transaction; its actor is who decides.
        user: whose account.

    Raises:
        Forbidden: the actor may not (texts of the wire contract, section 4, user/activation).
        Conflict: it is deactivated.
        NotFound: it was deleted meanwhile.
    """
    await _lock(work, user)
    _require_may_switch(work, user, "deactivate")
    if not user.active:
        raise Conflict("User is already deactivated!")
    user.active = False
    ended = await sessions.end_all(work, user.id, "deactivated")
    await end_uploads(work, user)
    trail.record(work, "user.deactivate", user.username, sessions_ended=ended)


async def end_uploads(work: Work, user: User) -> None:
    """Have the upload keys withdrawn that a unit user may have been given: all of their unit's, which share them."""
    if user.unit_id is not None:
        subject = f"{user.unit_id} {user.id}"
        await queue.enqueue_unless_active(work, WITHDRAW_UPLOADS_OF_UNIT, subject)


async def reset_second_factor(work: Work, user: User) -> None:
    """Make mailed codes the second factor again, forget all others, end the sessions and tell the person.

    The authenticator app's secret, passkeys, recovery codes and links that were to enrol one are gone afterwards.

    Args:
        work: the transaction; its actor is who decides: an operator or a super admin.
        user: whose account.

    Raises:
        Forbidden: the actor is neither.
        NotFound: it was deleted meanwhile.
    """
    _require_everybodys(work)
    await _lock(work, user)
    had_app = user.second_factor is SecondFactor.APP
    user.second_factor = SecondFactor.MAIL
    user.totp_secret = user.totp_pending = None
    await _forget_factors(work, user.id)
    ended = await sessions.end_all(work, user.id, "second factor reset")
    address, *_ = await accounts.emails_of(work, user.id)
    await outbox.write(work, "second_factor_reset", address, username=user.username)
    trail.record(
        work, "user.reset_second_factor", user.username, had_app=had_app, sessions_ended=ended
    )


async def end_sessions(work: Work, user: User, because: str) -> int:
    """End every session of an account; return how many were alive.

    Args:
        work: the transaction; its actor is who decides: the person, or whoever may deactivate the account.
        user: whose sessions.
        because: noted in the sessions and the audit log; at most 40 characters.

    Raises:
        Forbidden: the actor may not.
    """
    if not _is_self(work, user):
        _require_may_switch(work, user, "deactivate")
    ended = await sessions.end_all(work, user.id, because)
    trail.record(work, "session.end_all", user.username, sessions_ended=ended, because=because)
    return ended


@dataclass(frozen=True)
class Login:
    """A living session, whose it is, and whether it has only the password so far (``partial``)."""

    id: int
    username: str
    kind: SessionKind
    address: str
    agent: str
    created_at: datetime
    expires_at: datetime
    partial: bool


async def logins(work: Work, user: User | None = None) -> Sequence[Login]:
    """Return the living sessions of everybody, or of one account, newest first.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    found = await work.session.execute(
        _living(work) if user is None else _living(work).where(Session.columns().user_id == user.id)
    )
    return [_login(session, username) for session, username in found]


async def end_login(work: Work, number: int, because: str) -> Login:
    """End one living session at once; return what it was.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no living session of this number.
    """
    require(work.actor, Action.OPERATE)
    query = _living(work).where(Session.columns().id == number).with_for_update(of=Session)
    row = (await work.session.execute(query)).one_or_none() if may_be_id(number) else None
    if row is None:
        raise NotFound(f"There is no living session {number}. See: ddsctl session ls")
    session, username = row
    session.revoked_at, session.revoked_because = work.now, because
    trail.record(work, "session.end", username, session=number, because=because)
    return _login(session, username)


def _living(work: Work) -> Select[Any]:
    table = Session.columns()
    young = table.created_at > work.now - sessions.PARTIAL_LIFETIME
    return (
        select(Session, User.columns().username)
        .join(User, User.columns().id == table.user_id)
        .where(
            table.revoked_at.is_(None),
            table.expires_at > work.now,
            or_(table.second_factor_at.is_not(None), young),
        )
        .order_by(table.id.desc())
    )


def _login(session: Session, username: str) -> Login:
    return Login(
        id=session.id,
        username=username,
        kind=session.kind,
        address=session.address,
        agent=session.agent,
        created_at=session.created_at,
        expires_at=session.expires_at,
        partial=session.second_factor_at is None,
    )


def _require_may_switch(work: Work, user: User, verb: str) -> None:
    match work.actor:
        case Operator() | System():
            return
        case Member(role=Role.SUPER_ADMIN):
            pass
        case Member(role=Role.UNIT_ADMIN, unit_id=unit_id):
            _require_of_unit(user, unit_id)
        case _:
            raise Forbidden(NOT_THIS_ROLE)
    if _is_self(work, user):
        raise Forbidden(f"You cannot {verb} your own account!")


def _require_of_unit(user: User, unit_id: int | None) -> None:
    if user.role not in UNIT_ROLES:
        raise Forbidden(
            "You can only activate/deactivate users with the role Unit Admin or Unit Personnel."
        )
    if user.unit_id != unit_id:
        raise Forbidden(
            "As a Unit Admin, you can only activate/deactivate other Unit Admins or Unit Personnel "
            "within your specific unit."
        )


def _require_everybodys(work: Work) -> None:
    match work.actor:
        case Operator() | System() | Member(role=Role.SUPER_ADMIN):
            return
        case _:
            raise Forbidden(NOT_THIS_ROLE)


def _is_self(work: Work, user: User) -> bool:
    return isinstance(work.actor, Member) and work.actor.user_id == user.id


async def _lock(work: Work, user: User) -> None:
    """Read the row again and hold it, so that of two who switch it at once the second sees what the first did."""
    found = await work.session.get(User, user.id, populate_existing=True, with_for_update=True)
    if found is None:
        raise NotFound("This account was deleted a moment ago.")


async def _forget_factors(work: Work, user_id: int) -> None:
    for table in (Passkey, RecoveryCode):
        await work.session.execute(delete(table).where(table.columns().user_id == user_id))
    links = OneTimeLink.columns()
    await work.session.execute(
        delete(OneTimeLink).where(links.user_id == user_id, links.kind.in_(_ENROLLING))
    )
