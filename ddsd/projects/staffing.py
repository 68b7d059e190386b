"""How an operator staffs the service: super admins and the people of units are invited, listed, and uninvited.

Invariant: no project's key is wrapped for anybody here. An operator holds none, so somebody invited this way sees the
unit's projects and can open none of the existing ones until a colleague gives access.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from ddsd.access import Action, Role, require
from ddsd.errors import AlreadyExists, InvalidInput, NotFound
from ddsd.projects.status import Status
from ddsd.projects.tables import Membership, Project
from ddsd.units.tables import Unit
from ddsd.users import accounts, invites
from ddsd.users.tables import Invite
from ddsd.work import Work

_OVER = frozenset({Status.ARCHIVED, Status.DELETED})


@dataclass(frozen=True)
class Pending:
    """An invite that waits. ``projects`` (public ids): those it will be let into; for unit roles, keys or none."""

    email: str
    role: Role
    unit_public_id: str | None
    created_at: datetime
    expires_at: datetime
    projects: Sequence[str] = ()


@dataclass(frozen=True)
class Asked:
    """An invite that was made. ``closed`` (public ids): projects of the unit that they will not be able to open."""

    invite: Pending
    closed: Sequence[str]


async def invite(work: Work, email: str, role: Role, unit_public_id: str | None) -> Asked:
    """Invite a super admin, or somebody to a unit; the mail with the link is written.

    Args:
        work: the transaction; its actor is an operator.
        email: whom to ask.
        role: what they will be; researchers are invited by those who deliver to them.
        unit_public_id: for unit roles.

    Raises:
        Forbidden: the actor does not operate this service.
        InvalidInput: it is no address, or role and unit do not fit.
        NotFound: there is no such unit.
        AlreadyExists: the address has an account or an invite.
        Busy: somebody else invites the same person at this moment.
    """
    require(work.actor, Action.OPERATE)
    if role is Role.RESEARCHER:
        raise InvalidInput(
            "Researchers are invited by the unit that delivers to them: dds user add, with a project."
        )
    unit = await accounts.unit_for(work, role, unit_public_id)
    await _require_new(work, email)
    facility = work.services.settings.instance
    made = await invites.create(
        work,
        email=email,
        role=role,
        unit_id=unit.id if unit else None,
        inviter=unit.external_display_name if unit else facility.facility,
        unit_contact=unit.contact_email if unit else None,
    )
    return Asked(_pending(made, unit_public_id), await _open_projects(work, unit))


async def pending(work: Work) -> Sequence[Pending]:
    """Return every invite that waits, the newest first.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    table, units = Invite.columns(), Unit.columns()
    found = await work.session.execute(
        select(Invite, units.public_id)
        .outerjoin(Unit, units.id == table.unit_id)
        .where(table.expires_at > work.now)
        .order_by(table.id.desc())
    )
    into = await _projects_by_invite(work)
    return [_pending(one, unit, into.get(one.id, ())) for one, unit in found]


async def withdraw(work: Work, email: str) -> Pending:
    """Remove the invite of an address, with what waits for it, and return it; its link leads nowhere from now on.

    Raises:
        Forbidden: the actor does not operate this service.
        InvalidInput: it is no address.
        NotFound: no invite waits for it.
    """
    require(work.actor, Action.OPERATE)
    found = await invites.find(work, email, for_change=True)
    if found is None:
        raise NotFound(f"No invite waits for {email}. See: ddsctl invite ls")
    unit = await work.session.get(Unit, found.unit_id) if found.unit_id else None
    into = await _projects_by_invite(work)
    gone = _pending(found, unit.public_id if unit else None, into.get(found.id, ()))
    await invites.withdraw(work, found)
    return gone


async def _require_new(work: Work, email: str) -> None:
    user = await accounts.find_by_email(work, email)
    if user is not None:
        raise AlreadyExists(f"{email} belongs to the account {user.username} already.")
    waiting = await invites.find(work, email)
    if waiting is not None:
        raise AlreadyExists(
            f"{waiting.email} has been invited as {waiting.role.value} already. To send a new link: "
            f"ddsctl invite delete {waiting.email}, then invite again."
        )


async def _open_projects(work: Work, unit: Unit | None) -> Sequence[str]:
    if unit is None:
        return ()
    table = Project.columns()
    found = await work.session.scalars(
        select(table.public_id)
        .where(table.unit_id == unit.id, table.status.not_in(_OVER))
        .order_by(table.id)
    )
    return list(found)


async def _projects_by_invite(work: Work) -> dict[int, list[str]]:
    members, projects = Membership.columns(), Project.columns()
    found = await work.session.execute(
        select(members.invite_id, projects.public_id)
        .join(Project, projects.id == members.project_id)
        .where(members.invite_id.is_not(None))
        .order_by(projects.id)
    )
    into: dict[int, list[str]] = {}
    for invite_id, public_id in found:
        into.setdefault(invite_id, []).append(public_id)
    return into


def _pending(one: Invite, unit_public_id: str | None, projects: Sequence[str] = ()) -> Pending:
    return Pending(one.email, one.role, unit_public_id, one.created_at, one.expires_at, projects)
