"""Who there is: accounts by address, by name, by unit. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from ddsd.access import UNIT_ROLES, Action, Role, require, require_member
from ddsd.errors import InvalidInput
from ddsd.units.tables import Unit
from ddsd.users import accounts, invites, names
from ddsd.users.tables import Invite, User, UserEmail
from ddsd.work import Work


@dataclass(frozen=True)
class Listed:
    """Accounts; ``unit`` is the name of the unit they all work for, if they do."""

    people: Sequence[accounts.Listed]
    unit: str | None


async def listing(work: Work, unit_public_id: str | None) -> Listed:
    """Return the accounts of a unit, or all, by username.

    Args:
        work: the transaction.
        unit_public_id: for super admins: whose; everybody's if ``None``. Others get their own unit's.

    Raises:
        Forbidden: the caller may not.
        InvalidInput: there is no such unit.
    """
    member = require_member(work.actor, Action.LIST_PEOPLE)
    unit = await _unit_to_list(work, member.unit_id, unit_public_id)
    found = await accounts.listing(work, unit.public_id if unit else None)
    return Listed(found, unit.name if unit else None)


async def is_taken(work: Work, username: str) -> bool:
    """Say whether there is an account of this name, in whatever case it is written.

    Raises:
        Forbidden: the caller may not ask.
    """
    require(work.actor, Action.FIND_PEOPLE)
    found = await work.session.execute(
        select(User.columns().username).where(
            User.columns().username_folded == names.fold(username)
        )
    )
    # What is stored is shared by look-alikes too, and those are other names.
    return any(str(one).lower() == username.lower() for (one,) in found)


async def unit_addresses(work: Work) -> Sequence[str]:
    """Return the primary address of everybody who works for a unit, by username.

    Raises:
        Forbidden: the caller may not ask.
    """
    require(work.actor, Action.FIND_PEOPLE)
    emails, users = UserEmail.columns(), User.columns()
    found = await work.session.execute(
        select(emails.email)
        .join(User, users.id == emails.user_id)
        .where(users.role.in_(UNIT_ROLES), emails.is_primary)
        .order_by(users.username)
    )
    return [str(email) for (email,) in found]


async def find(work: Work, email: str, *, for_change: bool = False) -> User | Invite | None:
    """Return the account that has this address, else the invite that waits for it.

    Args:
        work: the transaction.
        email: a valid address.
        for_change: lock the row until the transaction ends, so that it is neither removed nor, being an invite, turned
            into an account. Projects are to be locked before people.

    Raises:
        InvalidInput: it is no address.
    """
    user = await find_account(work, email, for_change=for_change)
    if user is not None:
        return user
    invite = await invites.find(work, email, for_change=for_change)
    # They may have registered since we looked for the account.
    return invite or await find_account(work, email, for_change=for_change)


async def find_account(work: Work, email: str, *, for_change: bool = False) -> User | None:
    """Return the account that has this address; ``for_change`` as for :func:`find`.

    Raises:
        InvalidInput: it is no address.
    """
    query = (
        select(User)
        .join(UserEmail, UserEmail.columns().user_id == User.columns().id)
        .where(UserEmail.columns().email == accounts.normal_email(email))
    )
    if for_change:
        query = query.with_for_update(of=User).execution_options(populate_existing=True)
    return (await work.session.execute(query)).scalar_one_or_none()


async def count_admins(work: Work, unit_id: int) -> int:
    """Return how many active unit admins a unit has."""
    table = User.columns()
    found = await work.session.execute(
        select(func.count()).where(
            table.unit_id == unit_id, table.role == Role.UNIT_ADMIN, table.active.is_(True)
        )
    )
    return int(found.scalar_one())


async def count_admins_with_password(work: Work, unit_id: int) -> int:
    """Return how many of a unit's active admins have chosen a password, and so can log in."""
    table = User.columns()
    query = select(func.count()).where(
        table.unit_id == unit_id,
        table.role == Role.UNIT_ADMIN,
        table.active.is_(True),
        table.password_set_at.is_not(None),
    )
    return (await work.session.scalar(query)) or 0


async def _unit_to_list(
    work: Work, own_unit_id: int | None, unit_public_id: str | None
) -> Unit | None:
    if own_unit_id is not None:
        return await work.session.get_one(Unit, own_unit_id)
    if unit_public_id is None:
        return None
    found = await work.session.execute(
        select(Unit).where(Unit.columns().public_id == unit_public_id)
    )
    unit = found.scalar_one_or_none()
    if unit is None:
        raise InvalidInput(f"There is no unit with the public id '{unit_public_id}'.")
    return unit
