"""The machine's clock jumps: nobody is locked out, nothing lives longer than it may, and nothing breaks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.builders import SettableClock
from tests.world import World


async def status_of(world: World, token: str) -> int:
    return (await world.call("GET", "/proj/list", token=token)).status_code


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=30)])
async def test_a_clock_set_back_locks_nobody_out(
    back: timedelta, world: World, clock: SettableClock
) -> None:
    token = await world.login("admin1")
    clock.set(clock.now() - back)
    assert await status_of(world, token) == 200
    assert await status_of(world, await world.login("admin1")) == 200
    assert (await world.project()).startswith("unit1")


async def test_a_clock_that_leaps_ahead_ends_logins_and_new_ones_are_made(
    world: World, clock: SettableClock
) -> None:
    before = clock.now()
    token = await world.login("admin1")
    clock.set(before + timedelta(days=3650))
    assert await status_of(world, token) == 401
    late = await world.login("admin1")
    assert await status_of(world, late) == 200
    clock.set(before)
    assert await status_of(world, late) == 200
    assert await status_of(world, await world.login("admin1")) == 200
