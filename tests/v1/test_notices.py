"""Messages of the day, maintenance and the list of units over the stock wire: shapes, refusals, roles."""

from __future__ import annotations

from typing import Any

import pytest

from ddsd.access import System
from ddsd.jobs import queue
from ddsd.work import reading
from tests.v1.crowd import audited, told
from tests.world import World

EDITIONS = ["v1", "v3"]
ADDED = (200, "The MOTD was successfully added to the database.")
OFF = (200, "The MOTD was successfully deactivated in the database.")
NO_ID = (400, "Please specify the ID of the MOTD you want to send.")
NO_DATA = (400, "Required data missing from request!")
SUPERS: list[tuple[str, str, Any]] = [
    ("POST", "/motd", {"message": "x"}),
    ("PUT", "/motd", {"motd_id": 1}),
    ("POST", "/motd/send", {"motd_id": 1}),
    ("GET", "/maintenance", None),
    ("PUT", "/maintenance", {"state": "on"}),
    ("GET", "/unit/info/all", None),
]


@pytest.fixture
def kind() -> str:
    """The wire's shapes do not hang on the database."""
    return "sqlite"


async def shown(world: World) -> list[str]:
    answer = (await world.call("GET", "/motd")).json()
    return [one["Message"] for one in answer.get("motds", [])]


async def jobs(world: World) -> list[tuple[str, str]]:
    async with reading(world.services, System()) as work:
        return [(one.kind, one.subject) for one in await queue.listing(work)]


@pytest.mark.parametrize("edition", EDITIONS)
async def test_all_but_super_admins_are_refused(world: World, edition: str) -> None:
    for method, path, body in SUPERS:
        for who in ("admin1", "staff1", "researcher1"):
            answer = await world.call(method, path, who, json=body, edition=edition)
            assert told(answer) == (403, "Insufficient credentials"), (path, who)
        answer = await world.call(method, path, json=body, edition=edition)
        assert told(answer) == (401, "No token"), path
    assert await shown(world) == []


@pytest.mark.parametrize("edition", EDITIONS)
async def test_a_message_is_added_sent_and_deactivated(world: World, edition: str) -> None:
    async def ask(method: str, path: str, body: Any) -> tuple[int, str | None]:
        return told(await world.call(method, path, "super", json=body, edition=edition))

    assert await ask("POST", "/motd", {"message": "Closed on Sunday."}) == ADDED
    assert await shown(world) == ["Closed on Sunday."]
    said = (200, "MOTD #1 is scheduled for delivery to all users")
    assert await ask("POST", "/motd/send", {"motd_id": 1, "unit_only": False}) == said
    said = (200, "MOTD #1 is scheduled for delivery to unit personnel")
    assert await ask("POST", "/motd/send", {"motd_id": 1, "unit_only": True}) == said
    sent = [job for job in await jobs(world) if job[0] == "send_motd"]
    assert sent == [("send_motd", "1 units"), ("send_motd", "1")]
    assert (await ask("POST", "/motd/send", {"motd_id": 1}))[0] == 400  # it is being done
    assert await ask("PUT", "/motd", {"motd_id": 1}) == OFF
    assert await shown(world) == []
    assert [
        len(await audited(world, f"motd.{verb}")) for verb in ("add", "send", "deactivate")
    ] == [
        1,
        2,
        1,
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/motd", {"message": ""}, "No MOTD specified."),
        ("POST", "/motd", {"x": 1}, "No MOTD specified."),
        ("POST", "/motd", {"message": 5}, "The MOTD must be text."),
        ("POST", "/motd", {"message": "\x1b[2J"}, "The MOTD may not hold control characters."),
        ("POST", "/motd", {"message": "x" * 5001}, "The MOTD may have at most 5000 characters, not 5001."),
        ("PUT", "/motd", {"x": 1}, "No MOTD for deactivation specified."),
        ("PUT", "/motd", {"motd_id": 999}, "MOTD with id 999 does not exist in the database"),
        ("PUT", "/motd", {"motd_id": 2**70}, f"MOTD with id {2**70} does not exist in the database"),
        ("PUT", "/motd", {"motd_id": "1"}, "MOTD with id 1 does not exist in the database"),
        ("PUT", "/motd", {"motd_id": 1}, "MOTD with id 1 is not active."),
        ("POST", "/motd/send", {"motd_id": "1"}, NO_ID[1]),
        ("POST", "/motd/send", {"motd_id": True}, NO_ID[1]),
        ("POST", "/motd/send", {"unit_only": True}, NO_ID[1]),
        ("POST", "/motd/send", {"motd_id": 1}, "There is no active MOTD with ID '1'."),
        ("POST", "/motd/send", {"motd_id": 7}, "There is no active MOTD with ID '7'."),
        ("POST", "/motd/send", {"motd_id": 2, "unit_only": "no"}, "The 'unit_only' argument must be a boolean."),
        ("POST", "/motd/send", {"motd_id": 2, "unit_only": None}, "The 'unit_only' argument must be a boolean."),
        ("PUT", "/maintenance", {"x": 1}, "Please, specify an argument: on or off"),
        ("PUT", "/maintenance", {"state": "maybe"}, "Please, specify the correct argument: on or off"),
        ("PUT", "/maintenance", {"state": ["on"]}, "Please, specify the correct argument: on or off"),
        ("POST", "/motd", {}, NO_DATA[1]),
        ("PUT", "/motd", {}, NO_DATA[1]),
        ("POST", "/motd/send", {}, NO_DATA[1]),
        ("PUT", "/maintenance", {}, NO_DATA[1]),
    ],
)  # fmt: skip
async def test_what_cannot_be_used_is_refused_in_the_contracts_words(
    world: World, method: str, path: str, body: Any, said: str
) -> None:
    await world.call("POST", "/motd", "super", json={"message": "old"})
    await world.call("PUT", "/motd", "super", json={"motd_id": 1})
    await world.call("POST", "/motd", "super", json={"message": "new"})
    assert told(await world.call(method, path, "super", json=body)) == (400, said)
    assert await shown(world) == ["new"]
    assert not [job for job in await jobs(world) if job[0] == "send_motd"]


