"""Who runs which job: claiming, staying alive, ending, and taking over from the dead. One statement each.

Invariant: every change names the state it expects, so that of several daemons at one database only one claims a job,
and a daemon whose job was taken over can no longer change it.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import and_, or_, update
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col, select

from ddsd.jobs.tables import Job, JobState
from ddsd.settings import Settings
from ddsd.work import Work

FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=1)
_LONGEST_ERROR: Final = 2000
_DIED: Final = "The daemon stopped while this job ran."


@dataclass(frozen=True)
class Claim:
    """A job that is ours to run. ``claimed_by`` is the daemon and its present life."""

    job_id: int
    kind: str
    subject: str
    attempt: int
    claimed_by: str


def daemon_name(settings: Settings) -> str:
    """Name this installation's daemon: the same over restarts, another for another daemon on the machine.

    At most 41 characters, so that a life's suffix fits into the column too.
    """
    listen = settings.listen
    place = f"{settings.instance.state_dir}|{listen.admin_socket}|{listen.address}:{listen.port}"
    return f"{socket.gethostname()[:32]}:{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def pause_after(attempt: int) -> timedelta:
    """Return how long to wait after the failure of ``attempt`` (from 1): a minute, doubling up to an hour."""
    pause = FIRST_PAUSE
    for _ in range(attempt - 1):
        pause = min(pause * 2, LONGEST_PAUSE)
    return pause


async def next_due(work: Work, kinds: frozenset[str]) -> int | None:
    """Return the number of the job that has been due longest, of one of ``kinds``."""
    return (
        await work.session.scalars(
            select(Job.id)
            .where(
                col(Job.state) == JobState.QUEUED,
                col(Job.run_after) <= work.now,
                col(Job.kind).in_(kinds),
            )
            .order_by(col(Job.run_after), col(Job.id))
            .limit(1)
        )
    ).first()


async def claim(work: Work, job_id: int, claimed_by: str) -> Claim | None:
    """Claim a queued job; ``None`` if somebody else was quicker."""
    won = await _change(
        work,
        [col(Job.id) == job_id, col(Job.state) == JobState.QUEUED],
        state=JobState.RUNNING,
        claimed_by=claimed_by,
        alive_at=work.now,
        attempts=col(Job.attempts) + 1,
    )
    if not won:
        return None
    job = await work.session.get_one(Job, job_id, populate_existing=True)
    return Claim(job.id, job.kind, job.subject, job.attempts, claimed_by)


async def renew(work: Work, claim: Claim) -> bool:
    """Say that the job is still being worked on; False if it is no longer ours."""
    return await _change(work, _ours(claim), alive_at=work.now)


async def finish(work: Work, claim: Claim) -> bool:
    """Mark the job as done; False if it is no longer ours."""
    return await _change(
        work, _ours(claim), state=JobState.DONE, finished_at=work.now, last_error=""
    )


async def put_off(work: Work, claim: Claim, why: str) -> bool:
    """Queue the job for another try, later; False if it is no longer ours."""
    return await _change(
        work,
        _ours(claim),
        state=JobState.QUEUED,
        run_after=work.now + pause_after(claim.attempt),
        last_error=why[:_LONGEST_ERROR],
    )


async def fail(work: Work, claim: Claim, why: str) -> bool:
    """Mark the job as failed for good; False if it is no longer ours."""
    return await _change(
        work,
        _ours(claim),
        state=JobState.FAILED,
        finished_at=work.now,
        last_error=why[:_LONGEST_ERROR],
    )


async def hand_back(work: Work, claim: Claim) -> bool:
    """Queue the job again as if this try had not been: the daemon stops; False if it is no longer ours."""
    return await _change(work, _ours(claim), state=JobState.QUEUED, attempts=col(Job.attempts) - 1)


async def take_over(
    work: Work,
    life: str,
    running: frozenset[int],
    dead_after: timedelta,
    most: Callable[[str], int],
) -> int:
    """Queue the running jobs that nobody runs any more; return how many.

    Args:
        work: the transaction.
        life: what this daemon's present life claims by; what its earlier lives claimed is free at once.
        running: the numbers of the jobs that this process does run.
        dead_after: any other job is free when it gave no sign of life for so long.
        most: how many attempts a kind has; a job that has used them up has failed. It may be what kills the daemon.
    """
    daemon = life.rpartition("/")[0]
    earlier_life = and_(
        col(Job.claimed_by).startswith(f"{daemon}/", autoescape=True), col(Job.claimed_by) != life
    )
    ownerless = select(Job).where(
        col(Job.state) == JobState.RUNNING,
        col(Job.id).not_in(running),
        or_(earlier_life, col(Job.alive_at) < work.now - dead_after),
    )
    found = (await work.session.scalars(ownerless.order_by(col(Job.id)))).all()
    return sum([await _free(work, job, most(job.kind)) for job in found])


async def _free(work: Work, job: Job, most: int) -> bool:
    dead = Claim(job.id, job.kind, job.subject, job.attempts, job.claimed_by)
    # With the heartbeat it was judged by: its daemon may have woken up in between.
    expected = [*_ours(dead), col(Job.alive_at) == job.alive_at]
    if job.attempts >= most:
        return await _change(
            work, expected, state=JobState.FAILED, finished_at=work.now, last_error=_DIED
        )
    # At once the first time, since daemons are restarted; later with a pause, since this may be what kills them.
    pause = pause_after(job.attempts - 1) if job.attempts > 1 else timedelta(0)
    return await _change(
        work, expected, state=JobState.QUEUED, run_after=work.now + pause, last_error=_DIED
    )


def _ours(claim: Claim) -> list[ColumnElement[bool]]:
    return [
        col(Job.id) == claim.job_id,
        col(Job.state) == JobState.RUNNING,
        col(Job.claimed_by) == claim.claimed_by,
        col(Job.attempts) == claim.attempt,
    ]


async def _change(work: Work, expected: list[ColumnElement[bool]], **values: Any) -> bool:
    changed = await work.session.scalars(
        update(Job)
        .where(*expected)
        .values(**values)
        .returning(col(Job.id))
        .execution_options(synchronize_session=False)
    )
    return changed.first() is not None
