"""Accounts are deleted here: by those who may, or by the person, who confirms by a mailed link.

Invariant: with an account go its addresses, sessions, memberships and wrapped keys, in one transaction; the projects
it made and the audit log stay. The last holder of a project's key goes only if somebody has said so in so many words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import select

from ddsd.access import (
    NOT_THIS_ROLE,
    UNIT_ROLES,
    Action,
    Member,
    Operator,
    Role,
    System,
    require_member,
)
from ddsd.audit import trail
from ddsd.errors import Busy, Conflict, Forbidden, NotFound
from ddsd.keys import service as keys
from ddsd.mail import outbox
from ddsd.secret import SecretText
from ddsd.units.tables import Unit
from ddsd.users import accounts, directory, links, standing
from ddsd.users.tables import LinkKind, OneTimeLink, User
from ddsd.work import Services, Work, transaction

CONFIRM_DAYS: Final = 7
"""How long the mailed link works (wire contract, section 9)."""
_ENOUGH_ADMINS: Final = 3


@dataclass(frozen=True)
class Removed:
    """An account that is no more."""

    username: str
    email: str
    role: Role


@dataclass(frozen=True)
class Requested:
    """Where the link to confirm with was mailed; not ``mailed`` if an earlier one is still good."""

    email: str
    mailed: bool


async def delete(work: Work, user: User, *, confirmed: bool = False) -> Removed:
    """Delete somebody's account.

    Args:
        work: the transaction; its actor is who decides.
        user: whose account; not the actor's own.
        confirmed: also if the keys of some projects are lost with it for good.

    Raises:
        Forbidden: the actor may not, or it holds the last key of a project.
        Conflict: a unit admin may not (texts of the wire contract, section 4, user/delete), or it is their own.
        NotFound: it was deleted meanwhile.
        Busy: it was let into a project meanwhile.
    """
    _require_may_delete(work, user)
    return await _delete(work, user, because="deleted by another", confirmed=confirmed)


async def request(work: Work, projects: Sequence[str]) -> Requested:
    """Mail the caller a link with which to confirm that their own account be deleted.

    Args:
        work: the transaction.
        projects: the public ids of their projects, which the letter names.

    Raises:
        Forbidden: the caller may not, or their unit would have too few admins.
    """
    member = require_member(work.actor, Action.DELETE_SELF)
    await _require_enough_admins(work, await work.session.get_one(User, member.user_id))
    user = await _lock(work, member.user_id)
    email, *_ = await accounts.emails_of(work, user.id)
    if await _has_link(work, user):
        return Requested(email, mailed=False)
    link = await links.issue(work, user, LinkKind.CONFIRM_DELETION, timedelta(days=CONFIRM_DAYS))
    await outbox.write(
        work,
        "confirm_deletion",
        email,
        secret=True,
        username=user.username,
        link=link,
        days=str(CONFIRM_DAYS),
        projects=", ".join(projects) or "no projects",
    )
    trail.record(work, "user.request_deletion", user.username)
    return Requested(email, mailed=True)


async def confirm(
    services: Services, code: SecretText, member: Member, *, confirmed: bool = False
) -> Removed:
    """Delete the account of somebody who is logged in and has the link that was mailed to them.

    Args:
        services: the process's services.
        code: the link, or the code in it.
        member: who is logged in.
        confirmed: also if the keys of some projects are lost with it for good.

    Raises:
        NotFound: no such link, it was used, or it is too old.
        Forbidden: it is another account's; their unit would have too few admins; or they hold the last key of a
            project and have not ``confirmed``.
        Busy: they were let into a project meanwhile.
    """
    secret = links.secret_of(code)
    async with transaction(services, member) as work:
        _, user = await links.find(work, LinkKind.CONFIRM_DELETION, secret)
        if user.id != member.user_id:
            raise Forbidden(
                "This link belongs to another account. Log in with that one to delete it."
            )
        await _require_enough_admins(work, user)
        return await _delete(work, user, because="deleted by themselves", confirmed=confirmed)


async def _delete(work: Work, user: User, *, because: str, confirmed: bool) -> Removed:
    held = await keys.held_projects(work, user_id=user.id)
    await keys.require_another_holder(work, held, user.id, confirmed=confirmed)
    user = await _lock(work, user.id)
    if await keys.held_projects(work, user_id=user.id) != held:
        raise Busy(f"{user.username} was given access to a project just now. Please try again.")
    email, *_ = await accounts.emails_of(work, user.id)
    removed = Removed(user.username, email, user.role)
    await standing.end_uploads(work, user)
    await work.session.delete(user)
    await work.session.flush()
    trail.record(
        work, "user.delete", removed.username, email=email, role=removed.role, because=because
    )
    return removed


def _require_may_delete(work: Work, user: User) -> None:
    match work.actor:
        case Operator() | System():
            return
        case Member(role=Role.SUPER_ADMIN):
            pass
        case Member(role=Role.UNIT_ADMIN, unit_id=unit_id):
            _require_of_unit(user, unit_id)
        case _:
            raise Forbidden(NOT_THIS_ROLE)
    if work.actor.user_id == user.id:
        raise Conflict("To delete your own account, use the '--self' flag instead!")


def _require_of_unit(user: User, unit_id: int | None) -> None:
    if user.role not in UNIT_ROLES:
        raise Conflict("You can only delete users with the role Unit Admin or Unit Personnel.")
    if user.unit_id != unit_id:
        raise Conflict(
            "As a Unit Admin, you're can only delete Unit Admins and Unit Personnel within your specific unit."
        )


async def _require_enough_admins(work: Work, user: User) -> None:
    """Refuse if the unit would be left with fewer admins than three; the unit is locked, so that none leave at once."""
    if user.role is not Role.UNIT_ADMIN or user.unit_id is None:
        return
    units = Unit.columns()
    await work.session.execute(select(units.id).where(units.id == user.unit_id).with_for_update())
    admins = await directory.count_admins(work, user.unit_id)
    if admins <= _ENOUGH_ADMINS:
        raise Forbidden(
            f"Your unit only has {admins} Unit Admins. You cannot delete your account. "
            "Invite a new Unit Admin first if you wish to proceed."
        )


async def _has_link(work: Work, user: User) -> bool:
    table = OneTimeLink.columns()
    found = await work.session.execute(
        select(table.id).where(
            table.user_id == user.id,
            table.kind == LinkKind.CONFIRM_DELETION,
            table.expires_at > work.now,
        )
    )
    return found.first() is not None


async def _lock(work: Work, user_id: int) -> User:
    user = await work.session.get(User, user_id, populate_existing=True, with_for_update=True)
    if user is None:
        raise NotFound("This account was deleted a moment ago.")
    return user
