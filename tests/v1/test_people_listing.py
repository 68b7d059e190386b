"""Who is listed to whom, over the stock wire."""

from __future__ import annotations

from typing import Any

import pytest

from tests.v1 import crowd
from tests.v1.crowd import add, told
from tests.world import EMAIL, PEOPLE, World

KEYS = ["Name", "Username", "Email", "Role", "Active"]


async def users(world: World, who: str, unit: Any = None, edition: str = "v1") -> dict[str, Any]:
    """Call ``users``."""
    if edition == "v3":
        path = f"/users?unit={unit}" if unit else "/users"
        answer = await world.call("GET", path, who, edition="v3")
    else:
        answer = await world.call("GET", "/users", who, json={"unit": unit})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("edition", ["v1", "v3"])
class TestUsers:
    """Accounts."""

    async def test_a_super_admin_sees_all(self, world: World, edition: str) -> None:
        told = await users(world, "super", edition=edition)
        assert set(told) == {"users", "keys", "empty"}
        assert (told["keys"], told["empty"]) == (KEYS, False)
        assert {one["Username"] for one in told["users"]} == set(PEOPLE)
        assert told["users"][0] == {
            "Name": "Admin1",
            "Username": "admin1",
            "Email": "admin1@example.org",
            "Role": "Unit Admin",
            "Active": True,
        }

    async def test_a_super_admin_sees_a_unit(self, world: World, edition: str) -> None:
        told = await users(world, "super", "unit2", edition)
        assert told["unit"] == "unit2"
        assert [one["Username"] for one in told["users"]] == ["admin2", "admin2b", "staff2"]

    async def test_others_see_their_own_unit_whatever_they_ask_for(
        self, world: World, edition: str
    ) -> None:
        for who in ("admin2", "staff2"):
            told = await users(world, who, "unit1", edition)
            assert told["unit"] == "unit2"
            assert [one["Username"] for one in told["users"]] == ["admin2", "admin2b", "staff2"]

    async def test_who_is_deactivated_is_shown_so(self, world: World, edition: str) -> None:
        body = {"email": EMAIL.format("staff2"), "action": "deactivate"}
        await world.call("POST", "/user/activation", "super", json=body)
        told = await users(world, "admin2", edition=edition)
        active = {one["Username"]: one["Active"] for one in told["users"]}
        assert active == {"admin2": True, "admin2b": True, "staff2": False}

    async def test_an_unknown_unit(self, world: World, edition: str) -> None:
        options: dict[str, Any] = {"json": {"unit": "nope"}} if edition == "v1" else {}
        answer = await world.call("GET", "/users?unit=nope", "super", edition=edition, **options)
        assert crowd.told(answer) == (400, "There is no unit with the public id 'nope'.")


class TestFindAndEmails:
    """What only super admins ask."""

    @pytest.mark.parametrize(
        ("name", "exists"), [("staff1", True), ("STAFF1", True), ("staff", False), ("%", False)]
    )
    async def test_whether_there_is_an_account(self, world: World, name: str, exists: bool) -> None:
        first = await world.call("GET", "/user/find", "super", json={"username": name})
        params = {"username": name}
        third = await world.call("GET", "/user/find", "super", params=params, edition="v3")
        assert first.json() == third.json() == {"exists": exists}

    async def test_no_name(self, world: World) -> None:
        missing = (400, "Username required to check existence of account.")
        for body in ({"username": ""}, {"name": "x"}):
            answer = await world.call("GET", "/user/find", "super", json=body)
            assert told(answer) == missing
        assert told(await world.call("GET", "/user/find", "super", edition="v3")) == missing
        assert told(await world.call("GET", "/user/find", "super")) == (
            400,
            "Required data missing from request!",
        )

    async def test_the_addresses_of_unit_users(self, world: World) -> None:
        answer = await world.call("GET", "/user/emails", "super")
        unit_users = ["admin1", "admin1b", "admin1c", "admin2", "admin2b", "staff1", "staff2"]
        assert answer.json() == {"emails": [EMAIL.format(one) for one in unit_users]}

    async def test_there_are_none(self, world: World) -> None:
        for name, (role, _) in PEOPLE.items():
            if role.value.startswith("Unit"):
                body = {"email": EMAIL.format(name)}
                await world.call("DELETE", "/user/delete", "super", json=body)
        assert (await world.call("GET", "/user/emails", "super")).json() == {"empty": True}


async def invites(world: World, who: str, edition: str = "v1") -> Any:
    """Call ``user/invites``; return the rows without their dates, by address."""
    answer = await world.call("GET", "/user/invites", who, edition=edition)
    assert answer.status_code == 200, answer.text
    rows = {row.pop("Email"): row for row in answer.json()["invites"]}
    for row in rows.values():
        assert row.pop("Created") == "Mon, 02 Mar 2026 12:00:00 GMT"
    return answer.json()["keys"], rows


@pytest.mark.parametrize("edition", ["v1", "v3"])
async def test_everybody_sees_of_invites_what_concerns_them(world: World, edition: str) -> None:
    first, second = await crowd.owned_project(world), await world.project("staff1")
    foreign = await world.project("admin2")
    await add(world, "admin1", "both@example.org", "Project Owner", first)
    await add(world, "admin2", "both@example.org", project=foreign)
    await add(world, "admin1", "second@example.org", project=second)
    await add(world, "admin2", "foreign@example.org", "Project Owner", foreign)
    await add(world, "admin1", "unbound@example.org")
    await add(world, "admin1", "colleague@example.org", "Unit Personnel")
    await add(world, "super", "super2@example.org", "Super Admin")

    keys, rows = await invites(world, "super", edition)
    assert keys == ["Email", "Unit", "Role", "Projects", "Created"]
    assert rows == {
        "both@example.org": {"Role": "Project Owner", "Projects": [first, foreign], "Unit": ""},
        "second@example.org": {"Role": "Researcher", "Projects": [second], "Unit": ""},
        "foreign@example.org": {"Role": "Project Owner", "Projects": [foreign], "Unit": ""},
        "unbound@example.org": {"Role": "Researcher", "Projects": [], "Unit": ""},
        "colleague@example.org": {
            "Role": "Unit Personnel",
            "Projects": [first, second],
            "Unit": "unit1",
        },
        "super2@example.org": {"Role": "Super Admin", "Projects": "----", "Unit": ""},
    }
    for who in ("admin1", "staff1"):
        keys, rows = await invites(world, who, edition)
        assert keys == ["Email", "Role", "Projects", "Created"]
        assert rows == {
            "both@example.org": {"Role": "Project Owner", "Projects": [first]},
            "second@example.org": {"Role": "Researcher", "Projects": [second]},
            "colleague@example.org": {"Role": "Unit Personnel", "Projects": [first, second]},
        }
    _, rows = await invites(world, "admin2", edition)
    assert rows == {
        "both@example.org": {"Role": "Researcher", "Projects": [foreign]},
        "foreign@example.org": {"Role": "Project Owner", "Projects": [foreign]},
    }
    _, rows = await invites(world, "researcher1", edition)
    assert rows == {"both@example.org": {"Role": "Project Owner", "Projects": [first]}}


async def test_an_expired_invite_is_not_listed(world: World) -> None:
    await add(world, "admin1", "colleague@example.org", "Unit Personnel")
    world.clock.advance(days=7)
    world.tokens.clear()
    answer = await world.call("GET", "/user/invites", "super")
    assert answer.json()["invites"] == []
