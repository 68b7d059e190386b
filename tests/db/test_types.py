"""The column types: what goes in comes out, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import StatementError

from ddsd.access import Role
from ddsd.db.engine import Database
from ddsd.db.types import EnumText, UtcDateTime
from ddsd.projects.status import Status

SCRATCH = MetaData()
SAMPLES = Table(
    "samples",
    SCRATCH,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime),
    Column("status", EnumText(Status)),
)

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001 - hypothesis wants naive bounds


async def stored(
    database: Database, rows: list[tuple[datetime | None, Status | None]]
) -> list[tuple[datetime | None, Status | None]]:
    """Store the rows in a table made for it and return them as they are read back."""
    async with database.reshaping() as connection:
        await connection.run_sync(SCRATCH.drop_all)
        await connection.run_sync(SCRATCH.create_all)
    async with database.writing() as session:
        for number, (at, status) in enumerate(rows):
            await session.execute(insert(SAMPLES).values(id=number, at=at, status=status))
    async with database.reading() as session:
        found = await session.execute(select(SAMPLES.c.at, SAMPLES.c.status).order_by(SAMPLES.c.id))
        return [(row.at, row.status) for row in found]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(st.none() | moments, st.none() | st.sampled_from(list(Status))), max_size=12
    )
)
async def test_moments_and_members_come_back_as_they_were(
    empty_database: Database, rows: list[tuple[datetime | None, Status | None]]
) -> None:
    found = await stored(empty_database, rows)
    assert found == rows
    assert all(at.tzinfo is UTC for at, _ in found if at)
    assert all(isinstance(status, Status) for _, status in found if status)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(left=moments, right=moments)
async def test_the_database_orders_moments_as_time_does(
    empty_database: Database, left: datetime, right: datetime
) -> None:
    await stored(empty_database, [(left, None)])
    async with empty_database.reading() as session:
        earlier = await session.scalar(select(SAMPLES.c.id).where(SAMPLES.c.at < right))
    assert (earlier is not None) is (left < right)


async def test_a_naive_moment_is_refused(empty_database: Database) -> None:
    with pytest.raises(StatementError, match="naive"):
        await stored(empty_database, [(datetime(2026, 3, 2), None)])  # noqa: DTZ001 - the point


async def test_text_that_is_no_member_is_refused(empty_database: Database) -> None:
    for stranger in ("Lost", Role.RESEARCHER):
        with pytest.raises(StatementError, match="is not a valid Status"):
            await stored(empty_database, [(None, stranger)])  # type: ignore[list-item]  # the point
