"""A project's key as a wrap: who gets it, when, and that it is of use to them alone."""

from __future__ import annotations

import pytest

from ddsctl.delivery import login
from ddsctl.delivery.login import KeyDoesNotOpen
from ddsd.access import System
from ddsd.contract.delivery import ProjectKey
from ddsd.keys.tables import KeyWrap
from ddsd.lifecycle import deadlines
from ddsd.work import transaction
from tests.delivery.client import call, log_in, project_key
from tests.world import World


@pytest.mark.parametrize(
    ("who", "before", "after"),
    [
        ("admin1", 200, 200),
        ("admin1b", 200, 200),
        ("staff1", 200, 200),
        ("admin2", 403, 403),
        ("staff2", 403, 403),
        ("researcher1", 403, 200),
        ("researcher2", 403, 403),
        ("super", 403, 403),
    ],
)
async def test_who_gets_the_wrap_before_and_after_the_release(
    world: World, who: str, before: int, after: int
) -> None:
    project = await world.project("admin1", "researcher1")
    me = await log_in(world, who)
    path = f"/projects/{project}/key"
    assert (await call(world, "GET", path, me.answer.token)).status_code == before
    await world.release(project)
    assert (await call(world, "GET", path, me.answer.token)).status_code == after


async def test_a_project_that_is_not_there_is_not_found(world: World) -> None:
    me = await log_in(world, "admin1")
    missing = await call(world, "GET", "/projects/unit199999/key", me.answer.token)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_who_lost_access_is_told_so(world: World) -> None:
    project = await world.project("admin1")
    me = await log_in(world, "admin1")
    async with transaction(world.services, System()) as work:
        await work.session.execute(KeyWrap.__table__.delete())  # type: ignore[attr-defined]
    lost = await call(world, "GET", f"/projects/{project}/key", me.answer.token)
    assert (lost.status_code, lost.json()["code"]) == (403, "access_lost")


async def test_every_holder_opens_the_same_key_from_a_wrap_of_their_own(world: World) -> None:
    project = await world.project("admin1", "researcher1")
    await world.release(project)
    people = [await log_in(world, who) for who in ("admin1", "staff1", "researcher1")]
    keys = {await project_key(world, project, one) for one in people}
    wraps = {
        (await call(world, "GET", f"/projects/{project}/key", one.answer.token)).json()["wrap"]
        for one in people
    }
    assert (len(keys), len(wraps)) == (1, 3)


async def test_a_wrap_opens_for_its_holder_and_its_project_only(world: World) -> None:
    one, other = await world.project("admin1"), await world.project("admin1")
    holder, neighbour = await log_in(world, "admin1"), await log_in(world, "staff1")
    answer = await call(world, "GET", f"/projects/{one}/key", holder.answer.token)
    wrap = ProjectKey.model_validate_json(answer.content)
    assert len(login.open_project_key(wrap, holder.private).private_bytes_raw()) == 32
    with pytest.raises(KeyDoesNotOpen):
        login.open_project_key(wrap, neighbour.private)
    with pytest.raises(KeyDoesNotOpen):
        login.open_project_key(wrap.model_copy(update={"project": other}), holder.private)


@pytest.mark.parametrize(
    ("who", "status"), [("admin1", 200), ("staff1", 403), ("admin2", 403), ("super", 403)]
)
async def test_an_admin_of_the_unit_takes_back_what_a_deadline_archived(
    world: World, who: str, status: int
) -> None:
    project = await world.project("admin1")
    path = f"/projects/{project}/restore"
    token = await world.token_of(who)
    await world.release(project, deadline=10)
    not_yet = await call(world, "POST", path, token)
    assert not_yet.status_code == (409 if who == "admin1" else 403)
    for _ in range(2):
        world.clock.advance(days=31)
        await deadlines.follow_deadlines(world.services, "all")
    world.tokens.clear()
    answer = await call(world, "POST", path, await world.token_of(who))
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {
            "project": project,
            "status": "Expired",
            "deadline": "2026-06-02T23:59:59Z",
        }
