"""Accounts: made by an operator, finished by the person, who alone chooses the password."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import IntegrityError

from ddsd.access import UNIT_ROLES, Action, Role, require
from ddsd.audit import trail
from ddsd.db.base import Table
from ddsd.errors import AlreadyExists, Conflict, InvalidFields, InvalidInput, NotFound
from ddsd.keys import service as keys
from ddsd.units.tables import Unit
from ddsd.users import first_password, names
from ddsd.users.names import normal_email as normal_email
from ddsd.users.tables import Invite, Passkey, RecoveryCode, User, UserEmail
from ddsd.work import Work


@dataclass(frozen=True)
class NewAccount:
    """An account that waits for its person: ``link`` is shown once and sets the password."""

    user: User
    email: str
    link: str
    link_hours: int


async def create(
    work: Work, *, username: str, name: str, email: str, role: Role, unit_public_id: str | None
) -> NewAccount:
    """Make an account without a password, and the one-time link with which its person sets one.

    Args:
        work: the transaction.
        username: 3 to 30 of ``A-Z a-z 0-9 _ . -``; compared exactly, but no two may look alike.
        name: how the person is shown.
        email: where they are written to.
        role: what they are.
        unit_public_id: their unit; required for unit roles and refused for others.

    Raises:
        InvalidFields: the names or the address cannot be used.
        InvalidInput: role and unit do not fit.
        NotFound: there is no such unit.
        AlreadyExists: the username or the address is taken, or the address has been invited.
    """
    address = _check_fields(username, name, email)
    unit = await unit_for(work, role, unit_public_id)
    await _require_free(work, username, address)
    user = User(
        uid=uuid.uuid4().hex,
        username=username,
        username_folded=names.fold(username),
        name=names.shown(name),
        role=role,
        unit_id=unit.id if unit else None,
        created_at=work.now,
    )
    work.session.add(user)
    try:
        await work.session.flush()
        work.session.add(UserEmail(user_id=user.id, email=address, is_primary=True))
        await work.session.flush()
    except IntegrityError:  # somebody else took it since we looked
        raise AlreadyExists(
            f"The username '{username}' or the address '{address}' was taken just now."
        ) from None
    trail.record(work, "user.create", username, role=role.value, unit=unit_public_id, email=address)
    return await _with_link(work, user, address)


@dataclass(frozen=True, slots=True)
class Listed:
    """An account as a list shows it; ``email`` is the primary address."""

    username: str
    name: str
    email: str
    role: Role
    unit_public_id: str | None
    active: bool
    has_password: bool
    created_at: datetime


async def listing(work: Work, unit_public_id: str | None = None) -> Sequence[Listed]:
    """Return accounts by username. One query, and no more of each row than is shown: there may be ten thousand."""
    users, emails, units = User.columns(), UserEmail.columns(), Unit.columns()
    query = (
        select(
            users.username,
            users.name,
            emails.email,
            users.role,
            units.public_id,
            users.active,
            users.auth_verifier.is_not(None),
            users.created_at,
        )
        .join(UserEmail, (emails.user_id == users.id) & emails.is_primary)
        .outerjoin(Unit, units.id == users.unit_id)
        .order_by(users.username)
    )
    if unit_public_id is not None:
        query = query.where(units.public_id == unit_public_id)
    found = await work.session.execute(query)
    return [Listed(*row) for row in found]


async def find(work: Work, username: str) -> User:
    """Return the account of this name, compared exactly.

    Raises:
        NotFound: there is none; one that only looks alike is named.
    """
    table = User.columns()
    found = await work.session.scalars(
        select(User).where(table.username_folded == names.fold(username))
    )
    user = found.one_or_none()
    if user is None:
        raise NotFound(f"There is no account '{username}'. See: ddsctl user ls")
    if user.username != username:
        raise NotFound(f"There is no account '{username}'. Did you mean '{user.username}'?")
    return user


async def new_link(work: Work, user: User) -> NewAccount:
    """Make a new link for somebody who has not set a password yet; the earlier one is worthless from now on.

    Raises:
        Conflict: they have a password, or the account is deactivated.
    """
    if user.auth_verifier is not None:
        raise Conflict(
            f"{user.username} has a password already. If it is forgotten, they reset it themselves on "
            f"{work.services.settings.instance.public_url}."
        )
    if not user.active:
        raise Conflict(
            f"The account {user.username} is deactivated. First: ddsctl user activate {user.username}"
        )
    email, *_ = await emails_of(work, user.id)
    trail.record(work, "user.new_link", user.username)
    return await _with_link(work, user, email)


@dataclass(frozen=True)
class Details:
    """What an operator may know of an account beside its row. ``projects`` counts the keys it holds."""

    listed: Listed
    emails: Sequence[str]
    passkeys: int
    recovery_codes: int
    projects: int


async def details(work: Work, user: User) -> Details:
    """Return what hangs on an account; nothing of it opens anything.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    unit = await work.session.get(Unit, user.unit_id) if user.unit_id else None
    codes, emails = RecoveryCode.columns(), await emails_of(work, user.id)
    return Details(
        listed=Listed(
            user.username,
            user.name,
            emails[0],
            user.role,
            unit.public_id if unit else None,
            user.active,
            user.auth_verifier is not None,
            user.created_at,
        ),
        emails=emails,
        passkeys=await _count(work, Passkey, Passkey.columns().user_id == user.id),
        recovery_codes=await _count(
            work, RecoveryCode, codes.user_id == user.id, codes.used_at.is_(None)
        ),
        projects=len(await keys.held_projects(work, user_id=user.id)),
    )


