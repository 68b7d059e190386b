"""A real MinIO is away for an hour of the daemon's own clock: what waits for it goes on by itself, with tries left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from ddsd import bootstrap
from ddsd.access import System
from ddsd.files import removal
from ddsd.jobs.claims import LONGEST_PAUSE
from ddsd.jobs.runner import JobRunner, Pace
from ddsd.jobs.tables import Job, JobState
from ddsd.projects.tables import Project
from ddsd.storage.minio import S3Store
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.files.delivered import Delivery, a_delivery, keys_in, names_in
from tests.files.recount import counted, kept
from tests.parts.minio_server import MinioServer, minio_server

FILES = [f"d{number % 3}/file{number:02d}" for number in range(20)]
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    yield from minio_server(tmp_path_factory.mktemp("minio"))


@pytest.fixture
async def stored(
    services: Services, minio: MinioServer, clock: SettableClock
) -> AsyncIterator[Services]:
    """Services whose store is that MinIO; what is signed is signed in the present."""
    clock.set(datetime.now(UTC))
    store = S3Store(
        endpoint=minio.endpoint, access_key=minio.access_key, secret_key=minio.secret_key
    )
    await store.start()
    yield replace(services, store=store)
    await store.stop()


async def begin_emptying(services: Services, delivery: Delivery) -> None:
    async with transaction(services, delivery.member) as work:
        project = await work.session.get_one(Project, delivery.project.id)
        await removal.begin_emptying(work, project)


async def the_job(services: Services) -> Job:
    async with reading(services, System()) as work:
        return (await work.session.scalars(select(Job))).one()


async def rests(services: Services, attempts: int) -> Job:
    """Wait until the job has been tried so often, and return it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            job = await the_job(services)
            if job.attempts >= attempts and job.state is not JobState.RUNNING:
                return job
            await asyncio.sleep(0.02)


async def test_a_removal_goes_on_by_itself_after_an_hour_and_has_lost_hardly_a_try(
    stored: Services, minio: MinioServer, clock: SettableClock
) -> None:
    delivery = await a_delivery(stored, FILES)
    public_id = delivery.project.public_id
    await asyncio.to_thread(minio.stop)
    await begin_emptying(stored, delivery)
    went_away_at = clock.now()
    runner = JobRunner(stored, bootstrap.HANDLERS, pace=Pace(poll_s=0.02))
    await runner.start()
    try:
        job = await rests(stored, 1)
        while job.run_after < went_away_at + timedelta(hours=1):
            assert "store.endpoint" in job.last_error
            assert job.state is JobState.QUEUED
            clock.set(job.run_after)
            job = await rests(stored, job.attempts + 1)
        assert job.attempts <= Pace().attempts // 10
        assert await names_in(stored, delivery) == sorted(FILES)
        assert await kept(stored, public_id) == await counted(stored, public_id)
        await asyncio.to_thread(minio.start)
        clock.set(clock.now() + LONGEST_PAUSE)
        job = await rests(stored, job.attempts + 1)
    finally:
        await runner.stop()
    assert job.state is JobState.DONE
    assert (await names_in(stored, delivery), await keys_in(stored, delivery)) == ([], [])
    assert await kept(stored, public_id) == await counted(stored, public_id)
