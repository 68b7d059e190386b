"""Who has to do with a project, whether each can open it, what they have fetched, and who could mend what is lost.

That somebody can open it is told by their wrap being there: nothing is opened to find out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import exists, or_, select, union

from ddsd.access import Role
from ddsd.files import downloads
from ddsd.files.downloads import Fetched
from ddsd.keys.tables import KeyWrap, RecoveryKit
from ddsd.projects.status import FINAL
from ddsd.projects.tables import Membership, Project
from ddsd.users.tables import Invite, User, UserEmail
from ddsd.work import Work


class Capacity(StrEnum):
    """As what somebody has to do with the project."""

    UNIT_ADMIN = "unit admin"
    UNIT_PERSONNEL = "unit personnel"
    OWNER = "project owner"
    RESEARCHER = "researcher"
    KIT = "recovery kit"
    NOT_IN_IT = "not in it"
    """Nobody should be this: they hold the key, or have fetched files, and are not in the project now."""


class Access(StrEnum):
    """Whether somebody can open it."""

    OPENS = "yes"
    LOST = "lost"
    UNREADY = "no password yet"
    CLOSED = "account closed"
    INVITED = "once registered"
    INVITED_WITHOUT_KEY = "invited, no key"
    INVITE_EXPIRED = "invite expired"
    OVER = "keys removed"


_NOTHING: Final = Fetched()


@dataclass(frozen=True)
class Person:
    """Somebody, an invite, or a unit's kit. ``mend`` is who can do what about lost access; empty: nothing is to do."""

    name: str
    email: str
    capacity: Capacity
    access: Access
    fetched: Fetched = _NOTHING
    mend: str = ""


_ROLES: Final = {
    Role.UNIT_ADMIN: Capacity.UNIT_ADMIN,
    Role.UNIT_PERSONNEL: Capacity.UNIT_PERSONNEL,
}
_MENDED: Final = frozenset({Access.LOST, Access.INVITED_WITHOUT_KEY})


def is_over(project: Project) -> bool:
    """Say whether the project's data and keys are gone for good."""
    return project.status in FINAL and project.purge_after is None


async def people_of(work: Work, project: Project) -> list[Person]:
    """Return the unit's people, the researchers, who is invited, and the unit's kits, in this order."""
    found = [
        *await _accounts(work, project),
        *await _invited(work, project),
        *await _kits(work, project),
    ]
    found.sort(key=lambda one: list(Capacity).index(one.capacity))
    return [replace(one, mend=_mend(one, found, project.public_id)) for one in found]


async def _accounts(work: Work, project: Project) -> list[Person]:
    users, emails, members = User.columns(), UserEmail.columns(), Membership.columns()
    wraps, fetched = KeyWrap.columns(), await downloads.fetched(work, project.id)
    concerned = union(
        select(users.id).where(users.unit_id == project.unit_id),
        select(members.user_id).where(members.project_id == project.id),
        select(wraps.user_id).where(wraps.project_id == project.id),
        select(users.id).where(users.id.in_(list(fetched))),
    )
    rows = await work.session.execute(
        select(User, emails.email, members.owner, wraps.id)
        .outerjoin(UserEmail, (emails.user_id == users.id) & emails.is_primary)
        .outerjoin(Membership, (members.user_id == users.id) & (members.project_id == project.id))
        .outerjoin(KeyWrap, (wraps.user_id == users.id) & (wraps.project_id == project.id))
        .where(users.id.in_(concerned.subquery().select()))
        .order_by(users.username)
    )
    return [
        Person(
            name=user.username,
            email=email or "",
            capacity=_capacity(user, project, owner),
            access=_access(user, project, wrapped=wrap is not None),
            fetched=fetched.get(user.id, Fetched()),
        )
        for user, email, owner, wrap in rows
    ]


def _capacity(user: User, project: Project, owner: bool | None) -> Capacity:
    if user.unit_id == project.unit_id:
        return _ROLES.get(user.role, Capacity.NOT_IN_IT)
    if owner is None:
        return Capacity.NOT_IN_IT
    return Capacity.OWNER if owner else Capacity.RESEARCHER