async def rename(work: Work, user: User, name: str) -> None:
    """Change how a person is shown.

    Raises:
        InvalidFields: the name cannot be used.
    """
    misfits = names.name_misfits(name)
    if misfits:
        raise InvalidFields({"name": misfits})
    before, user.name = user.name, names.shown(name)
    if user.name != before:
        trail.record(work, "user.rename", user.username, before=before, now=user.name)


async def emails_of(work: Work, user_id: int) -> list[str]:
    """Return an account's addresses, the primary one first."""
    table = UserEmail.columns()
    found = await work.session.execute(
        select(table.email)
        .where(table.user_id == user_id)
        .order_by(table.is_primary.desc(), table.id)
    )
    return [str(email) for (email,) in found]


async def find_by_email(work: Work, email: str) -> User | None:
    """Return the account that has this address."""
    emails = UserEmail.columns()
    found = await work.session.execute(
        select(User)
        .join(UserEmail, emails.user_id == User.columns().id)
        .where(emails.email == normal_email(email))
    )
    return found.scalar_one_or_none()


async def unit_for(work: Work, role: Role, unit_public_id: str | None) -> Unit | None:
    """Return the unit that somebody of this role is to work for; ``None`` for roles that have none.

    Raises:
        InvalidInput: role and unit do not fit.
        NotFound: there is no such unit.
    """
    if role not in UNIT_ROLES:
        if unit_public_id is not None:
            raise InvalidInput(f"A {role.value} belongs to no unit: leave the unit out.")
        return None
    if unit_public_id is None:
        raise InvalidInput(f"A {role.value} belongs to a unit: say which one.")
    found = await work.session.execute(
        select(Unit).where(Unit.columns().public_id == unit_public_id)
    )
    unit = found.scalar_one_or_none()
    if unit is None:
        raise NotFound(f"There is no unit '{unit_public_id}'. See: ddsctl unit ls")
    return unit


async def _with_link(work: Work, user: User, address: str) -> NewAccount:
    link = await first_password.issue(work, user)
    return NewAccount(user, address, link, work.services.settings.security.set_password_hours)


async def _count(work: Work, table: type[Table], *where: ColumnElement[bool]) -> int:
    counted = await work.session.scalar(select(func.count()).select_from(table).where(*where))
    return counted or 0


def _check_fields(username: str, name: str, email: str) -> str:
    wrong = {"username": names.username_misfits(username), "name": names.name_misfits(name)}
    address = ""
    try:
        address = normal_email(email)
    except InvalidInput as no:
        wrong["email"] = [no.message]
    if any(wrong.values()):
        raise InvalidFields({field: why for field, why in wrong.items() if why})
    return address


async def _require_free(work: Work, username: str, address: str) -> None:
    taken = await work.session.execute(
        select(User.columns().username).where(
            User.columns().username_folded == names.fold(username)
        )
    )
    other = taken.scalar()
    if other is not None:
        raise AlreadyExists(
            f"The username '{username}' is taken."
            if other == username
            else f"The username '{username}' looks like '{other}', which is taken."
        )
    used = await work.session.execute(
        select(UserEmail.columns().id).where(UserEmail.columns().email == address)
    )
    if used.first():
        raise AlreadyExists(f"The address '{address}' belongs to an account already.")
    invites = Invite.columns()
    pending = await work.session.execute(
        select(invites.role).where(invites.email == address, invites.expires_at > work.now)
    )
    role = pending.scalar()
    if role is not None:
        raise AlreadyExists(
            f"The address '{address}' has been invited as {role.value}: wait until the invite is accepted, "
            f"or withdraw it first (ddsctl invite delete {address})."
        )
