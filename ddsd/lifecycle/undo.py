"""The undo window: what a deadline archives is hidden first, and can be taken back until its data is removed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from ddsd.access import Action, require
from ddsd.audit import trail
from ddsd.errors import InvalidInput, NotFound
from ddsd.lifecycle import transitions
from ddsd.mail import outbox
from ddsd.projects.status import Verb
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit
from ddsd.work import Work

MAX_UNDO_DAYS: Final = 90


async def hide(work: Work, project: Project) -> None:
    """Archive a project whose deadline has passed, but keep its data for the unit's undo window; mail the unit.

    The daemon does this at night.

    Args:
        work: the transaction, in which ``project`` is locked.
        project: the project.

    Raises:
        Forbidden: the caller is neither the daemon nor an operator.
        Busy: something slow is being done to it.
        WrongStatus: it is not Expired.
    """
    require(work.actor, Action.PURGE_PROJECT)
    unit, decided = await transitions.decide(work, project, Verb.HIDE)
    await transitions.enter(work, project, decided)
    project.active = False
    project.purge_after = work.now + timedelta(days=unit.undo_days)
    trail.record(
        work, "project.hide", project.public_id, purge_after=project.purge_after.isoformat()
    )
    await outbox.write(
        work,
        "project_archived",
        unit.contact_email,
        title=project.title or "",
        public_id=project.public_id,
        until=f"{project.purge_after:%Y-%m-%d %H:%M} UTC",
    )


async def foresee(work: Work, project: Project) -> datetime | None:
    """Return the deadline that :func:`restore` would give the project now.

    Raises:
        Forbidden, Busy, WrongStatus: it would refuse.
    """
    require(work.actor, Action.RESTORE_PROJECT)
    _, decided = await transitions.decide(work, project, Verb.RESTORE)
    return decided.deadline


async def restore(work: Work, project: Project) -> None:
    """Take back what the deadline has archived: Expired again, with a fresh deadline. Counts as no expiry.

    Args:
        work: the transaction, in which ``project`` is locked.
        project: the project; that it is the caller's is checked by them.

    Raises:
        Forbidden: the caller is neither unit admin nor operator.
        Busy: something slow is being done to it.
        WrongStatus: it is not archived, or its data is gone.
    """
    require(work.actor, Action.RESTORE_PROJECT)
    _, decided = await transitions.decide(work, project, Verb.RESTORE)
    await transitions.enter(work, project, decided)
    project.active = True
    project.purge_after = None
    trail.record(work, "project.restore", project.public_id)


async def configure(work: Work, unit_public_id: str, days: int) -> Unit:
    """Say how long a unit's projects can be restored. Those that wait already keep their moment.

    Args:
        work: the transaction.
        unit_public_id: whose.
        days: 0 (not at all) to 90.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit.
        InvalidInput: ``days`` is out of bounds.
    """
    require(work.actor, Action.OPERATE)
    if not 0 <= days <= MAX_UNDO_DAYS:
        raise InvalidInput(f"The undo window is from 0 (none) to {MAX_UNDO_DAYS} days.")
    query = select(Unit).where(Unit.columns().public_id == unit_public_id).with_for_update()
    unit: Unit | None = (await work.session.execute(query)).scalar_one_or_none()
    if unit is None:
        raise NotFound(f"There is no unit '{unit_public_id}'. See: ddsctl unit ls")
    unit.undo_days = days
    trail.record(work, "unit.undo_days", unit.public_id, days=days)
    return unit
