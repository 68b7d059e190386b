"""A line a month says how the service is used; there is always one to show."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from ddsd.access import Nobody, Role, System
from ddsd.errors import Forbidden
from ddsd.jobs.queue import GiveUp
from ddsd.projects.status import Status
from ddsd.projects.tables import Membership
from ddsd.usage import monthly, statistics
from ddsd.usage.bytehours import Month
from ddsd.usage.tables import Statistics
from ddsd.work import Services, reading, transaction
from tests.builders import NOON, SettableClock, a_project, a_unit, a_user
from tests.usage.records import a_version, letters

DAY = timedelta(days=1)
APRIL = Month(2026, 4)


async def arrange(services: Services) -> None:
    """Make a unit, people of each kind, two projects, and data that was there for a day and is there still."""
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session)
        for role, number in ((Role.SUPER_ADMIN, 1), (Role.UNIT_ADMIN, 2), (Role.UNIT_PERSONNEL, 3)):
            for _ in range(number):
                await a_user(work.session, role=role, unit_id=unit.id)
        owner, researcher = await a_user(work.session), await a_user(work.session)
        project = await a_project(work.session, unit, bytes_stored=100)
        ended = await a_project(work.session, unit, status=Status.ARCHIVED, active=False)
        for one in (project, ended):
            work.session.add(Membership(project_id=one.id, user_id=owner.id, owner=True))
        work.session.add(Membership(project_id=project.id, user_id=researcher.id))
        a_version(work, ended, 10, NOON, NOON + DAY)
        a_version(work, project, 100, APRIL.start)


async def lines(services: Services) -> list[Statistics]:
    """Return the lines as they are shown."""
    async with reading(services, System()) as work:
        return list(await statistics.listing(work))


@pytest.mark.parametrize("collected", [False, True])
async def test_a_line_counts_people_projects_and_data(
    services: Services, clock: SettableClock, collected: bool
) -> None:
    await arrange(services)
    clock.set(APRIL.start + DAY)
    if collected:
        await monthly.collect_due(services, System())
    await statistics.collect_statistics(services, "all")
    [line] = await lines(services)
    assert line.model_dump(exclude={"collected_at"}) == {
        "day": date(2026, 4, 2),
        "units": 1,
        "researchers": 2,
        "project_owners": 1,
        "unit_personnel": 3,
        "unit_admins": 2,
        "super_admins": 1,
        "active_projects": 1,
        "inactive_projects": 1,
        "bytes_stored": 100,
        "bytes_uploaded": 110,
        "byte_hours_last_month": 240.0,
        "byte_hours_total": 2640.0,
    }


async def test_there_is_one_line_a_month_and_missed_days_do_not_matter(
    services: Services, clock: SettableClock
) -> None:
    for moment in (NOON, NOON + DAY, APRIL.start + 9 * DAY, APRIL.start + 20 * DAY):
        clock.set(moment)
        await statistics.collect_statistics(services, "all")
    assert [line.day for line in await lines(services)] == [date(2026, 3, 2), date(2026, 4, 10)]


async def test_counting_again_on_the_same_day_replaces_the_line(services: Services) -> None:
    for _ in range(2):
        async with transaction(services, System()) as work:
            await a_unit(work.session)
            await statistics.collect(work)
    assert [line.units for line in await lines(services)] == [2]


async def test_before_there_is_a_line_one_of_this_moment_is_shown_and_not_kept(
    services: Services, clock: SettableClock
) -> None:
    assert [line.day for line in await lines(services)] == [NOON.date()]
    clock.advance(days=1)
    assert [line.day for line in await lines(services)] == [NOON.date() + DAY]


async def test_two_at_once_leave_one_line(services: Services) -> None:
    await asyncio.gather(*(statistics.collect_statistics(services, "all") for _ in range(3)))
    async with reading(services, System()) as work:
        assert not await statistics.due(work)
    assert len(await lines(services)) == 1


async def test_a_stranger_sees_and_counts_nothing(services: Services) -> None:
    async with transaction(services, Nobody()) as work:
        for verb in (statistics.listing, statistics.collect):
            with pytest.raises(Forbidden):
                await verb(work)


async def test_a_fault_is_told_by_mail(services: Services) -> None:
    async with transaction(services, System()) as work:
        await work.session.execute(text("DROP TABLE statistics"))
    with pytest.raises(GiveUp):
        await statistics.collect_statistics(services, "all")
    assert await letters(services) == [("statistics_failed", "root@localhost")]
