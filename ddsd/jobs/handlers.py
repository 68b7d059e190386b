"""The queue's own job, which keeps its table small, and when it comes by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ddsd.access import System
from ddsd.jobs import queue
from ddsd.jobs.runner import Handler
from ddsd.jobs.schedule import Cron, ScheduledJob
from ddsd.work import Services, transaction

FORGET_OLD_JOBS: Final = "forget_old_jobs"


async def forget_old_jobs(services: Services, _subject: str) -> None:
    """Handle the job :data:`FORGET_OLD_JOBS`: remove what ended long ago."""
    async with transaction(services, System()) as work:
        await queue.forget_old(work)


HANDLERS: Final[Mapping[str, Handler]] = {FORGET_OLD_JOBS: forget_old_jobs}
SCHEDULED: Final = (ScheduledJob(FORGET_OLD_JOBS, Cron("10 3 * * *")),)
