"""Taking back on the projects page what a deadline has archived: for admins of its unit, asked for and confirmed."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.lifecycle import deadlines
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.work import reading, transaction
from tests.web.pages import look, send
from tests.web.visits import log_in
from tests.world import World


@pytest.fixture(params=["sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """One database: what is looked at here are pages. The rules are tested on both in ``tests/lifecycle``."""
    return str(request.param)


async def hidden(world: World) -> str:
    """Make a project that its deadline has archived; return its public id."""
    project = await world.project("admin1", "researcher1")
    await world.release(project, deadline=10)
    for _ in range(2):
        world.clock.advance(days=31)
        await deadlines.follow_deadlines(world.services, "all")
    world.tokens.clear()
    assert (await find(world, project)).purge_after is not None
    return project


async def find(world: World, public_id: str) -> Project:
    async with reading(world.services, System()) as work:
        query = select(Project).where(Project.columns().public_id == public_id)
        return (await work.session.execute(query)).scalar_one()


async def links(world: World) -> list[str]:
    page = await look(world, "/projects")
    return [one.attributes["href"] for one in page.all("a") if "restore" in one.text]


async def test_an_admin_takes_a_project_back(world: World) -> None:
    project = await hidden(world)
    await log_in(world, "admin1b")
    page = await look(world, "/projects")
    assert "data is kept until 2026-05-10 12:00: restore" in page.text
    (path,) = await links(world)
    assert path == f"/projects/{project}/restore"
    asked = await look(world, path)
    assert "Expired until 2026-06-02 23:59 UTC" in asked.text
    done = await world.http.post(path, data=asked.fields)
    assert (done.status_code, done.headers["Location"]) == (303, "/projects")
    restored = await find(world, project)
    assert (restored.status, restored.active, restored.purge_after) == (Status.EXPIRED, True, None)
    assert await links(world) == []
    async with reading(world.services, System()) as work:
        table = AuditEntry.columns()
        actors = await work.session.scalars(
            select(table.actor).where(table.action == "project.restore")
        )
        assert list(actors) == ["user admin1b"]


@pytest.mark.parametrize(
    ("who", "status"), [("staff1", 403), ("admin2", 403), ("researcher1", 403), ("super", 403)]
)
async def test_nobody_else_is_offered_it_or_may(world: World, who: str, status: int) -> None:
    project = await hidden(world)
    path = f"/projects/{project}/restore"
    await log_in(world, who)
    assert await links(world) == []
    assert "data is kept" not in (await look(world, "/projects")).text
    (heading,) = (await look(world, path, status=status)).all("h1")
    assert heading.text == "You may not do this"
    await send(world, path, start="/account", status=status)
    assert (await find(world, project)).status is Status.ARCHIVED


async def test_a_form_of_another_site_restores_nothing(world: World) -> None:
    project = await hidden(world)
    await log_in(world, "admin1")
    answer = await world.http.post(f"/projects/{project}/restore", data={"_csrf_token": "x"})
    assert answer.status_code == 403
    assert (await find(world, project)).status is Status.ARCHIVED


async def test_what_is_not_kept_is_not_restored(world: World) -> None:
    project = await hidden(world)
    await log_in(world, "admin1")
    form = await look(world, f"/projects/{project}/restore")
    async with transaction(world.services, System()) as work:
        await work.session.execute(update(Project).values(purge_after=None))
    answer = await world.http.post(f"/projects/{project}/restore", data=form.fields)
    assert answer.status_code == 409
    assert "its data has been removed" in answer.text
    await look(world, f"/projects/{project}/restore", status=409)
    await look(world, "/projects/nothing/restore", status=404)