def _access(user: User, project: Project, *, wrapped: bool) -> Access:
    if is_over(project):
        return Access.OVER
    if not user.active:
        return Access.CLOSED
    if user.public_key is None:
        return Access.UNREADY
    return Access.OPENS if wrapped else Access.LOST


async def _invited(work: Work, project: Project) -> list[Person]:
    invites, members, wraps = Invite.columns(), Membership.columns(), KeyWrap.columns()
    rows = await work.session.execute(
        select(Invite, members.owner, wraps.id)
        .outerjoin(
            Membership, (members.invite_id == invites.id) & (members.project_id == project.id)
        )
        .outerjoin(KeyWrap, (wraps.invite_id == invites.id) & (wraps.project_id == project.id))
        .where(or_(invites.unit_id == project.unit_id, members.id.is_not(None)))
        .order_by(invites.email)
    )
    return [
        Person(
            name=invite.email,
            email=invite.email,
            capacity=_ROLES.get(invite.role, Capacity.OWNER if owner else Capacity.RESEARCHER),
            access=_access_by_invite(work.now, invite, project, wrapped=wrap is not None),
        )
        for invite, owner, wrap in rows
    ]


def _access_by_invite(now: datetime, invite: Invite, project: Project, *, wrapped: bool) -> Access:
    if is_over(project):
        return Access.OVER
    if invite.expires_at <= now:
        return Access.INVITE_EXPIRED
    return Access.INVITED if wrapped else Access.INVITED_WITHOUT_KEY


async def _kits(work: Work, project: Project) -> list[Person]:
    """Return the kits that count; one that was revoked opens nothing any more."""
    kits, wraps = RecoveryKit.columns(), KeyWrap.columns()
    holds = exists().where(wraps.kit_id == kits.id, wraps.project_id == project.id)
    rows = await work.session.execute(
        select(kits.uid, holds)
        .where(kits.unit_id == project.unit_id, kits.revoked_at.is_(None))
        .order_by(kits.id)
    )
    over = is_over(project)
    return [
        Person(
            name=uid[:8],
            email="",
            capacity=Capacity.KIT,
            access=Access.OVER if over else Access.OPENS if held else Access.LOST,
        )
        for uid, held in rows
    ]


def _mend(one: Person, everybody: Sequence[Person], public_id: str) -> str:
    """Return who gives a person the key, and how (who may: :mod:`ddsd.projects.repair`)."""
    if one.access not in _MENDED:
        return ""
    if one.capacity is Capacity.KIT:
        admin = _opening(everybody, {Capacity.UNIT_ADMIN})
        return f"{admin} completes it on the page /recovery-kit" if admin else ""
    helper = _opening(everybody, _helpers(one.capacity))
    if helper:
        first = "" if one.access is Access.LOST else "once they have registered, "
        return f"{first}{helper} runs: dds project access fix {one.email} --project {public_id}"
    if _opening(everybody, {Capacity.KIT}):
        return "a unit admin enters the kit's words on the page /recovery-kit/restore"
    if _opening(everybody, set(Capacity)):
        return "first somebody of the unit who may give it needs the key again"
    return ""


def _helpers(capacity: Capacity) -> frozenset[Capacity]:
    match capacity:
        case Capacity.UNIT_ADMIN:
            return frozenset({Capacity.UNIT_ADMIN})
        case Capacity.UNIT_PERSONNEL:
            return frozenset({Capacity.UNIT_ADMIN, Capacity.UNIT_PERSONNEL})
        case _:
            return frozenset({Capacity.UNIT_ADMIN, Capacity.UNIT_PERSONNEL, Capacity.OWNER})


def _opening(everybody: Sequence[Person], capacities: set[Capacity] | frozenset[Capacity]) -> str:
    return next(
        (
            one.name
            for one in everybody
            if one.access is Access.OPENS and one.capacity in capacities
        ),
        "",
    )
