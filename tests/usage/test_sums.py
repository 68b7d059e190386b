"""The database adds up what the definition says, whatever the versions and the window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from ddsd.access import System
from ddsd.files.tables import FileVersion
from ddsd.projects.tables import Project
from ddsd.usage import sums
from ddsd.usage.bytehours import Month, Stay, byte_hours, cost, months
from ddsd.work import Services, transaction
from tests.builders import a_project, a_unit

BASE = datetime(2026, 1, 31, 22, 0, tzinfo=UTC)
MOMENTS = st.timedeltas(timedelta(0), timedelta(days=60)).map(lambda later: BASE + later)
SIZES = st.sampled_from([0, 1, 53, 10**9, 2**50])


@st.composite
def stays(draw: st.DrawFn) -> Stay:
    uploaded = draw(MOMENTS)
    there = draw(st.none() | st.timedeltas(timedelta(0), timedelta(days=40)))
    return Stay(draw(SIZES), uploaded, None if there is None else uploaded + there)


@given(
    projects=st.lists(st.lists(stays(), max_size=6), min_size=1, max_size=3),
    since=MOMENTS,
    length=st.timedeltas(timedelta(0), timedelta(days=31)),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_the_database_adds_up_what_the_definition_says(
    services: Services, projects: list[list[Stay]], since: datetime, length: timedelta
) -> None:
    until = since + length
    async with transaction(services, System()) as work:
        await work.session.execute(delete(FileVersion))
        unit = await a_unit(work.session)
        expected = {}
        for versions in projects:
            project = await a_project(work.session, unit)
            rows = [version(project, one) for one in versions]
            work.session.add_all(rows)
            expected[project.id] = byte_hours(versions, since, until)
        await work.session.flush()
        found = (await work.session.execute(sums.stored_between(since, until))).all()
        summed = dict.fromkeys(expected, 0.0) | {number: used for number, used, _ in found}
    assert summed == pytest.approx(expected, rel=1e-12)


def version(project: Project, one: Stay) -> FileVersion:
    return FileVersion(
        project_id=project.id,
        size_stored=one.size_stored,
        uploaded_at=one.uploaded_at,
        removed_at=one.removed_at,
    )


def test_a_gigabyte_for_a_day_is_24_gigabyte_hours() -> None:
    stay = Stay(10**9, BASE, BASE + timedelta(days=1))
    assert byte_hours([stay], BASE, BASE + timedelta(days=9)) == 24 * 10**9


def test_a_version_that_is_still_there_counts_until_now() -> None:
    assert byte_hours([Stay(6, BASE)], BASE, BASE + timedelta(minutes=30)) == 3


def test_a_gigabyte_for_30_days_costs_the_price() -> None:
    assert cost(10**9 * 720, 0.09) == pytest.approx(0.09)


def test_months_begin_and_end_at_midnight_in_utc() -> None:
    december = Month(2026, 12)
    assert (december.start, december.end) == (
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    assert Month.of(datetime.fromisoformat("2027-01-01T00:30:00+01:00")) == december


def test_windows_that_follow_each_other_add_up_to_the_whole() -> None:
    stay = Stay(7, BASE + timedelta(microseconds=1), BASE + timedelta(days=45))
    parts = [
        byte_hours([stay], one.start, one.end) for one in months(Month(2026, 1), Month(2026, 5))
    ]
    assert sum(parts) == pytest.approx(byte_hours([stay], BASE, BASE + timedelta(days=100)))


@pytest.mark.parametrize(
    "text", ["2026-13", "2026-1", "26-01", "2026-00", "0000-01", "2026-01-01", ""]
)
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no month"):
        Month.parse(text)


@given(st.integers(1, 12), st.integers(0, 40))
def test_months_count_back_as_they_count_forward(month: int, count: int) -> None:
    before = Month(2026, month).preceding(count)
    assert len(list(months(before, Month(2026, month)))) == count + 1
    assert Month.parse(str(before)) == before
