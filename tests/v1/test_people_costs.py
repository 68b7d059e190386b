"""What listing people costs the database: as many statements for many as for few."""

from __future__ import annotations

import pytest

from tests.bench import filling
from tests.delivery.test_login import statements
from tests.v1.crowd import add
from tests.world import World


@pytest.fixture
def kind() -> str:
    """Statements are counted, and they are the same on both kinds of database."""
    return "sqlite"


async def asked_for(world: World, path: str, who: str) -> int:
    with statements() as seen:
        answer = await world.call("GET", path, who)
    assert answer.status_code == 200, answer.text
    return len(seen)


@pytest.mark.parametrize("who", ["admin1", "super"])
async def test_listing_many_people_takes_no_more_statements(world: World, who: str) -> None:
    await world.token_of(who)
    paths = ("/users", "/user/invites", "/user/emails" if who == "super" else "/users")
    few = [await asked_for(world, path, who) for path in paths]
    await filling.members(world.services, "unit1", 200)
    for number in range(20):
        await add(world, "admin1", f"new{number}@example.org", "Unit Personnel")
    assert [await asked_for(world, path, who) for path in paths] == few
