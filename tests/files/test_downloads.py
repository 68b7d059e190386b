"""Who has fetched what, on both databases."""

from __future__ import annotations

import asyncio

from sqlalchemy import func, select

from ddsd.access import System
from ddsd.files import downloads
from ddsd.files.tables import Download
from ddsd.projects.tables import Project
from ddsd.work import reading
from tests.world import World, file_body


async def fetched(world: World, public_id: str) -> dict[str, int]:
    """Return how many files each researcher in the project has fetched."""
    async with reading(world.services, System()) as work:
        table = Project.columns()
        project_id = await work.session.scalar(select(table.id).where(table.public_id == public_id))
        assert project_id is not None
        found = await downloads.researchers(work, project_id)
    return {one.email.partition("@")[0]: one.fetched for one in found}


async def rows(world: World) -> int:
    async with reading(world.services, System()) as work:
        return int(await work.session.scalar(select(func.count()).select_from(Download)) or 0)


async def report(world: World, project: str, who: str, name: str) -> int:
    path = f"/file/update?project={project}"
    return (await world.call("PUT", path, who, json={"name": name})).status_code


async def released(world: World) -> str:
    project = await world.project("admin1", "researcher1", "researcher2")
    for name in ("a", "d/b"):
        await world.add_file(project, name)
    await world.release(project)
    return project


async def test_each_file_counts_once_for_each_person(world: World) -> None:
    project = await released(world)
    for who, name in [("researcher1", "a"), ("researcher1", "a"), ("researcher1", "d/b"),
                      ("researcher2", "a"), ("admin1", "a"), ("admin1", "a")]:  # fmt: skip
        assert await report(world, project, who, name) == 200
    assert await fetched(world, project) == {"researcher1": 2, "researcher2": 1}
    assert await rows(world) == 4


async def test_a_file_with_new_content_has_been_fetched_by_nobody(world: World) -> None:
    project = await released(world)
    for name in ("a", "d/b"):
        await report(world, project, "researcher1", name)
    path = f"/proj/status?project={project}"
    await world.call("POST", path, "admin1", json={"new_status": "In Progress"})
    answer = await world.call(
        "PUT", f"/file/new?project={project}", "admin1", json=file_body("a", size=7)
    )
    assert answer.status_code == 200, answer.text
    assert await fetched(world, project) == {"researcher1": 1, "researcher2": 0}
    # They began before the retraction: which content arrived nobody knows.
    assert await report(world, project, "researcher1", "a") == 200
    assert await fetched(world, project) == {"researcher1": 1, "researcher2": 0}
    await world.release(project)
    assert await report(world, project, "researcher1", "a") == 200
    assert await fetched(world, project) == {"researcher1": 2, "researcher2": 0}


async def test_many_reports_at_once_are_all_kept(world: World) -> None:
    project = await released(world)
    for who in ("researcher1", "researcher2"):
        await world.token_of(who)
    reports = [
        report(world, project, who, name)
        for who in ("researcher1", "researcher2")
        for name in ("a", "d/b") * 3
    ]
    assert set(await asyncio.gather(*reports)) == {200}
    assert await fetched(world, project) == {"researcher1": 2, "researcher2": 2}
    assert await rows(world) == 4
