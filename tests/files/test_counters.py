"""Whatever is registered or replaced, in whatever order: the kept counters equal a recount."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.files.recount import counted, kept
from tests.world import World, file_body

NAMES = ["f", "a/f", "a/b/f", "a/b", "a", "b/f", "b/f/g", "á/f", "a%/f", "a_/f", "a/c/d/e/f"]


@pytest.mark.parametrize("seed", range(4))
async def test_counters_equal_a_recount_after_any_sequence(world: World, seed: int) -> None:
    chance = random.Random(seed)
    project = await world.project()
    for _ in range(25):
        body = file_body(
            chance.choice(NAMES),
            size=chance.choice([0, 1, 2**40, chance.randrange(10**6)]),
            size_processed=chance.randrange(10**6),
        )
        before = await kept(world.services, project)
        method = chance.choice(["POST", "PUT"])
        answer = await world.call(method, f"/file/new?project={project}", "admin1", json=body)
        after = await kept(world.services, project)
        assert answer.status_code in {200, 400}, answer.text
        if answer.status_code == 400:
            assert after == before
        assert after == await counted(world.services, project)


async def test_counters_equal_a_recount_after_many_at_once(world: World) -> None:
    project = await world.project()

    async def register(number: int) -> int:
        body = file_body(f"d{number % 3}/e{number % 5}/f{number % 20}", size=number)
        answer = await world.call("POST", f"/file/new?project={project}", "admin1", json=body)
        return answer.status_code

    await world.token_of("admin1")
    statuses = await asyncio.gather(*map(register, range(40)))
    names = {(number % 3, number % 5, number % 20) for number in range(40)}
    assert statuses.count(200) == len(names)
    assert set(statuses) <= {200, 400}
    after = await kept(world.services, project)
    assert after == await counted(world.services, project)
    assert after.files == len(names)
