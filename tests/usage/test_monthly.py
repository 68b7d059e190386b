"""Each month is written down once, when it is over; what was missed is caught up with."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update

from ddsd.access import Member, Nobody, Role, System
from ddsd.errors import Busy, Forbidden
from ddsd.files import registration
from ddsd.files.registration import NewFile, Upload
from ddsd.files.tables import FileVersion
from ddsd.jobs.queue import GiveUp
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.usage import monthly, reports
from ddsd.usage.bytehours import Month
from ddsd.usage.monthly import Collected
from ddsd.usage.tables import Collection, MonthlyUsage
from ddsd.work import Services, reading, transaction
from tests.builders import NOON, SettableClock, a_project, a_unit, a_user
from tests.usage.records import a_version, letters

MARCH = Month(2026, 3)
APRIL = Month(2026, 4)
DAY = timedelta(days=1)


async def recorded(services: Services) -> dict[str, float]:
    """Return the byte-hours that are written down, by month, of the one project that has any."""
    async with reading(services, System()) as work:
        rows = await work.session.scalars(select(MonthlyUsage))
        return {row.month: row.byte_hours for row in rows}


async def a_delivery(services: Services, **fields: object) -> int:
    """Make a project since noon on 2 March; return its number."""
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session)
        return (await a_project(work.session, unit, **fields)).id


async def store(
    services: Services, number: int, size: int, begin: datetime, end: datetime | None = None
) -> None:
    """Store something in a project."""
    async with transaction(services, System()) as work:
        a_version(work, await work.session.get_one(Project, number), size, begin, end)


async def is_closed(services: Services, number: int) -> bool:
    """Say whether nothing more is to be counted of a project."""
    async with reading(services, System()) as work:
        return (await work.session.get_one(Project, number)).usage_closed_at is not None


async def test_a_month_is_written_down_when_it_is_over(
    services: Services, clock: SettableClock
) -> None:
    project = await a_delivery(services)
    await store(services, project, 10, MARCH.end - DAY, APRIL.start + DAY)
    clock.set(MARCH.end + timedelta(minutes=59))
    assert await monthly.collect_due(services, System()) == []
    clock.set(MARCH.end + timedelta(hours=1))
    [done] = await monthly.collect_due(services, System())
    assert (done.month, done.projects, done.byte_hours, done.bytes_uploaded) == (MARCH, 1, 240, 10)
    assert await recorded(services) == {"2026-03": 240.0}
    assert await letters(services) == [("usage_available", "root@localhost")]


async def test_a_month_is_written_down_once(services: Services, clock: SettableClock) -> None:
    project = await a_delivery(services)
    await store(services, project, 10, NOON)
    clock.set(APRIL.start + DAY)
    await monthly.collect_usage(services, "all")
    before = await recorded(services)
    await store(services, project, 1000, NOON)
    await monthly.collect_usage(services, "all")
    assert await recorded(services) == before
    assert len(await letters(services)) == 1


async def test_missed_months_are_caught_up_with_in_order(
    services: Services, clock: SettableClock
) -> None:
    project = await a_delivery(services)
    await store(services, project, 1, MARCH.start, None)
    clock.set(datetime(2027, 2, 1, 2, tzinfo=UTC))
    done = await monthly.collect_due(services, System())
    assert [str(one.month) for one in done][:2] == ["2026-03", "2026-04"]
    assert len(done) == 11
    hours = (Month(2027, 1).end - MARCH.start) / timedelta(hours=1)
    assert sum((await recorded(services)).values()) == pytest.approx(hours)


async def test_the_plan_is_what_is_then_done_and_changes_nothing(
    services: Services, clock: SettableClock
) -> None:
    project = await a_delivery(services)
    await store(services, project, 10, NOON, NOON + DAY)
    clock.set(APRIL.end + DAY)
    planned: list[Collected] = []
    async with reading(services, System()) as work:
        while one := await monthly.plan_next(work, planned[-1].month if planned else None):
            planned.append(one)
    assert await recorded(services) == {}
    assert planned == await monthly.collect_due(services, System())
    assert [one.projects for one in planned] == [1, 0]


async def test_without_projects_nothing_is_due(services: Services, clock: SettableClock) -> None:
    clock.advance(days=100)
    assert await monthly.collect_due(services, System()) == []


async def test_two_at_once_write_a_month_down_once(
    services: Services, clock: SettableClock
) -> None:
    project = await a_delivery(services)
    await store(services, project, 10, NOON, NOON + DAY)
    clock.set(APRIL.start + DAY)
    ended = await asyncio.gather(
        *(monthly.collect_due(services, System()) for _ in range(3)), return_exceptions=True
    )
    assert {type(one) for one in ended} <= {list, Busy}
    assert await recorded(services) == {"2026-03": 240.0}
    assert len(await letters(services)) == 1


async def test_only_who_operates_the_service_writes_down(
    services: Services, clock: SettableClock
) -> None:
    await a_delivery(services)
    clock.advance(days=60)
    with pytest.raises(Forbidden):
        await monthly.collect_due(services, Nobody())


class TestClosing:
    """A project with an end and nothing left costs nothing any more."""

    async def test_an_archived_project_is_closed_once_all_is_counted(
        self, services: Services, clock: SettableClock
    ) -> None:
        project = await a_delivery(services, status=Status.ARCHIVED, active=False)
        await store(services, project, 10, NOON, APRIL.start + DAY)
        clock.set(APRIL.start + 2 * DAY)
        await monthly.collect_due(services, System())
        assert not await is_closed(services, project)
        clock.set(APRIL.end + DAY)
        await monthly.collect_due(services, System())
        assert await is_closed(services, project)
        clock.set(APRIL.end + 40 * DAY)
        [done] = await monthly.collect_due(services, System())
        assert done.projects == 0

    async def test_an_archived_project_with_something_left_stays_open(
        self, services: Services, clock: SettableClock
    ) -> None:
        project = await a_delivery(services, status=Status.ARCHIVED, active=False)
        await store(services, project, 10, NOON)
        clock.set(APRIL.end + DAY)
        await monthly.collect_due(services, System())
        assert not await is_closed(services, project)

    async def test_an_empty_project_that_may_still_be_filled_stays_open(
        self, services: Services, clock: SettableClock
    ) -> None:
        project = await a_delivery(services, status=Status.EXPIRED)
        clock.set(APRIL.end + DAY)
        await monthly.collect_due(services, System())
        assert not await is_closed(services, project)

    async def test_what_is_counted_of_a_closed_project_stays_in_the_reports(
        self, services: Services, clock: SettableClock
    ) -> None:
        project = await a_delivery(services, status=Status.DELETED, active=False)
        await store(services, project, 10, NOON, NOON + DAY)
        clock.set(APRIL.end + DAY)
        await monthly.collect_due(services, System())
        async with reading(services, System()) as work:
            [ever] = await reports.by_project(work)
            [march] = await reports.by_project(work, month=MARCH)
        assert (ever.byte_hours, march.byte_hours) == (240.0, 240.0)
        assert march.collected_at == clock.now()


async def test_reports_count_every_moment_once_before_and_after_a_collection(
    services: Services, clock: SettableClock
) -> None:
    project = await a_delivery(services)
    await store(services, project, 10, MARCH.end - DAY)
    clock.set(APRIL.start + DAY)
    async with reading(services, System()) as work:
        [before] = await reports.by_project(work)
        [march] = await reports.by_project(work, month=MARCH)
        [april] = await reports.by_project(work, month=APRIL)
    await monthly.collect_due(services, System())
    async with reading(services, System()) as work:
        [after] = await reports.by_project(work)
    assert before.byte_hours == after.byte_hours == 480.0
    assert (march.byte_hours, april.byte_hours) == (240.0, 240.0)


async def test_a_fault_is_told_by_mail_and_nothing_is_half_written(
    services: Services, clock: SettableClock
) -> None:
    project = await a_delivery(services)
    await store(services, project, 10, NOON)
    clock.set(APRIL.start + DAY)
    async with transaction(services, System()) as work:
        await work.session.execute(text("DROP TABLE usage_months"))
    with pytest.raises(GiveUp):
        await monthly.collect_usage(services, "all")
    assert await letters(services) == [("usage_failed", "root@localhost")]
    async with reading(services, System()) as work:
        assert (await work.session.scalars(select(Collection))).all() == []


async def test_a_version_is_in_the_month_it_was_registered_in(
    services: Services, clock: SettableClock
) -> None:
    project = await a_delivery(services)
    await store(services, project, 7, MARCH.end - timedelta(microseconds=1))
    await store(services, project, 5, MARCH.end)
    clock.set(APRIL.end + DAY)
    done = await monthly.collect_due(services, System())
    assert [one.bytes_uploaded for one in done] == [7, 5]


async def test_a_file_in_a_closed_project_opens_it_again(
    services: Services, clock: SettableClock
) -> None:
    """Whatever took the project back to In Progress: what it stores from then on is counted."""
    number = await a_delivery(services)
    async with transaction(services, System()) as work:
        await work.session.execute(update(Project).values(usage_closed_at=clock.now()))
    new = NewFile("a", "key", 1000, 500, True, "A" * 32, "B" * 64, "c" * 64)
    async with transaction(services, System()) as work:
        user = await a_user(work.session)
        member = Member(user.id, user.uid, user.username, user.name, Role.UNIT_ADMIN, None, 1)
        await registration.add_all(work, number, [Upload(number, new, member)])
    assert not await is_closed(services, number)
    async with reading(services, System()) as work:
        assert len((await work.session.scalars(select(FileVersion))).all()) == 1
