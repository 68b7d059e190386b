"""What this version cannot do yet is said as that, to those who will be able to."""

from __future__ import annotations

import pytest

from ddsd.access import Role
from ddsd.planes.v1.later import LATER, Later
from tests.world import World

SOMEBODY = {Role.UNIT_ADMIN: "admin1", Role.SUPER_ADMIN: "super", Role.RESEARCHER: "researcher1"}


def _name(one: Later) -> str:
    return f"{one.method} {one.path}"


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("edition", ["v1", "v3"])
async def test_each_says_that_it_cannot_and_what(world: World, edition: str) -> None:
    for one in LATER:
        for role, who in SOMEBODY.items():
            answer = await world.call(one.method, one.path, who, edition=edition)
            if role in one.roles:
                said = (400, {"message": f"This version of the service cannot {one.what} yet."})
            else:
                said = (403, {"message": "Insufficient credentials"})
            assert (answer.status_code, answer.json()) == said, _name(one)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_nobody_is_asked_to_log_in_first(world: World) -> None:
    for one in LATER:
        answer = await world.call(one.method, one.path)
        assert (answer.status_code, answer.json()) == (401, {"message": "No token"}), _name(one)
