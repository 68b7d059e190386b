"""Release, retract and expire: one writer wins, the other is told (wire contract, section 6)."""

from __future__ import annotations

from datetime import datetime

from ddsd.access import Action, require
from ddsd.audit import trail
from ddsd.errors import Conflict
from ddsd.files import grants
from ddsd.projects import membership, projects, status
from ddsd.projects.announcements import announce
from ddsd.projects.status import Status
from ddsd.projects.tables import Project, StatusEntry
from ddsd.units.tables import Unit
from ddsd.work import Work


async def release(work: Work, project: Project, *, days: object, send_email: bool) -> bool:
    """Make the project's data available; mail the researchers. Return whether mail was written.

    A project that was retracted keeps its first deadline, unless that has passed; ``days`` is then ignored.

    Args:
        work: the transaction, in which ``project`` is locked.
        project: the project.
        days: a whole number from 1 to 90, or ``None`` for the unit's own.
        send_email: whether researchers are told.

    Raises:
        Forbidden: the caller may not.
        WrongStatus: it is not In Progress or Expired.
        InvalidInput: ``days`` cannot be used.
        Conflict: it has expired too often.
    """
    require(work.actor, Action.CHANGE_STATUS)
    before = project.status
    status.check_transition(before, Status.AVAILABLE)
    unit = await work.session.get_one(Unit, project.unit_id)
    deadline = _release_deadline(work.now, project, unit, days)
    project.released_at = project.released_at or work.now
    _enter(work, project, Status.AVAILABLE, deadline)
    await grants.withdraw_uploads(work, project)
    trail.record(work, "project.release", project.public_id, deadline=deadline.isoformat())
    if not send_email:
        return False
    addresses = await membership.addresses(work, project)
    await announce(work, project, unit, addresses, sender=unit.external_display_name)
    return True


async def retract(work: Work, project: Project) -> None:
    """Take the project back to In Progress; its deadline runs on.

    Raises:
        Forbidden: the caller may not.
        WrongStatus: it is not Available.
    """
    require(work.actor, Action.CHANGE_STATUS)
    status.check_transition(project.status, Status.IN_PROGRESS)
    _enter(work, project, Status.IN_PROGRESS, project.deadline)
    trail.record(work, "project.retract", project.public_id)


async def expire(work: Work, project: Project, *, days: object) -> None:
    """End the time in which the project can be downloaded.

    Args:
        work: the transaction, in which ``project`` is locked.
        project: the project.
        days: until it is archived: 1 to 30, or ``None`` for the unit's own.

    Raises:
        Forbidden: the caller may not.
        WrongStatus: it is not Available.
        InvalidInput: ``days`` cannot be used.
    """
    require(work.actor, Action.CHANGE_STATUS)
    status.check_transition(project.status, Status.EXPIRED)
    unit = await work.session.get_one(Unit, project.unit_id)
    lasts = status.parse_days(days, default=unit.days_in_expired, most=status.MAX_DAYS_EXPIRED)
    project.times_expired += 1
    _enter(work, project, Status.EXPIRED, status.deadline_after(work.now, lasts))
    trail.record(work, "project.expire", project.public_id)


def _release_deadline(now: datetime, project: Project, unit: Unit, days: object) -> datetime:
    lasts = status.parse_days(days, default=unit.days_in_available, most=status.MAX_DAYS_AVAILABLE)
    if project.status is Status.EXPIRED:
        if project.times_expired >= status.MAX_TIMES_EXPIRED:
            raise Conflict(
                "Project availability limit: Project cannot be made Available any more times"
            )
        return status.deadline_after(now, lasts)
    if project.deadline is not None and project.deadline > now:
        return project.deadline
    return status.deadline_after(now, lasts)


def _enter(work: Work, project: Project, new: Status, deadline: datetime | None) -> None:
    project.status = new
    project.deadline = deadline
    projects.touch(work, project)
    work.session.add(StatusEntry(project_id=project.id, status=new, deadline=deadline, at=work.now))
