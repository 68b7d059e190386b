"""What an operator does to the queue: start by hand what comes by the clock, try again what failed. Audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ddsd.access import Action, require
from ddsd.audit import trail
from ddsd.errors import NotFound
from ddsd.jobs import queue
from ddsd.jobs.schedule import ScheduledJob
from ddsd.jobs.tables import Job
from ddsd.work import Work

AT_ONCE: Final = 200


@dataclass(frozen=True)
class TriedAgain:
    """One step: how many jobs were enqueued anew; ``more``: go on after ``last``."""

    jobs: int
    last: int
    more: bool


async def run(work: Work, scheduled: Sequence[ScheduledJob], kind: str) -> Job:
    """Enqueue now what is otherwise enqueued by the clock.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: no such kind comes by the clock.
        Busy: it is queued or running already.
    """
    require(work.actor, Action.OPERATE)
    found = next((one for one in scheduled if one.kind == kind), None)
    if found is None:
        kinds = ", ".join(sorted(one.kind for one in scheduled))
        raise NotFound(f"No job '{kind}' can be started by hand. There are: {kinds}.")
    job = await queue.enqueue(work, found.kind, found.subject)
    trail.record(work, "job.run", found.kind, number=job.id)
    return job


async def retry(work: Work, job_id: int) -> Job:
    """Enqueue anew what a failed job did not manage, and record who did.

    Raises:
        Forbidden, NotFound, WrongStatus, Busy: see :func:`ddsd.jobs.queue.retry`.
    """
    job = await queue.retry(work, job_id)
    trail.record(work, "job.retry", job.kind, number=job.id, failed=job_id, of=job.subject)
    return job


async def retry_failed(work: Work, after: int) -> TriedAgain:
    """Enqueue anew what failed jobs did not manage, :data:`AT_ONCE` of them over the number ``after``.

    What was tried again already, whatever came of it, is passed over.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    found = await queue.still_failed(work, after, AT_ONCE)
    for job_id in found:
        await retry(work, job_id)
    return TriedAgain(len(found), found[-1] if found else after, more=len(found) == AT_ONCE)
