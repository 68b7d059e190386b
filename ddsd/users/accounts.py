"""Accounts: made by an operator, finished by the person, who alone chooses the password."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ddsd.access import UNIT_ROLES, Role
from ddsd.audit import trail
from ddsd.errors import AlreadyExists, InvalidFields, InvalidInput, NotFound
from ddsd.units.tables import Unit
from ddsd.users import first_password
from ddsd.users.tables import User, UserEmail
from ddsd.work import Work

# The names the stock system allows (wire contract, section 10).
_USERNAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,30}")
_LONGEST_NAME: Final = 255


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
        username: 3 to 30 of ``A-Z a-z 0-9 _ . -``; compared exactly, but no two may differ in case only.
        name: how the person is shown.
        email: where they are written to.
        role: what they are.
        unit_public_id: their unit; required for unit roles and refused for others.

    Raises:
        InvalidFields: the names or the address cannot be used.
        InvalidInput: role and unit do not fit.
        NotFound: there is no such unit.
        AlreadyExists: the username or the address is taken.
    """
    address = _check_fields(username, name, email)
    unit = await _unit_for(work, role, unit_public_id)
    await _require_free(work, username, address)
    user = User(
        uid=uuid.uuid4().hex,
        username=username,
        username_folded=username.lower(),
        name=name.strip(),
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
    link = await first_password.issue(work, user)
    hours = work.services.settings.security.set_password_hours
    return NewAccount(user, address, link, hours)


async def listing(
    work: Work, unit_public_id: str | None = None
) -> Sequence[tuple[User, str, str | None]]:
    """Return accounts with their primary address and their unit's public id, by username."""
    users, emails, units = User.columns(), UserEmail.columns(), Unit.columns()
    query = (
        select(User, emails.email, units.public_id)
        .join(UserEmail, (emails.user_id == users.id) & emails.is_primary)
        .outerjoin(Unit, units.id == users.unit_id)
        .order_by(users.username)
    )
    if unit_public_id is not None:
        query = query.where(units.public_id == unit_public_id)
    found = await work.session.execute(query)
    return [(user, email, unit) for user, email, unit in found]


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


def normal_email(email: str) -> str:
    """Return the address as it is stored and compared: valid, composed, lower-case.

    Raises:
        InvalidInput: it is no address (no lookup is made).
    """
    try:
        return validate_email(
            email, check_deliverability=False, test_environment=True
        ).normalized.lower()
    except EmailNotValidError as wrong:
        raise InvalidInput(str(wrong)) from None


def _check_fields(username: str, name: str, email: str) -> str:
    wrong: dict[str, list[str]] = {}
    if not _USERNAME.fullmatch(username):
        wrong["username"] = ["Use 3 to 30 letters (a-z), digits, '_', '.' or '-'."]
    if not 2 <= len(name.strip()) <= _LONGEST_NAME or not name.isprintable():
        wrong["name"] = [f"Use 2 to {_LONGEST_NAME} printable characters."]
    address = ""
    try:
        address = normal_email(email)
    except InvalidInput as no:
        wrong["email"] = [no.message]
    if wrong:
        raise InvalidFields(wrong)
    return address


async def _unit_for(work: Work, role: Role, unit_public_id: str | None) -> Unit | None:
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


async def _require_free(work: Work, username: str, address: str) -> None:
    taken = await work.session.execute(
        select(User.columns().id).where(User.columns().username_folded == username.lower())
    )
    if taken.first():
        raise AlreadyExists(f"The username '{username}' is taken.")
    used = await work.session.execute(
        select(UserEmail.columns().id).where(UserEmail.columns().email == address)
    )
    if used.first():
        raise AlreadyExists(f"The address '{address}' belongs to an account already.")
