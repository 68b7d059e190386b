"""Which projects something slow is being done to: jobs that change one, ends that are not over, moves.

Invariant: while a project is busy, nobody changes its status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, or_, select

from ddsd.access import Action, require
from ddsd.errors import Busy
from ddsd.jobs.tables import Job, JobState
from ddsd.projects import gate
from ddsd.projects.tables import Project
from ddsd.work import Work

CHANGING: Final = frozenset({"end_project", "empty_project"})
"""The kinds of jobs that make a project busy; their subject is its public id."""
_ACTIVE: Final = (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class BusyProject:
    """A project that is busy, and when it was last changed."""

    public_id: str
    updated_at: datetime


async def require_idle(work: Work, project: Project) -> None:
    """Refuse to change the status of a busy project.

    Raises:
        Busy: something is being done to it.
    """
    if await _is_busy(work, project):
        raise Busy(
            f"The status for the project '{project.public_id}' is already in the process of being changed. "
            "Please try again later. \n\nIf you know the project is not busy, contact support."
        )


async def require_idle_for_deadline(work: Work, project: Project) -> None:
    """Refuse to change the deadline of a busy project.

    Raises:
        Busy: something is being done to it.
    """
    if await _is_busy(work, project):
        raise Busy(
            f"The deadline for the project '{project.public_id}' is already in the process of being changed. "
            "Please try again later. \n\nIf you know that the project is not busy, contact support."
        )


async def require_contents_stay(work: Work, project: Project) -> None:
    """Refuse to begin an upload while all contents of the project are being removed: what is there now will be gone.

    Raises:
        Busy: they are, or the last of them is being moved.
    """
    gate.require_still(project)
    if await _is_busy(work, project):
        raise Busy(
            f"The contents of the project '{project.public_id}' are being removed. Please try again in a moment."
        )


async def listing(work: Work) -> Sequence[BusyProject]:
    """Return every busy project, by number.

    Raises:
        Forbidden: the caller may not know.
    """
    require(work.actor, Action.LIST_BUSY)
    table = Project.columns()
    found = await work.session.execute(
        select(table.public_id, table.updated_at)
        .where(or_(table.ending.is_not(None), table.moving, table.public_id.in_(_subjects())))
        .order_by(table.id)
    )
    return [BusyProject(public_id, updated_at) for public_id, updated_at in found]


async def _is_busy(work: Work, project: Project) -> bool:
    if project.ending is not None or project.moving:
        return True
    jobs = Job.columns()
    found = await work.session.scalar(
        select(exists().where(and_(_changing(), jobs.subject == project.public_id)))
    )
    return bool(found)


def _subjects() -> ColumnElement[str]:
    return select(Job.columns().subject).where(_changing()).scalar_subquery()


def _changing() -> ColumnElement[bool]:
    jobs = Job.columns()
    return and_(jobs.kind.in_(CHANGING), jobs.state.in_(_ACTIVE))
