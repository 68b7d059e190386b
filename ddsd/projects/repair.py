"""Giving somebody back the keys they have lost, by somebody who still holds them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from ddsd.access import Action, Member, Role, require_member
from ddsd.audit import trail
from ddsd.errors import Forbidden, NotFound
from ddsd.keys import service as keys
from ddsd.keys.unlocked import Unlocked
from ddsd.projects import gate, membership
from ddsd.projects.tables import Membership, Project
from ddsd.users.tables import User
from ddsd.work import Work


async def fix(
    work: Work, unlocked: Unlocked, person: User, project: Project | None
) -> Sequence[str]:
    """Share the keys of active projects with somebody who has lost them.

    A researcher who is not in ``project`` is in it afterwards (wire contract, section 4, proj/access).

    Args:
        work: the transaction.
        unlocked: the caller's opened key.
        person: whom to help.
        project: which; all that person and unit have in common if ``None``.

    Returns:
        The public ids of projects whose key the caller does not hold either.

    Raises:
        Forbidden: the caller may not help this person, or the person has no key pair yet.
        NotFound: the account was deleted meanwhile.
    """
    member = require_member(work.actor, Action.MANAGE_ACCESS)
    _require_may_fix(member, person)
    if project is not None:
        gate.require_sharer(member, project)
    wanted = await _projects(work, member, person, project)
    person = await _lock(work, person)
    holder = membership.holder_of(person)
    held = await keys.holds(work, person.id, [one.id for one in wanted])
    lost = [one for one in wanted if not held[one.id]]
    shared = await keys.share_many(work, unlocked, member.user_id, lost, [holder])
    mended = [one for one in lost if one.public_id not in shared.lacking]
    await _associate(work, mended, person)
    for one in mended:
        trail.record(work, "project.fix_access", one.public_id, person=person.username)
    return shared.lacking


def _require_may_fix(member: Member, person: User) -> None:
    if person.id == member.user_id:
        raise Forbidden("You cannot renew your own access.")
    match person.role:
        case Role.RESEARCHER:
            return
        case Role.UNIT_PERSONNEL:
            helpful = member.is_unit_user
        case Role.UNIT_ADMIN:
            helpful = member.role is Role.UNIT_ADMIN
        case Role.SUPER_ADMIN:
            helpful = False
    if not helpful or person.unit_id != member.unit_id:
        raise Forbidden(
            "You do not have the necessary permissions to shared project access with this user."
        )


async def _projects(
    work: Work, member: Member, person: User, project: Project | None
) -> Sequence[Project]:
    """Return the active projects in question, locked, in the order in which everybody locks them."""
    table = Project.columns()
    query = select(Project).where(table.active.is_(True))
    if project is not None:
        query = query.where(table.id == project.id)
    elif person.role is Role.RESEARCHER:
        members = Membership.columns()
        theirs = select(members.project_id).where(members.user_id == person.id)
        query = query.where(table.unit_id == member.unit_id, table.id.in_(theirs))
    else:
        query = query.where(table.unit_id == member.unit_id)
    found = await work.session.execute(query.order_by(table.id).with_for_update())
    return found.scalars().all()


async def _lock(work: Work, person: User) -> User:
    found = await work.session.get(User, person.id, populate_existing=True, with_for_update=True)
    if found is None:
        raise NotFound("User not found.")
    return found


async def _associate(work: Work, projects: Sequence[Project], person: User) -> None:
    if person.role is not Role.RESEARCHER:
        return
    for project in projects:
        if await membership.find(work, project, person) is None:
            work.session.add(Membership(project_id=project.id, user_id=person.id))
