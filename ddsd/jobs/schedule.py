"""What happens by the clock: the schedule only enqueues, and the queue does the rest.

Invariant: whatever is scheduled can also be listed, started by hand and waited for, since it is a job like others.
Several daemons at one database enqueue at the same moment; while the first job is active the second is not added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from ddsd.access import System
from ddsd.errors import ConfigurationError, DatabaseUnavailable
from ddsd.jobs import queue
from ddsd.work import Services, transaction

EVERYTHING: Final = "all"
_RETRY_S: Final = 15.0
_log = structlog.get_logger()


@dataclass(frozen=True)
class Every:
    """Again and again, ``interval`` after the start of the daemon and after each time."""

    interval: timedelta


@dataclass(frozen=True)
class Cron:
    """At the times of a crontab line's five fields, in UTC."""

    line: str


@dataclass(frozen=True)
class ScheduledJob:
    """A job that is enqueued by the clock.

    Args:
        kind: the handler's name.
        when: how often.
        subject: what the handler gets.
        at_start: also when the daemon starts, so that nothing is missed while it was down. Only for what may
            happen oftener than planned.
    """

    kind: str
    when: Every | Cron
    subject: str = EVERYTHING
    at_start: bool = True


class Schedule:
    """Enqueues scheduled jobs.

    Args:
        services: for the transactions.
        scheduled: what to enqueue, each kind and subject once.

    Raises:
        ConfigurationError: a crontab line is none.
    """

    def __init__(self, services: Services, scheduled: Iterable[ScheduledJob]) -> None:
        self._services = services
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        for job in scheduled:
            self._add(job)

    def start(self) -> None:
        """Begin; to be called on the daemon's event loop, after the runner has started."""
        self._scheduler.start()

    def next_times(self) -> dict[tuple[str, str], datetime]:
        """Return when each kind and subject is enqueued next (aware, UTC)."""
        return {
            (job.args[0].kind, job.args[0].subject): job.next_run_time
            for job in self._scheduler.get_jobs()
        }

    async def stop(self) -> None:
        """Enqueue nothing more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
            await asyncio.sleep(0)  # the scheduler ends in a callback of its own

    def _add(self, job: ScheduledJob) -> None:
        at_start = {"next_run_time": datetime.now(UTC)} if job.at_start else {}
        self._scheduler.add_job(
            self._enqueue,
            _trigger(job.when),
            args=[job],
            id=f"{job.kind} {job.subject}",
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
            **at_start,
        )

    async def _enqueue(self, scheduled: ScheduledJob) -> None:
        while True:
            try:
                async with transaction(self._services, System()) as work:
                    job = await queue.enqueue_unless_active(work, scheduled.kind, scheduled.subject)
            except DatabaseUnavailable:
                await asyncio.sleep(_RETRY_S)
            else:
                _log.debug("schedule.enqueued", kind=scheduled.kind, added=job is not None)
                return


def _trigger(when: Every | Cron) -> IntervalTrigger | CronTrigger:
    match when:
        case Every(interval=interval):
            return IntervalTrigger(seconds=interval.total_seconds(), timezone=UTC)
        case Cron(line=line):
            try:
                return CronTrigger.from_crontab(line, timezone=UTC)
            except ValueError as wrong:
                raise ConfigurationError(f"This is no crontab line: '{line}' ({wrong})") from wrong
