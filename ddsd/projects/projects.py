"""Projects: made with a key pair of their own, listed without ever counting files."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from ddsd.access import UNIT_ROLES, Action, Member, Role, require_member
from ddsd.audit import trail
from ddsd.errors import Conflict, Forbidden
from ddsd.keys import service as keys
from ddsd.keys.hierarchy import KeyPair
from ddsd.keys.service import Holder
from ddsd.keys.tables import KeyWrap, RecoveryKit
from ddsd.projects import quota
from ddsd.projects.gate import require_in_progress
from ddsd.projects.status import Status
from ddsd.projects.tables import Membership, Project, StatusEntry
from ddsd.units import stores
from ddsd.units.tables import Unit
from ddsd.units.units import spelled
from ddsd.users import directory
from ddsd.users.tables import Invite, User
from ddsd.work import Work

_FEW_ADMINS = 2
_LONGEST_BUCKET = 63
_LAST_NUMBER = 99_999
"""With a sixth digit a bucket's name could be one of another unit, see :func:`ddsd.units.units.bucket_pattern`."""


@dataclass(frozen=True)
class ProjectFields:
    """What a person says of a new project, already checked."""

    title: str
    description: str
    pi: str
    non_sensitive: bool


@dataclass(frozen=True)
class ProjectLine:
    """One project in a list, as one caller sees it."""

    project: Project
    creator: str
    unit: str
    has_access: bool


@dataclass(frozen=True)
class Created:
    """A new project and its private key, which the caller may wrap for more holders."""

    project: Project
    unit: Unit
    pair: KeyPair


async def warn_of_few_admins(work: Work, unit_id: int) -> str | None:
    """Return what is to be said before a unit with two admins makes a project; ``None`` with three or more.

    Raises:
        Forbidden: it has fewer than two.
    """
    admins = await directory.count_admins(work, unit_id)
    if admins < _FEW_ADMINS:
        raise Forbidden(
            "Your unit does not have enough Unit Admins. "
            "At least two Unit Admins are required for a project to be created."
        )
    if admins == _FEW_ADMINS:
        return (
            "Your unit only has 2 Unit Admins. This poses a high risk of data loss. "
            "We HIGHLY recommend that you do not create this project until there are more "
            "Unit Admins connected to your unit."
        )
    return None


async def create(work: Work, fields: ProjectFields) -> Created:
    """Make a project: number, bucket name, first status, key pair, one wrap per unit user or invite with a key.

    The unit's recovery kit, if there is one, holds the key as well.

    The bucket itself is made when the first upload is granted, so that the store may be away now.

    Raises:
        Forbidden: the caller may not make projects.
        QuotaExceeded: the unit's quota is enforced and used up.
        Conflict: the unit has made 99,999 projects.
    """
    member = require_member(work.actor, Action.CREATE_PROJECT)
    unit = await _next_number(work, member)
    await quota.require_room(work, unit.id, 0)
    public_id = f"{unit.internal_ref}{unit.project_counter:05d}"
    pair = keys.new_project_pair()
    project = Project(
        public_id=public_id,
        unit_id=unit.id,
        title=fields.title,
        description=fields.description,
        pi=fields.pi,
        non_sensitive=fields.non_sensitive,
        bucket=bucket_name(public_id, work.now),
        status=Status.IN_PROGRESS,
        store_id=await stores.current_id(work, unit.id),
        public_key=pair.public,
        created_by=member.user_id,
        updated_by=member.user_id,
        created_at=work.now,
        updated_at=work.now,
    )
    work.session.add(project)
    await work.session.flush()
    work.session.add(StatusEntry(project_id=project.id, status=project.status, at=work.now))
    keys.wrap_for(work, project.id, public_id, pair.private, await holders_of(work, unit.id))
    trail.record(work, "project.create", public_id, unit=unit.public_id)
    return Created(project, unit, pair)


