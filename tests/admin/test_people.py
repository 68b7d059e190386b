"""People, as an operator sees and steers them, on both databases: the plane's answers, and what they leave behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from ddsd.access import Operator
from ddsd.planes.admin import app as admin
from ddsd.planes.admin.peer import EXTENSION, Peer
from ddsd.users import accounts
from ddsd.work import Services, reading
from tests.world import EMAIL, PEOPLE, World

ROOT = Operator(0, "root")


def as_root(app: Any) -> Any:
    """Say that every request came from root over the socket, as the kernel would."""

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"extensions": {EXTENSION: Peer(1, 0, frozenset({0}))}}, receive, send)

    return asked


@pytest.fixture
async def desk(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """An operator's connection to the world's daemon."""
    transport = httpx.ASGITransport(as_root(admin.build(services)))
    async with httpx.AsyncClient(transport=transport, base_url="http://ddsd/1") as client:
        yield client


async def answered(world: World, who: str) -> int:
    return (await world.call("GET", "/user/info", token=world.tokens[who])).status_code


async def recorded(desk: httpx.AsyncClient, subject: str) -> list[str]:
    """Return what the log says an operator did to the subject, newest first."""
    found = (await desk.get("/audit", params={"subject": subject, "actor": "root"})).json()
    return [one["action"] for one in found]


async def test_an_account_is_shown_with_what_hangs_on_it(
    world: World, desk: httpx.AsyncClient
) -> None:
    await world.project("admin1")
    shown = (await desk.get("/users/admin1")).json()
    assert shown["user"]["username"] == "admin1"
    assert shown["user"]["unit"] == "unit1"
    assert shown["emails"] == [EMAIL.format("admin1")]
    assert (shown["second_factor"], shown["sessions"], shown["keys"]) == ("mail", 1, 1)
    assert not {"auth_verifier", "kdf_salt", "wrapped_private_key"} & shown["user"].keys()


@pytest.mark.parametrize(
    ("asked", "says"), [("nobody", "ddsctl user ls"), ("Admin1", "Did you mean 'admin1'?")]
)
async def test_an_account_that_is_not_there_is_not_found(
    world: World, desk: httpx.AsyncClient, asked: str, says: str
) -> None:
    answer = await desk.get(f"/users/{asked}")
    assert answer.status_code == 404
    assert says in answer.json()["message"]


async def test_an_account_is_closed_and_opened(world: World, desk: httpx.AsyncClient) -> None:
    await world.token_of("staff1")
    closed = await desk.post("/users/staff1/deactivate")
    assert (closed.status_code, closed.json()["user"]["active"]) == (200, False)
    assert closed.json()["sessions"] == 0
    assert await answered(world, "staff1") in {401, 403}
    again = await desk.post("/users/staff1/deactivate")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    opened = await desk.post("/users/staff1/activate")
    assert opened.json()["user"]["active"] is True
    await world.login("staff1")


async def test_a_second_factor_is_reset_and_the_person_told(
    world: World, desk: httpx.AsyncClient
) -> None:
    await world.token_of("researcher1")
    assert (await desk.post("/users/researcher1/reset-2fa")).json()["sessions"] == 0
    assert await answered(world, "researcher1") == 401
    assert await world.newest_mail(EMAIL.format("researcher1"), "second_factor_reset")


async def test_an_address_is_put_and_both_mailboxes_follow(
    world: World, desk: httpx.AsyncClient
) -> None:
    await world.token_of("researcher1")
    put = await desk.post("/users/researcher1/email", json={"email": "New@Example.org"})
    assert put.json()["emails"] == ["new@example.org"]
    assert "new@example.org" in await world.newest_mail("researcher1@example.org", "email_changed")
    await world.partial_token("researcher1")
    assert await world.newest_mail("new@example.org", "one_time_code")
    taken = await desk.post("/users/researcher1/email", json={"email": "super@example.org"})
    assert (taken.status_code, taken.json()["code"]) == (409, "already_exists")


async def test_a_link_is_made_anew_only_for_who_has_no_password(
    world: World, desk: httpx.AsyncClient
) -> None:
    body = {"username": "eva", "name": "Eva Ek", "email": "e@example.org", "role": "researcher"}
    first = (await desk.post("/users", json=body)).json()["link"]
    made = await desk.post("/users/eva/link")
    assert made.status_code == 201
    assert made.json()["link"] != first
    refused = await desk.post("/users/staff1/link")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    await desk.post("/users/eva/deactivate")
    assert "ddsctl user activate eva" in (await desk.post("/users/eva/link")).json()["message"]


async def test_an_account_is_deleted_but_not_the_last_that_opens_a_project(
    world: World, desk: httpx.AsyncClient
) -> None:
    gone = await desk.delete("/users/researcher1")
    assert gone.json() == {
        "username": "researcher1",
        "email": EMAIL.format("researcher1"),
        "role": "researcher",
    }
    assert (await desk.get("/users/researcher1")).status_code == 404
    project = await world.project("admin2")
    for who in ("admin2b", "staff2"):
        assert (await desk.delete(f"/users/{who}")).status_code == 200
    refused = await desk.delete("/users/admin2")
    assert (refused.status_code, project in refused.json()["message"]) == (403, True)
    lost = await desk.delete("/users/admin2", params={"lose_data": "true"})
    assert lost.status_code == 200


async def test_sessions_are_listed_and_ended_one_by_one_or_all(
    world: World, desk: httpx.AsyncClient
) -> None:
    for who in ("staff1", "staff2"):
        await world.token_of(who)
    await world.partial_token("researcher1")
    listed = (await desk.get("/sessions")).json()
    assert [(one["username"], one["partial"]) for one in listed] == [
        ("researcher1", True),
        ("staff2", False),
        ("staff1", False),
    ]
    (theirs,) = (await desk.get("/sessions", params={"user": "staff1"})).json()
    ended = await desk.delete(f"/sessions/{theirs['id']}")
    assert ended.json() == {"sessions": 1}
    assert [await answered(world, who) for who in ("staff1", "staff2")] == [401, 200]
    assert (await desk.delete(f"/sessions/{theirs['id']}")).status_code == 404
    assert (await desk.delete("/sessions", params={"user": "staff2"})).json() == {"sessions": 1}
    assert await answered(world, "staff2") == 401
    assert (await desk.delete("/sessions")).status_code == 400
    world.clock.advance(hours=1)  # nobody waits that long for a second factor
    assert (await desk.get("/sessions")).json() == []


async def test_nothing_an_operator_is_shown_is_secret(
    world: World, desk: httpx.AsyncClient
) -> None:
    token = await world.token_of("staff1")
    body = {"email": "new@example.org", "role": "super-admin"}
    await desk.post("/invites", json=body)
    pages = ("/users", "/users/staff1", "/invites", "/sessions", "/audit", "/mails")
    answers = "".join([(await desk.get(path)).text for path in pages])
    assert token not in answers
    for word in ("/register#", "verifier", "sealed", "wrapped", "secret_hash"):
        assert word not in answers


async def test_an_invite_is_made_listed_and_withdrawn(
    world: World, desk: httpx.AsyncClient
) -> None:
    project = await world.project("admin1")
    made = await desk.post(
        "/invites", json={"email": "New@example.org", "role": "unit-admin", "unit": "unit1"}
    )
    assert (made.status_code, made.json()["closed"]) == (201, [project])
    assert (await desk.get("/invites")).json() == [made.json()["invite"]]
    taken = await desk.post(
        "/users",
        json={"username": "new", "name": "N. Ew", "email": "new@example.org", "role": "researcher"},
    )
    assert (taken.status_code, taken.json()["code"]) == (409, "already_exists")
    gone = await desk.delete("/invites", params={"email": "new@example.org"})
    assert gone.json()["email"] == "new@example.org"
    assert (await desk.get("/invites")).json() == []


async def test_maintenance_closes_and_opens(world: World, desk: httpx.AsyncClient) -> None:
    await world.token_of("staff1")
    assert (await desk.get("/maintenance")).json() == {"on": False}
    for on, status in ((True, 503), (True, 503), (False, 200)):
        assert (await desk.put("/maintenance", json={"on": on})).json() == {"on": on}
        assert await answered(world, "staff1") == status
    assert await recorded(desk, "maintenance") == [
        "maintenance.off",
        "maintenance.on",
        "maintenance.on",
    ]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"since": "2026-03-02T12:00:00Z"}, 200),
        ({"since": "2026-03-02T12:00:00"}, 400),
        ({"since": "yesterday"}, 400),
        ({"limit": "0"}, 400),
        ({"limit": "1001"}, 400),
    ],
)
async def test_the_audit_log_takes_only_questions_it_understands(
    world: World, desk: httpx.AsyncClient, query: dict[str, str], status: int
) -> None:
    assert (await desk.get("/audit", params=query)).status_code == status


async def test_two_operators_at_once_delete_an_account_once(
    world: World, desk: httpx.AsyncClient
) -> None:
    both = await asyncio.gather(*[desk.delete("/users/researcher1") for _ in range(2)])
    assert sorted(one.status_code for one in both) == [200, 404]
    async with reading(world.services, ROOT) as work:
        assert len(await accounts.listing(work)) == len(PEOPLE) - 1


async def test_every_kind_of_letter_can_be_previewed(desk: httpx.AsyncClient) -> None:
    kinds = [one["kind"] for one in (await desk.get("/mail-samples")).json()]
    assert "invite" in kinds
    shown = (await desk.get("/mail-samples/invite")).json()
    assert "/register#" in shown["text"]
    assert shown["html"].startswith("<!DOCTYPE html>")
    assert (await desk.get("/mail-samples/nothing")).status_code == 404
