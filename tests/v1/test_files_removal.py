"""The stock wire: file/rm, file/rmdir and proj/rm, on one database; the rules are tested in tests/files."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import col, select

from ddsd.access import System
from ddsd.files import removal
from ddsd.jobs.tables import Job, JobState
from ddsd.projects.tables import Project
from ddsd.work import transaction
from tests.world import World

RELEASED_BEFORE = (
    "Existing project contents cannot be deleted since the project has been previously made "
    "available to recipients."
)
STARTED = {
    "removed": True,
    "message": "Data deletion has started. This might take some time. "
    "The DDS is handling this in the background.",
}
CALLS: list[tuple[str, Any]] = [("/file/rm", ["a"]), ("/file/rmdir", ["d"]), ("/proj/rm", None)]


@pytest.fixture(params=["sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """One database: what is tested here is the wire."""
    return str(request.param)


@pytest.fixture
async def project(world: World) -> str:
    """A project of unit1 with two files and a researcher."""
    made = await world.project("admin1", "researcher1")
    await world.add_file(made, "a")
    await world.add_file(made, "d/b")
    return made


async def answered(world: World, path: str, who: str | None, **options: Any) -> tuple[int, Any]:
    answer = await world.call("DELETE", path, who, **options)
    return answer.status_code, answer.json()


async def test_files_are_removed_and_missing_ones_named(world: World, project: str) -> None:
    path = f"/file/rm?project={project}"
    told = await answered(world, path, "staff1", json=["a", "nothing"])
    assert told == (200, {"not_removed": {}, "not_exists": ["nothing"]})
    listed = await world.call("GET", f"/files/list?project={project}", "admin1", json={})
    assert [one["name"] for one in listed.json()["files_folders"]] == ["d"]


async def test_folders_are_removed_and_counted(world: World, project: str) -> None:
    told = await answered(world, f"/file/rmdir?project={project}", "admin1", json=["d/", "x"])
    expected: dict[str, Any] = {
        "not_removed": {},
        "not_exists": ["x"],
        "fail_type": None,
        "nr_deleted": 1,
    }
    assert told == (200, expected)


async def test_v3_names_them_in_the_query(world: World, project: str) -> None:
    none = await answered(world, f"/file/rm?project={project}", "admin1", edition="v3")
    assert none == (200, {"not_removed": {}, "not_exists": []})
    path = f"/file/rm?project={project}&files=a&files=y"
    assert (await answered(world, path, "admin1", edition="v3"))[1]["not_exists"] == ["y"]
    path = f"/file/rmdir?project={project}&folders=d&folders=z"
    told = await answered(world, path, "admin1", edition="v3")
    assert (told[1]["nr_deleted"], told[1]["not_exists"]) == (1, ["z"])
    none = await answered(world, f"/file/rmdir?project={project}", "admin1", edition="v3")
    assert none == (400, {"message": "No folders specified."})


async def test_all_contents_are_removed_in_the_background(world: World, project: str) -> None:
    assert await answered(world, f"/proj/rm?project={project}", "admin1") == (200, STARTED)
    assert (await answered(world, f"/proj/rm?project={project}", "admin1"))[0] == 400
    for upload in (
        await world.call("GET", f"/s3/proj?project={project}", "admin1"),
        await world.call("GET", f"/file/match?project={project}", "admin1", json=["a"]),
    ):
        assert upload.status_code == 400
        assert "are being removed. Please try again" in upload.json()["message"]
    await removal.empty_project(world.services, project)
    listed = await world.call("GET", f"/files/list?project={project}", "admin1", json={})
    assert listed.json()["num_items"] == 0
    async with transaction(world.services, System()) as work:
        active = select(Job).where(col(Job.kind) == removal.EMPTY_PROJECT)
        (await work.session.scalars(active)).one().state = JobState.DONE
    told = await answered(world, f"/proj/rm?project={project}", "admin1")
    assert told == (400, {"message": "There are no project contents to delete."})


@pytest.mark.parametrize("edition", ["v1", "v3"])
@pytest.mark.parametrize(("path", "body"), CALLS)
async def test_only_its_unit_may_and_only_before_the_release(
    world: World, project: str, path: str, body: Any, edition: str
) -> None:
    def ask(who: str | None) -> Any:
        asked = f"{path}?project={project}&files=a&folders=d"
        return answered(world, asked, who, json=body, edition=edition)

    for who in ("super", "researcher1", "researcher2"):
        assert await ask(who) == (403, {"message": "Insufficient credentials"})
    assert await ask("admin2") == (403, {"message": "Project access denied."})
    assert await ask(None) == (401, {"message": "No token"})
    missing = await answered(world, path, "admin1", json=body, edition=edition)
    assert missing[1]["project"] == {"message": "Project ID required."}
    await world.release(project)
    expected: dict[str, Any] = {"message": "Project Status prevents files from being deleted."}
    assert await ask("admin1") == (400, expected)
    await world.call(
        "POST", f"/proj/status?project={project}", "admin1", json={"new_status": "In Progress"}
    )
    assert await ask("admin1") == (400, {"message": RELEASED_BEFORE})
    async with transaction(world.services, System()) as work:
        assert (await work.session.get_one(Project, 1)).file_count == 2


@pytest.mark.parametrize("body", [None, [], {}, "x", [1], {"a": 1}])
@pytest.mark.parametrize("path", ["/file/rm", "/file/rmdir"])
async def test_a_body_that_is_no_list_of_paths_is_refused(
    world: World, project: str, path: str, body: Any
) -> None:
    told = await answered(world, f"{path}?project={project}", "admin1", json=body)
    assert told[0] == 400
    if not body:
        assert told[1] == {"message": "Required data missing from request!"}


async def test_a_store_that_is_away_is_said_so_and_nothing_is_lost(
    world: World, project: str
) -> None:
    world.store.away = True
    status, told = await answered(world, f"/file/rm?project={project}", "admin1", json=["a"])
    assert status == 503
    assert "try again" in told["message"]
    world.store.away = False
    told = await answered(world, f"/file/rm?project={project}", "admin1", json=["a"])
    assert told[1] == {"not_removed": {}, "not_exists": []}
