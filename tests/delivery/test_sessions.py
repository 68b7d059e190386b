"""One's own logins over the delivery API."""

from __future__ import annotations

from sqlalchemy import select

from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.work import reading
from tests.delivery.client import call, log_in
from tests.v1.people import begin_maintenance, deactivate
from tests.world import World


async def audit(world: World) -> list[tuple[str, str, str]]:
    async with reading(world.services, System()) as work:
        entries = (await work.session.execute(select(AuditEntry))).scalars().all()
    return [(one.actor, one.action, one.subject) for one in entries]


async def test_a_session_says_whose_it_is_and_when_it_ends(world: World) -> None:
    me = await log_in(world, "admin1")
    answer = await call(
        world, "GET", "/session", me.answer.token, headers={"User-Agent": "tests/1"}
    )
    assert answer.status_code == 200
    told = answer.json()
    assert told["account"] == {
        "uid": me.answer.account.uid,
        "username": "admin1",
        "name": "Admin1",
        "role": "Unit Admin",
    }
    assert told["session"]["expires_at"] == "2026-03-09T12:00:00Z"
    assert told["session"]["this"] is True
    assert told["session"]["holds_key"] is False
    assert answer.headers["Cache-Control"] == "no-store"


async def test_sessions_of_both_kinds_are_listed_and_nobody_elses(world: World) -> None:
    await world.token_of("researcher1")
    await world.token_of("researcher2")
    me = await log_in(world, "researcher1")
    listed = (await call(world, "GET", "/sessions", me.answer.token)).json()
    assert sorted((one["holds_key"], one["this"]) for one in listed) == [
        (False, True),
        (True, False),
    ]


async def test_after_logging_out_the_token_is_worthless_and_others_are_not(world: World) -> None:
    other = await log_in(world, "researcher1")
    me = await log_in(world, "researcher1")
    done = await call(world, "DELETE", "/session", me.answer.token)
    assert (done.status_code, done.content) == (204, b"")
    assert (await call(world, "GET", "/session", me.answer.token)).status_code == 401
    assert (await call(world, "DELETE", "/session", me.answer.token)).status_code == 401
    assert (await call(world, "GET", "/session", other.answer.token)).status_code == 200
    assert (await audit(world))[-1] == ("user researcher1", "session.end", "researcher1")


async def test_signing_out_everywhere_ends_every_session_of_this_account_alone(
    world: World,
) -> None:
    stock = await world.token_of("researcher1")
    neighbour = await log_in(world, "researcher2")
    me = await log_in(world, "researcher1")
    done = await call(world, "DELETE", "/sessions", me.answer.token)
    assert (done.status_code, done.json()) == (200, {"ended": 2})
    assert (await call(world, "GET", "/session", me.answer.token)).status_code == 401
    assert (await world.call("GET", "/user/info", token=stock)).status_code == 401
    assert (await call(world, "GET", "/session", neighbour.answer.token)).status_code == 200
    assert (await audit(world))[-1] == ("user researcher1", "session.end_all", "researcher1")


async def test_a_session_ends_when_it_said(world: World) -> None:
    me = await log_in(world, "researcher1")
    world.clock.set(me.answer.expires_at)
    over = await call(world, "GET", "/session", me.answer.token)
    assert (over.status_code, over.json()["message"]) == (401, "Expired token")


async def test_a_deactivated_account_is_out_at_once(world: World) -> None:
    me = await log_in(world, "researcher1")
    await deactivate(world, "researcher1")
    assert (await call(world, "GET", "/session", me.answer.token)).status_code == 403


async def test_maintenance_closes_it_to_all_but_super_admins(world: World) -> None:
    me, super_admin = await log_in(world, "researcher1"), await log_in(world, "super")
    await begin_maintenance(world)
    closed = await call(world, "GET", "/session", me.answer.token)
    assert (closed.status_code, closed.headers["Retry-After"]) == (503, "30")
    assert (await call(world, "GET", "/session", super_admin.answer.token)).status_code == 200


async def test_what_a_client_calls_itself_is_shown_cut_to_a_length(world: World) -> None:
    world.http.headers["User-Agent"] = "x" * 500
    me = await log_in(world, "researcher1")
    [told] = (await call(world, "GET", "/sessions", me.answer.token)).json()
    assert told["agent"] == "x" * 200