async def listing(work: Work, *, show_all: bool) -> Sequence[ProjectLine]:
    """Return the projects the caller sees, oldest first; only active ones unless ``show_all``. One query."""
    member = require_member(work.actor, Action.LIST_PROJECTS)
    projects, users, units = Project.columns(), User.columns(), Unit.columns()
    wraps = KeyWrap.columns()
    query = (
        select(Project, users.name, units.external_display_name, wraps.id)
        .join(Unit, units.id == projects.unit_id)
        .outerjoin(User, users.id == projects.created_by)
        .outerjoin(KeyWrap, (wraps.project_id == projects.id) & (wraps.user_id == member.user_id))
        .order_by(projects.id)
    )
    if not show_all:
        query = query.where(projects.active.is_(True))
    if member.role in UNIT_ROLES:
        query = query.where(projects.unit_id == member.unit_id)
    elif member.role is Role.RESEARCHER:
        memberships = Membership.columns()
        query = query.join(
            Membership,
            (memberships.project_id == projects.id) & (memberships.user_id == member.user_id),
        )
    return [
        ProjectLine(project, creator or "Former User", unit, wrap is not None)
        for project, creator, unit, wrap in await work.session.execute(query)
    ]


async def describe(work: Work, project: Project) -> ProjectLine:
    """Return one project as its caller sees it."""
    member = require_member(work.actor, Action.SEE_PROJECT)
    creator = await work.session.get(User, project.created_by) if project.created_by else None
    unit = await work.session.get_one(Unit, project.unit_id)
    held = await keys.holds(work, member.user_id, [project.id])
    name = creator.name if creator else "Former User"
    return ProjectLine(project, name, unit.external_display_name, held[project.id])


async def history(work: Work, project: Project) -> Sequence[StatusEntry]:
    """Return every status the project has had, newest first."""
    table = StatusEntry.columns()
    found = await work.session.execute(
        select(StatusEntry).where(table.project_id == project.id).order_by(table.id.desc())
    )
    return found.scalars().all()


async def holders_of(work: Work, unit_id: int) -> list[Holder]:
    """Return whom every new project of a unit is wrapped for: its people, those invited, and its recovery kit.

    The rows of people and invites are locked: nobody replaces their key pair, and no invite is accepted, before the
    wraps are there.
    """
    invites, kits = Invite.columns(), RecoveryKit.columns()
    invited = await work.session.execute(
        select(invites.public_key, invites.id)
        .where(invites.unit_id == unit_id, invites.expires_at > work.now)
        .order_by(invites.id)
        .with_for_update()
    )
    paper = await work.session.execute(
        select(kits.public_key, kits.id).where(kits.unit_id == unit_id, kits.revoked_at.is_(None))
    )
    return [
        *await people_of(work, unit_id),
        *(Holder(public=public, invite_id=number) for public, number in invited),
        *(Holder(public=public, kit_id=number) for public, number in paper),
    ]


async def people_of(work: Work, unit_id: int) -> list[Holder]:
    """Return the unit's people who have a key pair and are not deactivated; their rows are locked."""
    table = User.columns()
    found = await work.session.execute(
        select(table.id, table.public_key)
        .where(table.unit_id == unit_id, table.active.is_(True), table.public_key.is_not(None))
        .order_by(table.id)
        .with_for_update(read=True)
    )
    return [Holder(public=public, user_id=user_id) for user_id, public in found]


def touch(work: Work, project: Project) -> None:
    """Note that the caller has changed the project now."""
    project.updated_at = work.now
    project.updated_by = work.actor.user_id if isinstance(work.actor, Member) else None


def note_upload(work: Work, project: Project) -> None:
    """Note that an upload into the project has ended now.

    Raises:
        Forbidden: the caller may not upload.
        WrongStatus: the project is not In Progress.
    """
    require_member(work.actor, Action.UPLOAD)
    require_in_progress(project)
    touch(work, project)


def bucket_name(public_id: str, now: datetime) -> str:
    """Return a bucket name nobody has used (wire contract, section 4): 3 to 63 of ``a-z 0-9 -``.

    It begins with as much of the public id as there is room for. A letter or digit begins the name, as S3 demands.
    Dots become dashes: some stores take no short part between dots, and none has a certificate for a name with dots.
    """
    end = f"{now:%y%m%d%H%M%S%f}-{secrets.token_hex(4)}"
    start = spelled(public_id).lstrip("-")[: _LONGEST_BUCKET - len(end) - 1].rstrip("-")
    return f"{start}-{end}" if start else end


async def _next_number(work: Work, member: Member) -> Unit:
    table = Unit.columns()
    await work.session.execute(
        update(Unit)
        .where(table.id == member.unit_id)
        .values(project_counter=table.project_counter + 1)
    )
    unit = await work.session.get_one(Unit, member.unit_id, populate_existing=True)
    if unit.project_counter > _LAST_NUMBER:
        raise Conflict("The unit has used up its project numbers. Please ask for another unit.")
    return unit
