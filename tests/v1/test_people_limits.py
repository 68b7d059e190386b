"""What the stock client is told when somebody has sent too many invites."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.v1.crowd import add, invited
from tests.world import PROJECT, World, make_world


@pytest.fixture
def kind() -> str:
    """Counting is tested on both kinds of database elsewhere."""
    return "sqlite"


def allowing(world: World, invites_per_hour: int) -> World:
    settings = world.services.settings
    security = settings.security.model_copy(update={"invites_per_hour": invites_per_hour})
    strict = settings.model_copy(update={"security": security})
    return make_world(replace(world.services, settings=strict), world.clock)


@pytest.mark.parametrize("edition", ["v1", "v3"])
async def test_too_many_invites_are_answered_429_with_the_time_to_wait(
    world: World, edition: str
) -> None:
    strict = allowing(world, 1)
    first = await add(strict, "admin1", "a@example.org", "Unit Personnel", edition=edition)
    assert first.status_code == 200
    answer = await add(strict, "admin1", "b@example.org", "Unit Personnel", edition=edition)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
    assert "the most" in answer.json()["message"]
    assert list(await invited(world)) == ["a@example.org"]


async def test_a_project_is_made_and_says_who_was_not_invited(world: World) -> None:
    strict = allowing(world, 1)
    people = [{"email": f"{who}@example.org", "role": "Researcher"} for who in "ab"]
    answer = await strict.call(
        "POST", "/proj/create", "admin1", json=PROJECT | {"force": True, "users_to_add": people}
    )
    assert answer.status_code == 200
    said = answer.json()["user_addition_statuses"]
    assert said[0].startswith("Invitation sent to a@example.org")
    assert said[1].startswith("You have sent 1 invites")
    assert list(await invited(world)) == ["a@example.org"]