@pytest.mark.parametrize("edition", EDITIONS)
async def test_maintenance_closes_the_service_to_all_but_super_admins(
    world: World, edition: str
) -> None:
    async def turn(state: str) -> tuple[int, str | None]:
        body = {"state": state}
        return told(await world.call("PUT", "/maintenance", "super", json=body, edition=edition))

    async def is_on() -> tuple[int, str | None]:
        return told(await world.call("GET", "/maintenance", "super", edition=edition))

    await world.token_of("admin1")
    assert await is_on() == (200, "Maintenance mode is set to: OFF")
    assert await turn("on") == (200, "Maintenance set to: ON")
    assert await is_on() == (200, "Maintenance mode is set to: ON")
    refused = await world.call("GET", "/user/info", "admin1", edition=edition)
    assert told(refused) == (503, "Maintenance of DDS is ongoing.")
    assert await turn("off") == (200, "Maintenance set to: OFF")
    assert (await world.call("GET", "/user/info", "admin1", edition=edition)).status_code == 200
    assert [actor for actor, _, _ in await audited(world, "maintenance.on")] == ["user super"]


@pytest.mark.parametrize("edition", EDITIONS)
async def test_the_units_are_listed_with_what_they_store(world: World, edition: str) -> None:
    project = await world.project()
    await world.add_file(project, "a", size_processed=500)
    listed = (await world.call("GET", "/unit/info/all", "super", edition=edition)).json()
    assert listed["keys"] == [
        "Name",
        "Public ID",
        "External Display Name",
        "Days In Available",
        "Days In Expired",
        "Safespring Endpoint",
        "Contact Email",
        "Size",
    ]
    first, second = listed["units"]
    assert set(first) == set(listed["keys"])
    assert (first["Public ID"], first["Size"], first["Days In Available"]) == ("unit1", 500, 90)
    assert (second["Public ID"], second["Size"], second["Days In Expired"]) == ("unit2", 0, 30)
    assert first["Safespring Endpoint"] == world.store.public_endpoint
