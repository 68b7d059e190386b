"""What somebody's keys open, and who else could open it: for those who are about to lose theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, exists, or_, select

from ddsd.keys.tables import KeyWrap, RecoveryKit
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit
from ddsd.users.tables import User
from ddsd.work import Work


@dataclass(frozen=True)
class Holding:
    """A project whose key somebody holds. Unless ``others_hold``, nobody could give it to them again."""

    public_id: str
    title: str
    unit: str
    unit_contact: str
    others_hold: bool


async def holdings_of(work: Work, user_id: int) -> Sequence[Holding]:
    """Return the active projects whose key a user holds, by number.

    Others are active users and recovery kits that are not revoked, as in
    :func:`ddsd.keys.service.require_another_holder`.
    """
    projects, units, wraps = Project.columns(), Unit.columns(), KeyWrap.columns()
    other = KeyWrap.metadata.tables["key_wraps"].alias()
    users, kits = User.columns(), RecoveryKit.columns()
    others = (
        select(other.c.id)
        .outerjoin(User, users.id == other.c.user_id)
        .outerjoin(RecoveryKit, kits.id == other.c.kit_id)
        .where(
            other.c.project_id == projects.id,
            or_(
                and_(users.active.is_(True), users.id != user_id),
                and_(kits.id.is_not(None), kits.revoked_at.is_(None)),
            ),
        )
    )
    found = await work.session.execute(
        select(
            projects.public_id,
            projects.title,
            units.external_display_name,
            units.contact_email,
            exists(others.correlate(Project)),
        )
        .join(KeyWrap, wraps.project_id == projects.id)
        .join(Unit, units.id == projects.unit_id)
        .where(wraps.user_id == user_id, projects.active.is_(True))
        .order_by(projects.id)
    )
    return [
        Holding(public_id, title or "", unit, contact, bool(others_hold))
        for public_id, title, unit, contact, others_hold in found
    ]
