"""Budgets: fixed windows, counted in the database."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from ddsd.access import System
from ddsd.errors import TooManyRequests
from ddsd.users import limits
from ddsd.users.limits import Budget
from ddsd.users.tables import AttemptWindow
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock

HOUR = timedelta(hours=1)


def budget(attempts: int = 2, *whose: str, window: timedelta = HOUR) -> Budget:
    return Budget(("login", *(whose or ("eva",))), attempts, window, "Slow down")


async def test_it_is_spent_and_no_more(services: Services) -> None:
    await limits.spend(services, budget())
    await limits.spend(services, budget())
    with pytest.raises(TooManyRequests, match="Slow down"):
        await limits.spend(services, budget())


async def test_a_refusal_says_when_the_window_ends(
    services: Services, clock: SettableClock
) -> None:
    clock.advance(seconds=1000)
    with pytest.raises(TooManyRequests) as refused:
        await limits.spend(services, budget(0))
    assert refused.value.retry_after_s == 2600


async def test_it_is_full_again_in_the_next_window(
    services: Services, clock: SettableClock
) -> None:
    await limits.spend(services, budget(1))
    clock.advance(seconds=3599)
    with pytest.raises(TooManyRequests):
        await limits.spend(services, budget(1))
    clock.advance(seconds=1)
    await limits.spend(services, budget(1))


async def test_one_that_is_used_up_refuses_for_all(services: Services) -> None:
    await limits.spend(services, budget(1, "a"))
    with pytest.raises(TooManyRequests):
        await limits.spend(services, budget(5, "b"), budget(1, "a"))


async def test_subjects_are_told_apart(services: Services) -> None:
    for whose in (("a", "bc"), ("ab", "c"), ("abc",), ("a", "b", "c"), ("x" * 10_000,)):
        await limits.spend(services, budget(1, *whose))


async def test_at_the_same_moment_every_attempt_counts(services: Services) -> None:
    spent = await asyncio.gather(
        *(limits.spend(services, budget(5)) for _ in range(12)), return_exceptions=True
    )
    assert [one for one in spent if one is None] == [None] * 5
    assert sum(isinstance(one, TooManyRequests) for one in spent) == 7


async def test_nobodys_name_or_address_is_stored(services: Services) -> None:
    await limits.spend(services, budget(1, "eva-with-a-long-name", "192.0.2.7"))
    async with reading(services, System()) as work:
        [row] = (await work.session.execute(select(AttemptWindow))).scalars()
    assert row.subject.startswith("login:")
    assert len(row.subject) == len("login:") + 64


async def test_old_windows_are_forgotten_and_running_ones_kept(
    services: Services, clock: SettableClock
) -> None:
    await limits.spend(services, budget(1))
    clock.advance(hours=2, seconds=1)
    await limits.spend(services, budget(1))
    async with transaction(services, System()) as work:
        assert await limits.forget_old(work) == 1
    with pytest.raises(TooManyRequests):
        await limits.spend(services, budget(1))
