"""The list of one's projects, as each role sees it."""

from __future__ import annotations

from tests.web.pages import look
from tests.web.visits import log_in
from tests.world import World


async def cells(world: World, project: str) -> list[str]:
    page = await look(world, "/projects")
    row = next(one.text for one in page.all("tr") if project in one.text)
    return [cell.strip() for cell in row.strip().splitlines()]


async def test_nobody_has_projects_to_begin_with(world: World) -> None:
    await log_in(world, "researcher1")
    assert "You are in no project yet" in (await look(world, "/projects")).text


async def test_a_researcher_sees_the_size_and_deadline_of_what_was_released(world: World) -> None:
    project = await world.project("admin1", "researcher1")
    await world.add_file(project, "a.txt", size=1_234_567)
    await log_in(world, "researcher1")
    row = await cells(world, project)
    assert "In Progress" in row
    assert "1.2 MB" not in row
    await world.release(project, deadline=10)
    row = await cells(world, project)
    assert {"Available", "2026-03-12 23:59", "1.2 MB", "yes"} <= set(row)


async def test_a_unit_sees_its_projects_and_no_others(world: World) -> None:
    mine, others = await world.project("admin1"), await world.project("admin2")
    await log_in(world, "staff1")
    page = await look(world, "/projects")
    assert mine in page.text
    assert others not in page.text


async def test_the_newest_project_comes_first(world: World) -> None:
    made = [await world.project("admin1") for _ in range(3)]
    await log_in(world, "admin1")
    page = await look(world, "/projects")
    assert [one.text for one in page.all("th", scope="row")] == made[::-1]


async def test_a_super_admin_is_never_said_to_have_access(world: World) -> None:
    project = await world.project("admin1")
    await log_in(world, "super")
    page = await look(world, "/projects")
    assert project in page.text
    assert "Access" not in [one.text for one in page.all("th")]


async def test_titles_are_shown_as_they_are(world: World) -> None:
    answer = await world.call(
        "POST",
        "/proj/create",
        "admin1",
        json={"title": "Ål (3)", "description": "d", "pi": "pi@example.org", "force": True},
    )
    await log_in(world, "admin1")
    assert "Ål (3)" in await cells(world, answer.json()["project_id"])
