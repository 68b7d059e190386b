"""What the clock enqueues."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from ddsd.access import System
from ddsd.errors import ConfigurationError
from ddsd.jobs.schedule import Cron, Every, Schedule, ScheduledJob
from ddsd.jobs.tables import Job, JobState
from ddsd.work import Services, reading
from tests.mail.builders import until

DAILY = Cron("5 0 * * *")


async def jobs(services: Services) -> Sequence[Job]:
    async with reading(services, System()) as work:
        return (await work.session.scalars(select(Job))).all()


async def test_the_schedule_enqueues_at_start_and_runs_nothing(services: Services) -> None:
    schedule = Schedule(
        services,
        [ScheduledJob("expire", DAILY), ScheduledJob("invoice", DAILY, at_start=False)],
    )
    schedule.start()

    async def enqueued() -> bool:
        return bool(await jobs(services))

    await until(enqueued)
    await schedule.stop()
    (job,) = await jobs(services)
    assert (job.kind, job.subject, job.state) == ("expire", "all", JobState.QUEUED)


async def test_an_interval_enqueues_again_and_never_beside_an_active_job(
    services: Services,
) -> None:
    schedule = Schedule(services, [ScheduledJob("expire", Every(timedelta(seconds=0.05)))])
    schedule.start()

    async def three_ended() -> bool:
        found = await jobs(services)
        active = [job for job in found if job.state is JobState.QUEUED]
        assert len(active) <= 1
        for job in active:
            await end(services, job)
        return len(found) >= 3

    await until(three_ended)
    await schedule.stop()


async def end(services: Services, job: Job) -> None:
    async with services.database.writing() as session:
        (await session.get_one(Job, job.id)).state = JobState.DONE


async def test_next_times_are_told_in_utc(services: Services) -> None:
    schedule = Schedule(services, [ScheduledJob("invoice", DAILY, at_start=False)])
    schedule.start()
    (((kind, subject), at),) = schedule.next_times().items()
    await schedule.stop()
    assert (kind, subject, at.hour, at.minute, at.utcoffset()) == (
        "invoice",
        "all",
        0,
        5,
        timedelta(0),
    )
    assert timedelta(0) < at - datetime.now(UTC) <= timedelta(days=1)


async def test_a_crontab_line_that_is_none_is_a_configuration_error(services: Services) -> None:
    with pytest.raises(ConfigurationError, match="61 0"):
        Schedule(services, [ScheduledJob("invoice", Cron("61 0 * * *"))])


async def test_a_schedule_that_was_not_started_can_be_stopped(services: Services) -> None:
    await Schedule(services, []).stop()
