"""One's own account, and the messages of the day, over the stock wire."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from ddsd.access import System
from ddsd.notices.tables import Motd
from ddsd.users.tables import User, UserEmail
from ddsd.work import transaction
from tests.v1.people import begin_maintenance
from tests.world import World

EDITIONS = ["v1", "v3"]


async def add_motd(world: World, message: str, **columns: Any) -> None:
    """Add a message of the day now."""
    async with transaction(world.services, System()) as work:
        work.session.add(Motd(message=message, created_at=work.now, **columns))


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize(
    ("who", "role"),
    [
        ("super", "Super Admin"),
        ("admin1", "Unit Admin"),
        ("staff1", "Unit Personnel"),
        ("researcher1", "Researcher"),
    ],
)
async def test_who_one_is(world: World, who: str, role: str, edition: str) -> None:
    answer = await world.call("GET", "/user/info", who, edition=edition)
    info = {
        "email_primary": f"{who}@example.org",
        "emails_all": [f"{who}@example.org"],
        "role": role,
        "username": who,
        "name": who.title(),
    }
    if role == "Unit Admin":
        info["is_admin"] = True  # type: ignore[assignment]
    assert answer.json() == {"info": info}


async def test_a_project_owner_is_a_researcher(world: World) -> None:
    people = [{"email": "researcher1@example.org", "role": "Project Owner"}]
    body = {"title": "A", "description": "B", "pi": "pi@example.org", "users_to_add": people}
    assert (await world.call("POST", "/proj/create", "admin1", json=body)).status_code == 200
    answer = await world.call("GET", "/user/info?project=unit100001", "researcher1")
    assert answer.json()["info"]["role"] == "Researcher"


async def test_the_primary_address_comes_first(world: World) -> None:
    async with transaction(world.services, System()) as work:
        users = User.columns()
        found = await work.session.execute(select(users.id).where(users.username == "staff1"))
        user_id = found.scalar_one()
        for address in ("a@example.org", "z@example.org"):
            work.session.add(UserEmail(user_id=user_id, email=address, is_primary=False))
            await work.session.flush()
    info = (await world.call("GET", "/user/info", "staff1")).json()["info"]
    assert info["email_primary"] == "staff1@example.org"
    assert info["emails_all"] == ["staff1@example.org", "a@example.org", "z@example.org"]


@pytest.mark.parametrize("edition", EDITIONS)
async def test_no_message_of_the_day(world: World, edition: str) -> None:
    answer = await world.call("GET", "/motd", edition=edition)
    assert answer.json() == {"message": "There are no active MOTDs."}


@pytest.mark.parametrize("edition", EDITIONS)
async def test_messages_of_the_day_newest_first(world: World, edition: str) -> None:
    await add_motd(world, "old")
    world.clock.advance(seconds=timedelta(hours=14, minutes=5).total_seconds())
    await add_motd(world, "over", active=False)
    await add_motd(world, "new")
    answer = (await world.call("GET", "/motd", edition=edition)).json()
    assert [(one["Message"], one["Created"]) for one in answer["motds"]] == [
        ("new", "2026-03-03 02:05"),
        ("old", "2026-03-02 12:00"),
    ]
    assert all(isinstance(one["MOTD ID"], int) for one in answer["motds"])
    assert answer["keys"] == ["MOTD ID", "Message", "Created"]


async def test_messages_are_shown_during_maintenance_and_to_a_bad_token(world: World) -> None:
    await begin_maintenance(world)
    assert (await world.call("GET", "/motd", token="garbage")).status_code == 200
