"""Sessions: what a bearer token stands for, from the password to logging out.

The row keeps the person's private key sealed under a key that only the token carries, or does not keep it at all
(:mod:`ddsd.users.proof`): the database alone opens nothing, the token alone opens nothing, and a revoked session is
dead at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, bindparam, delete, or_, select, update

from ddsd.access import Member
from ddsd.db.statements import affected
from ddsd.errors import (
    Forbidden,
    KeyAtClient,
    NotAuthenticated,
    SecondFactorRequired,
    UnknownSubject,
)
from ddsd.keys.hierarchy import new_secret, split_token_key
from ddsd.keys.token import TokenContents, TokenPurpose, open_token, seal_token
from ddsd.keys.unlocked import Unlocked, unlock_by_session
from ddsd.notices import maintenance
from ddsd.users.tables import SecondFactor, Session, SessionKind, User
from ddsd.work import Services, Work

PARTIAL_LIFETIME: Final = timedelta(minutes=30)
"""How long a token that has only the password is good for the second factor."""
_LONGEST_AGENT: Final = 200
# Made once: every request runs it, and making it takes as long as running it.
_FIND: Final = (
    select(Session, User, maintenance.switch())
    .join(User, User.columns().id == Session.columns().user_id)
    .where(Session.columns().uid == bindparam("session"))
)


@dataclass(frozen=True)
class _Origin:
    address: str
    kind: SessionKind
    agent: str


@dataclass(frozen=True)
class Caller:
    """Somebody with a good token: who they are, and how to open their private key if it is needed."""

    member: Member
    user: User
    session: Session
    contents: TokenContents

    def unlock(self) -> Unlocked:
        """Open the person's private key.

        Raises:
            KeyAtClient: this login never gave us the key.
            SealBroken: the row was tampered with.
        """
        sealed = self.session.sealed_private_key
        if sealed is None:
            raise KeyAtClient(
                "You logged in without sending your password, so the service cannot open your keys. "
                "Let your client open what is needed, or log in with your password."
            )
        split = split_token_key(self.contents.token_key, session=self.session.uid)
        return unlock_by_session(sealed, split=split, user_uid=self.user.uid)


async def start(
    work: Work,
    user: User,
    unlocked: Unlocked | None,
    address: str,
    *,
    kind: SessionKind = SessionKind.API,
    agent: str = "",
) -> str:
    """Begin a session after the right password; return the partial token, good only for the second factor.

    Args:
        work: the transaction.
        user: whose.
        unlocked: the private key that the session carries; ``None``: the client alone opens it.
        address: the client's network address.
        kind: where the token is kept.
        agent: what the client calls itself; of it 200 printable characters are kept.
    """
    origin = _Origin(address, kind, "".join(filter(str.isprintable, agent))[:_LONGEST_AGENT])
    expires_at = work.now + timedelta(hours=work.services.settings.security.session_hours)
    return _open_row(work, user, unlocked, TokenPurpose.PARTIAL, expires_at, origin)


async def complete(work: Work, caller: Caller) -> str:
    """Replace the partial session by a full one after the second factor; return the session token.

    It ends when the partial one would have: the second factor does not prolong it (wire contract, section 2.3).

    Raises:
        NotAuthenticated: the partial session was ended or completed at this moment.
    """
    partial = caller.session
    unlocked = None if partial.sealed_private_key is None else caller.unlock()
    # Locked, so that whoever ends all sessions of the account finds either the partial one or the full one.
    users, table = User.columns(), Session.columns()
    await work.session.execute(
        select(users.id).where(users.id == caller.user.id).with_for_update(key_share=True)
    )
    replaced = await work.session.execute(
        delete(Session).where(table.id == partial.id, table.revoked_at.is_(None))
    )
    if not affected(replaced):
        raise NotAuthenticated("Expired token")
    origin = _Origin(partial.address, partial.kind, partial.agent)
    return _open_row(work, caller.user, unlocked, TokenPurpose.SESSION, partial.expires_at, origin)


async def find(work: Work, token: str) -> Caller:
    """Return whose token this is, whether or not the second factor was given.

    Raises:
        NotAuthenticated: it is none of ours, altered, expired, or its session was ended.
        UnknownSubject: its account or session is gone.
        Forbidden: the account is deactivated.
        UnderMaintenance: the service is closed for this role.
    """
    return await find_opened(work, opened(work.services, token))


async def find_opened(work: Work, contents: TokenContents) -> Caller:
    """Return whose token said this, like :func:`find`; nobody but :func:`opened` may have made ``contents``.

    Raises:
        NotAuthenticated, UnknownSubject, Forbidden, UnderMaintenance: see :func:`find`.
    """
    row = (await work.session.execute(_FIND, {"session": contents.session})).one_or_none()
    if row is None:
        raise UnknownSubject("Invalid token. Try reauthenticating.")
    session, user, closed = row
    split = split_token_key(contents.token_key, session=session.uid)
    if not split.matches(session.verifier):
        raise NotAuthenticated("Invalid token")
    _check_alive(session, contents, work.now)
    if not user.active:
        raise Forbidden("Your account has been deactivated. You cannot use the DDS.")
    maintenance.check_open(user.role, closed=bool(closed))
    return Caller(member_of(user, session.id), user, session, contents)


def opened(services: Services, token: str) -> TokenContents:
    """Return what a token says that this service has made; its session may have ended. No lookup.

    Raises:
        NotAuthenticated: it is none of ours, altered, or its time is up.
    """
    return open_token(token, key=services.instance_key.token_key, now=services.clock.now())


def require_second_factor(caller: Caller) -> None:
    """Refuse a session that has only the password.

    Raises:
        SecondFactorRequired: so it is.
    """
    if caller.contents.purpose is TokenPurpose.SESSION and caller.session.second_factor_at:
        return
    raise SecondFactorRequired(
        "Two-factor authentication is required! Please check your primary e-mail!"
        if caller.user.second_factor is SecondFactor.MAIL
        else "Two-factor authentication is required! "
    )


async def living(work: Work, user_id: int) -> Sequence[Session]:
    """Return the account's sessions that are good now and have had the second factor, newest first."""
    table = Session.columns()
    found = await work.session.execute(
        select(Session)
        .where(
            table.user_id == user_id,
            table.revoked_at.is_(None),
            table.second_factor_at.is_not(None),
            table.expires_at > work.now,
        )
        .order_by(table.created_at.desc(), table.id.desc())
    )
    return found.scalars().all()


