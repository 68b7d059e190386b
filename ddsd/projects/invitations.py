"""Letting people in by their address, whether or not they have an account yet.

Who may ask whom to be what is one table here (wire contract, section 4, user/add). An invite is made whole, with the
keys that wait in it, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import select

from ddsd.access import UNIT_ROLES, Action, Member, Role, require_member
from ddsd.errors import AccessLost, Busy, Forbidden, InvalidFields, InvalidInput
from ddsd.keys import service as keys
from ddsd.keys.service import Holder
from ddsd.keys.unlocked import Unlocked
from ddsd.projects import gate, membership
from ddsd.projects.announcements import announce
from ddsd.projects.projects import Created
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit
from ddsd.users import accounts, directory, invites
from ddsd.users.tables import Invite, User
from ddsd.work import Work


class Capacity(StrEnum):
    """What somebody is asked to be: a role, or the owner of a project."""

    SUPER_ADMIN = "Super Admin"
    UNIT_ADMIN = "Unit Admin"
    UNIT_PERSONNEL = "Unit Personnel"
    PROJECT_OWNER = "Project Owner"
    RESEARCHER = "Researcher"

    @property
    def role(self) -> Role:
        """Return the role of the account: a project owner is a researcher."""
        return Role.RESEARCHER if self is Capacity.PROJECT_OWNER else Role(self.value)

    @property
    def in_projects(self) -> bool:
        """Say whether one is that in single projects."""
        return self.role is Role.RESEARCHER


_TO_PROJECTS: Final = frozenset({Capacity.PROJECT_OWNER, Capacity.RESEARCHER})
_MAY_ASK: Final[Mapping[Role, frozenset[Capacity]]] = {
    Role.SUPER_ADMIN: frozenset(Capacity),
    Role.UNIT_ADMIN: frozenset(Capacity) - {Capacity.SUPER_ADMIN},
    Role.UNIT_PERSONNEL: _TO_PROJECTS | {Capacity.UNIT_PERSONNEL},
    Role.RESEARCHER: _TO_PROJECTS,  # as owner of the project in question
}


@dataclass(frozen=True)
class Request:
    """Who is asked to be what. ``unit`` is a public id, and counts only when a super admin asks."""

    email: str
    capacity: Capacity
    unit: str | None = None
    send_email: bool = True


@dataclass(frozen=True)
class Granted:
    """Somebody known was let in, or their capacity changed."""

    person: User | Invite
    mailed: bool


@dataclass(frozen=True)
class Invited:
    """Somebody new was asked, unless ``invite`` is ``None``: then the asker held none of the keys it needs.

    ``unshared`` are the projects, by public id, whose key the asker does not hold.
    """

    invite: Invite | None
    unshared: Sequence[str]


def parse_capacity(role: object) -> Capacity:
    """Return what somebody is to be.

    Raises:
        InvalidInput: there is no such role.
    """
    if not isinstance(role, str) or role not in set(Capacity):
        raise InvalidInput("Invalid user role.")
    return Capacity(role)


async def let_in(
    work: Work, unlocked: Unlocked, request: Request, project: Project | None
) -> Granted | Invited:
    """Let somebody known into the project; ask somebody unknown to join.

    Args:
        work: the transaction, in which ``project`` is locked.
        unlocked: the caller's opened key.
        request: who, and what to be.
        project: where to, if anywhere.

    Raises:
        InvalidInput: they are known and no project is named (the fact ``field`` says so); or as for :func:`invite`.
        Forbidden: the caller may not, holds no key, or the person cannot be in projects.
        AlreadyExists: they are in it, in that capacity.
    """
    person = await directory.find(work, request.email, for_change=True)
    if person is None:
        try:
            async with work.session.begin_nested():
                return await invite(work, unlocked, request, project)
        except Busy:
            person = await directory.find(work, request.email, for_change=True)
            if person is None:
                raise
    if project is None:
        raise InvalidInput(
            "This user was already added to the system. Specify the project you wish to give access to.",
            field="project",
        )
    return await _grant(work, unlocked, request, project, person)


async def invite(
    work: Work, unlocked: Unlocked, request: Request, project: Project | None
) -> Invited:
    """Ask somebody who has neither account nor invite to join; the mail with the link is always sent.

    Somebody who is to work for a unit gets the keys of all its active projects that the caller holds; anybody else
    that of ``project``.

    Args:
        work: the transaction.
        unlocked: the caller's opened key.
        request: who, and what to be.
        project: where to; has no effect on those who are to work for a unit.

    Raises:
        InvalidInput: project, unit and capacity do not fit; the fact ``field`` names the unit if that is meant.
        Forbidden: the caller may not ask anybody to be that.
        Busy: somebody else invites the same person at this moment.
    """
    member = require_member(work.actor, Action.ADD_PEOPLE)
    _require_may_ask(member, request.capacity, project)
    unit = await _unit_of(work, member, request)
    wanted = await _to_share(work, member, unit, project)
    held = await keys.holds(work, member.user_id, [one.id for one in wanted])
    unshared = [one.public_id for one in wanted if not held[one.id]]
    if wanted and len(unshared) == len(wanted):
        return Invited(None, unshared)
    made = await _create(work, request, unit)
    holder = Holder(public=made.public_key, invite_id=made.id)
    await keys.share_many(work, unlocked, member.user_id, wanted, [holder])
    if project is not None and request.capacity.in_projects:
        owner = request.capacity is Capacity.PROJECT_OWNER
        membership.associate(work, project, made, owner=owner)
    return Invited(made, unshared)


async def add_or_invite(work: Work, made: Created, email: object, role: object) -> str:
    """Let somebody into a new project; return what was done, as a sentence.

    Args:
        work: the transaction.
        made: the project and its private key.
        email: whom to let in.
        role: ``Researcher`` or ``Project Owner``.

    Raises:
        InvalidFields: it is no e-mail address.
        InvalidInput: there is no such role.
        Forbidden: the role belongs to a unit, they work for one, or they cannot hold a key yet.
        AlreadyExists: they are in it.
    """
    address, capacity = _check_email(email), parse_capacity(role)
    _require_for_projects(capacity)
    owner = capacity is Capacity.PROJECT_OWNER
    user = await accounts.find_by_email(work, address)
    if user is not None:
        await membership.add(work, made.project, made.pair.private, user, owner=owner)
        return (
            f"User {user.username} was given access to the Project {made.project.public_id} as a "
            f"{role}. An e-mail notification has not been sent."
        )
    invite = await invites.find(work, address) or await _invite(work, made, address)
    await membership.add(work, made.project, made.pair.private, invite, owner=owner)
    return (
        f"Invitation sent to {invite.email}. "
        "The user should have a valid account to be added to a project"
    )


async def _invite(work: Work, made: Created, address: str) -> Invite:
    """Make an invite, or take the one somebody else has made for this address at this moment."""
    try:
        async with work.session.begin_nested():
            return await _create(work, Request(address, Capacity.RESEARCHER), None)
    except Busy:
        invite = await invites.find(work, address)
        if invite is None:
            raise
        return invite


async def _grant(
    work: Work, unlocked: Unlocked, request: Request, project: Project, person: User | Invite
) -> Granted:
    _require_for_projects(request.capacity)
    owner = request.capacity is Capacity.PROJECT_OWNER
    try:
        came_in = await membership.grant(work, unlocked, project, person, owner=owner)
    except AccessLost:
        raise Forbidden(
            "You do not have access to the current project. "
            "To get access, ask the a user within the responsible unit to grant you access."
        ) from None
    if not (came_in and request.send_email and project.status is Status.AVAILABLE):
        return Granted(person, mailed=False)
    unit = await work.session.get_one(Unit, project.unit_id)
    addresses = (
        [person.email] if isinstance(person, Invite) else await accounts.emails_of(work, person.id)
    )
    sender, _ = await _asker(work)
    await announce(work, project, unit, addresses, sender=sender)
    return Granted(person, mailed=True)


async def _create(work: Work, request: Request, unit: Unit | None) -> Invite:
    inviter, unit_contact = await _asker(work)
    return await invites.create(
        work,
        email=request.email,
        role=request.capacity.role,
        unit_id=unit.id if unit else None,
        inviter=inviter,
        unit_contact=unit_contact,
    )


async def _asker(work: Work) -> tuple[str, str | None]:
    """Return how the one who asks is named in letters, and whom to ask back: of unit users only the unit is named."""
    member = require_member(work.actor, Action.ADD_PEOPLE)
    if not member.is_unit_user:
        return member.name, None
    unit = await work.session.get_one(Unit, member.unit_id)
    return unit.external_display_name, unit.contact_email


def _require_may_ask(member: Member, capacity: Capacity, project: Project | None) -> None:
    if project is None and capacity is Capacity.PROJECT_OWNER:
        raise InvalidInput("Project ID required to invite a 'Project Owner'.")
    if project is not None and member.role is Role.SUPER_ADMIN:
        raise InvalidInput(
            "Super Admins do not have project data access and can therefore "
            "not invite users to specific projects."
        )
    if capacity not in _MAY_ASK[member.role]:
        raise Forbidden("You do not have the necessary permissions.")
    if project is not None:
        gate.require_sharer(member, project)


async def _unit_of(work: Work, member: Member, request: Request) -> Unit | None:
    """Return the unit somebody is to work for, locked: no project of it is made before the transaction ends."""
    if request.capacity.role not in UNIT_ROLES:
        return None
    table = Unit.columns()
    if member.is_unit_user:
        which = table.id == member.unit_id
    elif request.unit:
        which = table.public_id == request.unit
    else:
        raise InvalidInput(
            "You need to specify a unit to invite a Unit Personnel or Unit Admin.", field="unit"
        )
    found = await work.session.execute(select(Unit).where(which).with_for_update())
    unit = found.scalar_one_or_none()
    if unit is None:
        raise InvalidInput("Invalid unit public id.", field="unit")
    return unit


async def _to_share(
    work: Work, member: Member, unit: Unit | None, project: Project | None
) -> Sequence[Project]:
    """Return the projects whose keys are to wait in the invite, locked; a super admin has none to share."""
    if unit is None:
        return [project] if project is not None else []
    if not member.is_unit_user:
        return []
    table = Project.columns()
    found = await work.session.execute(
        select(Project)
        .where(table.unit_id == unit.id, table.active.is_(True))
        .order_by(table.id)
        .with_for_update()
    )
    return found.scalars().all()


def _check_email(email: object) -> str:
    try:
        return accounts.normal_email(email if isinstance(email, str) else "")
    except InvalidInput:
        raise InvalidFields({"email": ["Not a valid email address."]}) from None


def _require_for_projects(capacity: Capacity) -> None:
    if not capacity.in_projects:
        raise Forbidden(
            "User Role should be either 'Project Owner' or 'Researcher' to be added to a project"
        )
