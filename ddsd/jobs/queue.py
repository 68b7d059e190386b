"""The verbs of the queue: enqueue, list, try again, forget.

Invariant: at most one job of a kind is queued or running per subject. The database's partial unique index decides,
so two requests at the same moment cannot both win.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, exists, func, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from ddsd.access import Action, require
from ddsd.db.types import may_be_id
from ddsd.errors import Busy, NotFound, WrongStatus
from ddsd.jobs.tables import Job, JobState
from ddsd.work import Work

KEEP_DONE: Final = timedelta(days=30)
KEEP_FAILED: Final = timedelta(days=180)


class GiveUp(Exception):
    """Raised by a handler for whose job another try will not help; its text becomes the job's last error."""


async def enqueue(work: Work, kind: str, subject: str, *, run_after: datetime | None = None) -> Job:
    """Add a job in this transaction; the runner is woken once it is committed.

    Args:
        work: the transaction.
        kind: the handler's name.
        subject: what to do it to, for the handler to read.
        run_after: not before this moment (aware); ``None``: at once.

    Raises:
        Busy: the same is queued or running already.
    """
    await work.session.flush()  # so that an IntegrityError below can only be about the job
    job = Job(
        kind=kind,
        subject=subject,
        state=JobState.QUEUED,
        run_after=run_after or work.now,
        created_at=work.now,
    )
    try:
        async with work.session.begin_nested():
            work.session.add(job)
    except IntegrityError as wrong:
        raise Busy(
            f"The same is being done already ({kind} {subject}). Please try again later.",
            kind=kind,
            subject=subject,
        ) from wrong
    work.after_commit.append(work.services.wake_jobs)
    return job


async def enqueue_unless_active(
    work: Work, kind: str, subject: str, *, run_after: datetime | None = None
) -> Job | None:
    """Add a job like :func:`enqueue`; do nothing and return ``None`` if the same is queued or running."""
    try:
        return await enqueue(work, kind, subject, run_after=run_after)
    except Busy:
        return None


async def enqueue_or_hasten(
    work: Work, kind: str, subject: str, *, run_after: datetime | None = None
) -> None:
    """Add a job like :func:`enqueue`; if the same is queued already for a later moment, let it be this one."""
    if await enqueue_unless_active(work, kind, subject, run_after=run_after) is None:
        moment = run_after or work.now
        await work.session.execute(
            update(Job)
            .where(
                col(Job.kind) == kind,
                col(Job.subject) == subject,
                col(Job.state) == JobState.QUEUED,
                col(Job.run_after) > moment,
            )
            .values(run_after=moment)
            .execution_options(synchronize_session=False)
        )
        work.after_commit.append(work.services.wake_jobs)


async def listing(
    work: Work, state: JobState | None = None, limit: int = 100, subject: str | None = None
) -> Sequence[Job]:
    """Return the newest ``limit`` jobs, newest first; only those in ``state``, or on ``subject``, if one is given.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    query = select(Job).order_by(col(Job.id).desc()).limit(limit)
    if state is not None:
        query = query.where(Job.state == state)
    if subject is not None:
        query = query.where(Job.subject == subject)
    return (await work.session.scalars(query)).all()


async def show(work: Work, job_id: int) -> Job:
    """Return one job.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is none of this number.
    """
    require(work.actor, Action.OPERATE)
    job = await work.session.get(Job, job_id) if may_be_id(job_id) else None
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job


async def retry(work: Work, job_id: int) -> Job:
    """Enqueue anew what a failed job did not manage; the failed one stays as a record.

    It counts as asked for when the failed one was: what has come since is no matter of it. One that waits for its next
    try after a failure is tried at once instead.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is none of this number.
        WrongStatus: it has not failed so far, or has been done since.
        Busy: the same is queued or running already.
    """
    failed = await show(work, job_id)
    if failed.state is JobState.QUEUED and failed.last_error:
        failed.run_after = work.now
        work.after_commit.append(work.services.wake_jobs)
        return failed
    if failed.state is not JobState.FAILED:
        raise WrongStatus(f"Job {job_id} is {failed.state}; only a failed one can be retried.")
    since = (await tried_since(work, [job_id])).get(job_id)
    if since and (await show(work, since)).state is JobState.DONE:
        raise WrongStatus(f"What job {job_id} did not manage is done: job {since} did it.")
    job = await enqueue(work, failed.kind, failed.subject)
    job.created_at = failed.created_at
    return job


async def tried_since(work: Work, job_ids: Iterable[int]) -> Mapping[int, int]:
    """Return, by number, the newest job that was later to do the same as one of these jobs, where there is one."""
    later = aliased(Job)
    found = await work.session.execute(
        select(col(Job.id), func.max(col(later.id)))
        .join(later, _same_later(later))
        .where(col(Job.id).in_(list(job_ids)))
        .group_by(col(Job.id))
    )
    return {int(job_id): int(since) for job_id, since in found}


async def count_failed(work: Work) -> int:
    """Return how many jobs have failed and were not tried again since."""
    query = select(func.count()).select_from(Job).where(*_still_failed())
    return (await work.session.scalar(query)) or 0


async def still_failed(work: Work, after: int, limit: int) -> Sequence[int]:
    """Return the numbers over ``after`` of jobs that have failed and were not tried again since, ascending."""
    query = select(col(Job.id)).where(*_still_failed(), col(Job.id) > after)
    return (await work.session.scalars(query.order_by(col(Job.id)).limit(limit))).all()


async def forget_old(work: Work) -> int:
    """Remove jobs that ended long ago (:data:`KEEP_DONE`, :data:`KEEP_FAILED`); return how many."""
    forgotten = 0
    for state, keep in ((JobState.DONE, KEEP_DONE), (JobState.FAILED, KEEP_FAILED)):
        gone = await work.session.scalars(
            delete(Job)
            .where(col(Job.state) == state, col(Job.finished_at) < work.now - keep)
            .returning(col(Job.id))
        )
        forgotten += len(gone.all())
    return forgotten


def _still_failed() -> tuple[ColumnElement[bool], ...]:
    later = aliased(Job)
    return (col(Job.state) == JobState.FAILED, ~exists().where(_same_later(later)))


def _same_later(later: type[Job]) -> ColumnElement[bool]:
    return and_(
        col(later.kind) == col(Job.kind),
        col(later.subject) == col(Job.subject),
        col(later.id) > col(Job.id),
    )
