"""How far a job is: written by its handler from time to time, read by operators and by the handler's next life."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import update
from sqlmodel import col, select

from ddsd.access import System
from ddsd.jobs.tables import Job, JobState
from ddsd.work import Services, reading, transaction

_ACTIVE = (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` things; ``total`` 0: nothing was reported yet. ``asked_at``: when the job was enqueued."""

    done: int = 0
    total: int = 0
    asked_at: datetime | None = field(default=None, compare=False)


async def report(services: Services, kind: str, subject: str, *, done: int, total: int) -> None:
    """Say that the active job of this kind and subject has done ``done`` of ``total`` things; without one, nothing.

    A transaction of its own: what is reported is seen at once, and survives the death of the daemon.
    """
    async with transaction(services, System()) as work:
        await work.session.execute(
            update(Job)
            .where(col(Job.kind) == kind, col(Job.subject) == subject, col(Job.state).in_(_ACTIVE))
            .values(done=done, total=total)
            .execution_options(synchronize_session=False)
        )


async def reported(services: Services, kind: str, subject: str) -> Progress:
    """Return how far the active job of this kind and subject was when it last told."""
    async with reading(services, System()) as work:
        row = (
            await work.session.execute(
                select(Job.done, Job.total, Job.created_at).where(
                    col(Job.kind) == kind, col(Job.subject) == subject, col(Job.state).in_(_ACTIVE)
                )
            )
        ).first()
    return Progress(*row) if row else Progress()