async def end_one(work: Work, user_id: int, uid: str, because: str) -> int:
    """End one session of an account, if it is theirs and alive; return how many were."""
    return await _end(
        work, because, Session.columns().user_id == user_id, Session.columns().uid == uid
    )


async def end_all(work: Work, user_id: int, because: str, *, but: int | None = None) -> int:
    """End every session of an account, except the one numbered ``but``; return how many were alive."""
    table = Session.columns()
    others = [table.id != but] if but is not None else []
    return await _end(work, because, table.user_id == user_id, *others)


async def _end(work: Work, because: str, *which: ColumnElement[bool]) -> int:
    ended = await work.session.execute(
        update(Session)
        .where(Session.columns().revoked_at.is_(None), *which)
        .values(revoked_at=work.now, revoked_because=because)
    )
    return affected(ended)


async def forget_old(work: Work, keep: timedelta = timedelta(days=7)) -> int:
    """Remove sessions that have ended longer than ``keep`` ago, and partial ones nobody completed."""
    table = Session.columns()
    gone = await work.session.execute(
        delete(Session).where(
            or_(
                table.expires_at < work.now - keep,
                table.revoked_at < work.now - keep,
                table.second_factor_at.is_(None) & (table.created_at < work.now - keep),
            )
        )
    )
    return affected(gone)


def member_of(user: User, session_id: int) -> Member:
    """Return the actor that an account is."""
    return Member(
        user_id=user.id,
        uid=user.uid,
        username=user.username,
        name=user.name,
        role=user.role,
        unit_id=user.unit_id,
        session_id=session_id,
    )


def _open_row(
    work: Work,
    user: User,
    unlocked: Unlocked | None,
    purpose: TokenPurpose,
    expires_at: datetime,
    origin: _Origin,
) -> str:
    token_key, uid = new_secret(), uuid.uuid4().hex
    split = split_token_key(token_key, session=uid)
    full = purpose is TokenPurpose.SESSION
    work.session.add(
        Session(
            uid=uid,
            user_id=user.id,
            verifier=split.verifier,
            sealed_private_key=unlocked.seal_for_session(split) if unlocked else None,
            created_at=work.now,
            expires_at=expires_at,
            second_factor_at=work.now if full else None,
            address=origin.address,
            kind=origin.kind,
            agent=origin.agent,
        )
    )
    contents = TokenContents(purpose, uid, token_key, expires_at if full else None)
    return seal_token(contents, key=work.services.instance_key.token_key)


def _check_alive(session: Session, contents: TokenContents, now: datetime) -> None:
    if session.revoked_at is not None:
        if session.revoked_because == "password reset":
            raise NotAuthenticated(
                "Password reset performed after last authentication. "
                "Start a new authenticated session to proceed."
            )
        raise NotAuthenticated("Expired token")
    partial = contents.purpose is TokenPurpose.PARTIAL
    if session.expires_at <= now or (partial and session.created_at + PARTIAL_LIFETIME <= now):
        raise NotAuthenticated("Expired token")
