"""The undo window: what a deadline archives is hidden first, and can be taken back until its data is removed."""

from __future__ import annotations

from datetime import timedelta

from ddsd.access import Action, require
from ddsd.audit import trail
from ddsd.lifecycle import transitions
from ddsd.mail import outbox
from ddsd.projects.status import Verb
from ddsd.projects.tables import Project
from ddsd.work import Work


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
