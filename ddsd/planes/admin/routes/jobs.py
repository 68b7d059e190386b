"""The queue: what is done in the background, how far it is, and what failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.jobs import operating, queue
from ddsd.jobs.tables import Job, JobState
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
        found = await queue.listing(work, in_state, limit)
        since = await queue.tried_since(work, _failed(found))
        return [present.job(one, since.get(one.id)) for one in found]


@get("/jobs/{number:int}")
async def show_job(
    number: FromPath[int],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Job:
    """Show one job."""
    async with reading(services, operator) as work:
        found = await queue.show(work, number)
        since = await queue.tried_since(work, _failed([found]))
        return present.job(found, since.get(number))


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


@post("/jobs/retry", status_code=HTTP_200_OK)
async def retry_failed_jobs(
    data: JSONBody[wire.TryAgain],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.TriedAgain:
    """Try again what failed jobs did not manage, a step at a time, or only count them."""
    async with transaction(services, operator) as work:
        if data.dry_run:
            return wire.TriedAgain(count=await queue.count_failed(work))
        done = await operating.retry_failed(work, data.after)
    return wire.TriedAgain(count=done.jobs, last=done.last, more=done.more)


@get("/schedule", sync_to_thread=False)
def list_schedule(
    operator: NamedDependency[Operator], timetable: NamedDependency[Timetable]
) -> list[wire.ScheduledJob]:
    """List what comes by the clock."""
    return [present.scheduled(one) for one in timetable.jobs]


def _failed(jobs: Iterable[Job]) -> list[int]:
    return [one.id for one in jobs if one.state is JobState.FAILED]
