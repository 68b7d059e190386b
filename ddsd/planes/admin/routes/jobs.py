"""The queue: what is done in the background, how far it is, and what failed."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.jobs import operating, queue
from ddsd.jobs.tables import JobState
from ddsd.planes.admin import present
from ddsd.planes.admin.condition import Timetable
from ddsd.work import Services, reading, transaction


@get("/jobs")
async def list_jobs(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    in_state: FromQuery[JobState | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 50,
) -> list[wire.Job]:
    """List jobs, newest first."""
    async with reading(services, operator) as work:
        return [present.job(one) for one in await queue.listing(work, in_state, limit)]


@get("/jobs/{number:int}")
async def show_job(
    number: FromPath[int],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Job:
    """Show one job."""
    async with reading(services, operator) as work:
        return present.job(await queue.show(work, number))


@post("/jobs")
async def run_job(
    data: JSONBody[wire.RunJob],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    timetable: NamedDependency[Timetable],
) -> wire.Job:
    """Start a scheduled job now."""
    async with transaction(services, operator) as work:
        return present.job(await operating.run(work, timetable.jobs, data.kind))


@post("/jobs/{number:int}/retry")
async def retry_job(
    number: FromPath[int],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Job:
    """Try a failed job again, as a new one."""
    async with transaction(services, operator) as work:
        return present.job(await operating.retry(work, number))


@get("/schedule", sync_to_thread=False)
def list_schedule(
    operator: NamedDependency[Operator], timetable: NamedDependency[Timetable]
) -> list[wire.ScheduledJob]:
    """List what comes by the clock."""
    return [present.scheduled(one) for one in timetable.jobs]
