"""Release, retract, extend and expire: one writer wins, the other is told (wire contract, section 6)."""

from __future__ import annotations

from datetime import datetime

from ddsd.access import Action, require
from ddsd.audit import trail
from ddsd.files import grants
from ddsd.projects import busy, membership, projects, status
from ddsd.projects.announcements import announce
from ddsd.projects.status import Decision, Effect, Past, Status, Usual, Verb
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
        Busy: something slow is being done to it.
        WrongStatus: it is not In Progress or Expired.
        InvalidInput: ``days`` cannot be used.
        Conflict: it has expired too often.
    """
    require(work.actor, Action.CHANGE_STATUS)
    unit, decided = await decide(work, project, Verb.RELEASE, days)
    project.released_at = project.released_at or work.now
    await enter(work, project, decided)
    trail.record(work, "project.release", project.public_id, deadline=_day(decided.deadline))
    if not send_email:
        return False
    addresses = await membership.addresses(work, project)
    await announce(work, project, unit, addresses, sender=unit.external_display_name)
    return True


async def retract(work: Work, project: Project) -> None:
    """Take the project back to In Progress; its deadline runs on.

    Raises:
        Forbidden: the caller may not.
        Busy: something slow is being done to it.
        WrongStatus: it is not Available.
    """
    require(work.actor, Action.CHANGE_STATUS)
    _, decided = await decide(work, project, Verb.RETRACT)
    await enter(work, project, decided)
    trail.record(work, "project.retract", project.public_id)


async def expire(work: Work, project: Project, *, days: object) -> None:
    """End the time in which the project can be downloaded.

    Args:
        work: the transaction, in which ``project`` is locked.
        project: the project.
        days: until it is archived: 1 to 30, or ``None`` for the unit's own.

    Raises:
        Forbidden: the caller may not.
        Busy: something slow is being done to it.
        WrongStatus: it is not Available.
        InvalidInput: ``days`` cannot be used.
    """
    require(work.actor, Action.CHANGE_STATUS)
    _, decided = await decide(work, project, Verb.EXPIRE, days)
    await enter(work, project, decided)
    trail.record(work, "project.expire", project.public_id, deadline=_day(decided.deadline))


def require_extension_left(project: Project) -> None:
    """Refuse what was extended or has expired too often, before anything else is asked.

    Raises:
        Conflict: it was.
    """
    status.EXTENSIONS_LEFT.require(past_of(project), Verb.EXTEND)


async def extend(work: Work, project: Project, *, days: object) -> None:
    """Give the project that is Available ``days`` more, counted from its deadline.

    It uses up one of the times a project may be made available, and the history shows it as an expiry of a day and a
    release in the same moment, as in the stock system. Nobody is mailed.

    Args:
        work: the transaction, in which ``project`` is locked.
        project: the project.
        days: from 1 to the unit's days in available; with those left at most 90.

    Raises:
        Forbidden: the caller may not.
        Busy: something slow is being done to it.
        Conflict: it was extended or has expired too often.
        WrongStatus: it is not Available.
        InvalidInput: ``days`` cannot be used.
    """
    require(work.actor, Action.CHANGE_STATUS)
    require_extension_left(project)
    await busy.require_idle_for_deadline(work, project)
    _, decided = await decide(work, project, Verb.EXTEND, days)
    write_entry(work, project, Status.EXPIRED, status.deadline_after(work.now, 1))
    await work.session.flush()  # the entries' order is their number
    await enter(work, project, decided)
    trail.record(work, "project.extend", project.public_id, deadline=_day(decided.deadline))


async def decide(
    work: Work, project: Project, verb: Verb, days: object = None
) -> tuple[Unit, Decision]:
    """Return the project's unit, and what comes of ``verb`` now. Who may is checked by the caller.

    Raises:
        Busy: something slow is being done to the project.
        WrongStatus, InvalidInput, Conflict: see :func:`ddsd.projects.status.decide`.
    """
    await busy.require_idle(work, project)
    unit = await work.session.get_one(Unit, project.unit_id)
    usual = Usual(unit.days_in_available, unit.days_in_expired)
    return unit, status.decide(past_of(project), verb, work.now, days, usual)


async def enter(work: Work, project: Project, decided: Decision) -> None:
    """Let the project be as was decided, with a line in its history; data is not removed by this."""
    effects = decided.rule.effects
    project.status = decided.rule.to
    project.deadline = decided.deadline
    if Effect.USES_ONE_UP in effects:
        project.times_expired += 1
    if Effect.ENDS_UPLOADS in effects:
        await grants.withdraw_uploads(work, project)
    projects.touch(work, project)
    write_entry(work, project, decided.rule.to, decided.deadline)


def write_entry(work: Work, project: Project, new: Status, deadline: datetime | None) -> None:
    """Add a line to the project's history."""
    work.session.add(StatusEntry(project_id=project.id, status=new, deadline=deadline, at=work.now))


def past_of(project: Project) -> Past:
    """Return what rules ask of the project."""
    return Past(
        status=project.status,
        ever_available=project.ever_available,
        times_expired=project.times_expired,
        deadline=project.deadline,
        data_kept=project.purge_after is not None and project.ending is None,
    )


def _day(deadline: datetime | None) -> str | None:
    return None if deadline is None else deadline.isoformat()
