"""Invites that wait: who sees them, and who may take them back.

Everybody sees of an invite only the projects that concern them. Two statements, however many invites there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, select, true

from ddsd.access import UNIT_ROLES, Action, Member, Role, require_member
from ddsd.errors import Forbidden, NotFound
from ddsd.keys.tables import KeyWrap
from ddsd.projects.tables import Membership, Project
from ddsd.units.tables import Unit
from ddsd.users import invites
from ddsd.users.tables import Invite
from ddsd.work import Work


@dataclass(frozen=True)
class Waiting:
    """An invite as one caller sees it: ``projects`` by public id, ``owner`` of any of these, ``unit`` by name."""

    email: str
    role: Role
    owner: bool
    projects: Sequence[str]
    unit: str | None
    created_at: datetime


@dataclass(frozen=True)
class _Place:
    """One project that waits in an invite."""

    project: str
    owner: bool


@dataclass(frozen=True, slots=True)
class _Alive:
    """Of an invite what a list needs: there may be ten thousand, and the rest of each row is large."""

    id: int
    email: str
    role: Role
    unit_id: int | None
    created_at: datetime
    unit: str | None


async def listing(work: Work) -> Sequence[Waiting]:
    """Return the invites the caller may see, oldest first; those that have expired are gone.

    Super admins see all; unit users those to their unit and those of researchers to its projects; owners those to
    the projects they own.

    Raises:
        Forbidden: the caller is a researcher and owns no project.
    """
    member = require_member(work.actor, Action.LIST_INVITES)
    visible = await _visible_projects(work, member)
    places = await _places(work, visible)
    return [
        Waiting(
            invite.email,
            invite.role,
            any(place.owner for place in places[invite.id]),
            [place.project for place in places[invite.id]],
            invite.unit,
            invite.created_at,
        )
        for invite in await _alive(work)
        if _is_shown(member, invite, places)
    ]


async def withdraw(work: Work, email: str) -> None:
    """Take back the invite that waits for this address.

    Super admins may take back any; a unit admin those to their unit, and those of researchers who are
    invited to nobody else's projects.

    Raises:
        Forbidden: the caller may not take back this one.
        NotFound: there is none.
    """
    member = require_member(work.actor, Action.DELETE_PEOPLE)
    invite = await invites.find(work, email, for_change=True)
    if invite is None:
        raise NotFound(f"There is no invite connected to the email '{email}'.")
    if not await _may_withdraw(work, member, invite):
        raise Forbidden("You do not have the correct permissions to delete this invite.")
    await invites.withdraw(work, invite)


async def _visible_projects(work: Work, member: Member) -> ColumnElement[bool]:
    projects = Project.columns()
    match member.role:
        case Role.SUPER_ADMIN:
            return true()
        case Role.UNIT_ADMIN | Role.UNIT_PERSONNEL:
            return and_(projects.unit_id == member.unit_id)
        case Role.RESEARCHER:
            return and_(projects.id.in_(await _owned(work, member)))


async def _owned(work: Work, member: Member) -> Sequence[int]:
    table = Membership.columns()
    found = await work.session.execute(
        select(table.project_id).where(table.user_id == member.user_id, table.owner.is_(True))
    )
    owned = [int(number) for (number,) in found]
    if not owned:
        raise Forbidden(
            "You need to have the role 'Project Owner' in at least one project to be able to list any invites."
        )
    return owned


async def _places(work: Work, visible: ColumnElement[bool]) -> Mapping[int, Sequence[_Place]]:
    """Return what waits in each invite: the projects it holds a key of, as those who work for a unit do, or is in."""
    projects, members, wraps = Project.columns(), Membership.columns(), KeyWrap.columns()
    found = await work.session.execute(
        select(wraps.invite_id, projects.public_id, members.owner)
        .join(Project, projects.id == wraps.project_id)
        .outerjoin(
            Membership,
            (members.project_id == projects.id) & (members.invite_id == wraps.invite_id),
        )
        .where(wraps.invite_id.is_not(None), visible)
        .order_by(projects.id)
    )
    places: defaultdict[int, list[_Place]] = defaultdict(list)
    for invite_id, public_id, owner in found:
        places[invite_id].append(_Place(public_id, bool(owner)))
    return places


async def _alive(work: Work) -> Iterable[_Alive]:
    invited, units = Invite.columns(), Unit.columns()
    found = await work.session.execute(
        select(
            invited.id,
            invited.email,
            invited.role,
            invited.unit_id,
            invited.created_at,
            units.name,
        )
        .outerjoin(Unit, units.id == invited.unit_id)
        .where(invited.expires_at > work.now)
        .order_by(invited.id)
    )
    return [_Alive(*row) for row in found]


def _is_shown(member: Member, invite: _Alive, places: Mapping[int, Sequence[_Place]]) -> bool:
    if member.role is Role.SUPER_ADMIN:
        return True
    if invite.role in UNIT_ROLES:
        return invite.unit_id == member.unit_id
    return invite.role is Role.RESEARCHER and bool(places[invite.id])


async def _may_withdraw(work: Work, member: Member, invite: Invite) -> bool:
    if member.role is Role.SUPER_ADMIN:
        return True
    if invite.role is not Role.RESEARCHER:
        return invite.unit_id is not None and invite.unit_id == member.unit_id
    projects, members = Project.columns(), Membership.columns()
    found = await work.session.execute(
        select(projects.id)
        .join(Membership, members.project_id == projects.id)
        .where(members.invite_id == invite.id, projects.unit_id != member.unit_id)
    )
    return found.first() is None
