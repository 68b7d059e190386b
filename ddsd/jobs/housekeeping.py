"""The job that keeps the queue's own table small."""

from __future__ import annotations

from typing import Final

from ddsd.access import System
from ddsd.jobs import queue
from ddsd.work import Services, transaction

FORGET_OLD_JOBS: Final = "forget_old_jobs"


async def forget_old_jobs(services: Services, _subject: str) -> None:
    """Handle the job :data:`FORGET_OLD_JOBS`: remove what ended long ago."""
    async with transaction(services, System()) as work:
        await queue.forget_old(work)
