"""The stock wire: listing folders, and what is needed to fetch files."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select

from ddsd.access import System
from ddsd.files.tables import Folder, StoredFile
from ddsd.projects.tables import Project
from ddsd.work import transaction
from tests.world import World

FILES = ["top", "d/a", "d/b/c", "d1/x", "d%/y", "d_/z", "dd/e", "é/u"]


async def listed(world: World, project: str, subpath: Any, who: str = "admin1") -> Any:
    answer = await world.call(
        "GET", f"/files/list?project={project}", who, json={"subpath": subpath, "show_size": True}
    )
    assert answer.status_code == 200, answer.text
    return answer.json().get("files_folders", answer.json())


@pytest.fixture
async def project(world: World) -> str:
    made = await world.project("admin1", "researcher1")
    for number, name in enumerate(FILES):
        await world.add_file(made, name, size=10**number)
    return made


async def test_a_folder_lists_its_files_then_its_folders_with_sizes(
    world: World, project: str
) -> None:
    root = [
        {"name": "top", "folder": False, "size": 1.0},
        {"name": "d", "folder": True, "size": 110.0},
        {"name": "d%", "folder": True, "size": 10_000.0},
        {"name": "d1", "folder": True, "size": 1000.0},
        {"name": "d_", "folder": True, "size": 100_000.0},
        {"name": "dd", "folder": True, "size": 1_000_000.0},
        {"name": "é", "folder": True, "size": 10_000_000.0},
    ]
    for spelled in (None, "", ".", "/", "./"):
        assert await listed(world, project, spelled) == root
    inside = [
        {"name": "a", "folder": False, "size": 10.0},
        {"name": "b", "folder": True, "size": 100.0},
    ]
    for spelled in ("d", "d/", "./d/"):
        assert await listed(world, project, spelled) == inside
    assert await listed(world, project, "d/b") == [{"name": "c", "folder": False, "size": 100.0}]
    assert await listed(world, project, "d%") == [{"name": "y", "folder": False, "size": 10_000.0}]
    for unknown in ("%", "d%/", "D", "d/a", "nope", "e\u0301", "..", "d/../d"):
        expected = 1 if unknown == "d%/" else 0
        assert len(await listed(world, project, unknown)) == expected, unknown


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_sizes_are_left_out_unless_asked_for(world: World, project: str) -> None:
    for body in (None, {"subpath": "d/b"}, {"subpath": "d/b", "show_size": False}):
        answer = await world.call("GET", f"/files/list?project={project}", "admin1", json=body)
        assert all("size" not in one for one in answer.json()["files_folders"])
    answer = await world.call(
        "GET", f"/files/list?project={project}&subpath=d/b/&show_size=true", "admin1", edition="v3"
    )
    assert answer.json() == {"files_folders": [{"name": "c", "folder": False, "size": 100.0}]}


async def test_an_empty_project_says_so(world: World) -> None:
    empty = await world.project()
    said = {"num_items": 0, "message": f"The project {empty} is empty."}
    assert await listed(world, empty, None) == said
    assert await listed(world, empty, "any") == said
    for path, body in (("/file/info", ["f"]), ("/file/all/info", [])):
        answer = await world.call("GET", f"{path}?project={empty}", "admin1", json=body)
        assert (answer.status_code, answer.json()) == (400, {"message": "The project is empty."})


async def test_a_researcher_sees_files_only_after_release(world: World, project: str) -> None:
    wait = "The project status must be 'Available'. Please wait for unit to release the data."
    limits = {"message": "Current Project status limits file download."}
    requests: list[tuple[str, Any]] = [
        ("/files/list", {"subpath": None}),
        ("/file/info", ["top"]),
        ("/file/all/info", []),
    ]
    for path, body in requests:
        for who, why in (("researcher2", "Project access denied."), ("admin2", "Project access denied."),
                         ("super", "Insufficient credentials")):  # fmt: skip
            answer = await world.call("GET", f"{path}?project={project}", who, json=body)
            assert (answer.status_code, answer.json()) == (403, {"message": why}), (path, who)
        assert (
            await world.call("GET", f"{path}?project={project}", "staff1", json=body)
        ).status_code == 200
    answer = await world.call("GET", f"/files/list?project={project}", "researcher1", json={})
    assert (answer.status_code, answer.json()) == (403, {"message": wait})
    for path, body in requests[1:]:
        answer = await world.call("GET", f"{path}?project={project}", "researcher1", json=body)
        assert (answer.status_code, answer.json()) == (400, limits)
    await world.release(project)
    for path, body in requests:
        answer = await world.call("GET", f"{path}?project={project}", "researcher1", json=body)
        assert answer.status_code == 200, answer.text
    expired = {"new_status": "Expired"}
    await world.call("POST", f"/proj/status?project={project}", "admin1", json=expired)
    assert len(await listed(world, project, None, "researcher1")) == 7
    for who in ("researcher1", "admin1"):
        for path, body in requests[1:]:
            answer = await world.call("GET", f"{path}?project={project}", who, json=body)
            assert (answer.status_code, answer.json()) == (400, limits)


async def test_facts_of_a_folder_are_those_of_exactly_that_folder(
    world: World, project: str
) -> None:
    asked = ["top", "d/", "d", "d%", "nope", "d/b/c", "d/b", "%", "to", "./é"]
    answer = await world.call("GET", f"/file/info?project={project}", "admin1", json=asked)
    told = answer.json()
    assert set(told) == {"files", "folder_contents", "not_found"}
    assert told["not_found"] == {}
    assert set(told["files"]) == {"top", "d/b/c"}
    assert {name: set(held) for name, held in told["folder_contents"].items()} == {
        "d/": {"d/a", "d/b/c"},
        "d": {"d/a", "d/b/c"},
        "d/b": {"d/b/c"},
        "d%": {"d%/y"},
        "./é": {"é/u"},
    }
    assert told["folder_contents"]["d"]["d/b/c"]["subpath"] == "d/b"
    everything = await world.call("GET", f"/file/info?project={project}", "admin1", json=["."])
    assert set(everything.json()["folder_contents"]["."]) == set(FILES)
    v3 = await world.call(
        "GET", f"/file/info?project={project}&files=top&files=d/", "admin1", edition="v3"
    )
    assert set(v3.json()["files"]) == {"top"}
    assert set(v3.json()["folder_contents"]) == {"d/"}
    none = await world.call("GET", f"/file/info?project={project}", "admin1", edition="v3")
    assert (none.status_code, none.json()) == (400, {"message": "No items were requested."})


async def test_many_unknown_names_are_answered(world: World, project: str) -> None:
    asked = [f"nope/{number}" for number in range(20_000)] + ["d", "top"]
    answer = await world.call("GET", f"/file/info?project={project}", "admin1", json=asked)
    told = answer.json()
    assert (set(told["files"]), set(told["folder_contents"])) == ({"top"}, {"d"})


@pytest.mark.parametrize("count", [1, 3000])
async def test_all_files_are_told_of_once(world: World, count: int) -> None:
    project = await world.project()
    names = [f"d{number % 7}/f{number:05d}" for number in range(count)]
    await fill(world, project, names)
    answer = await world.call("GET", f"/file/all/info?project={project}", "admin1", json=[])
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert set(told) == {"files"}
    assert sorted(told["files"]) == sorted(names)
    assert answer.text.count('"name_in_bucket"') == count


async def test_a_fetched_file_is_noted(world: World, project: str) -> None:
    path = f"/file/update?project={project}"
    for who in ("researcher1", "admin1"):
        answer = await world.call("PUT", path, who, json={"name": "d/a"})
        assert answer.json() == {"message": "File info updated."}
    async with world.services.database.reading() as session:
        files = StoredFile.columns()
        moments = await session.execute(select(files.name).where(files.downloaded_at.is_not(None)))
        assert [name for (name,) in moments] == ["d/a"]
    answer = await world.call("PUT", path, "admin1", json={"name": "d"})
    said = {"message": "Specified file does not exist."}
    assert (answer.status_code, answer.json()) == (400, said)
    for body in ({"name": None}, {"name": ""}, {"name": 5}, {"x": 1}):
        answer = await world.call("PUT", path, "admin1", json=body)
        said = {"message": "No file name specified. Cannot update file."}
        assert (answer.status_code, answer.json()) == (400, said)
    for who in ("super", "researcher2", "admin2"):
        assert (await world.call("PUT", path, who, json={"name": "d/a"})).status_code == 403


async def fill(world: World, public_id: str, names: list[str]) -> None:
    """Put rows of files straight into the database."""
    async with transaction(world.services, System()) as work:
        found = await work.session.execute(
            select(Project).where(Project.columns().public_id == public_id)
        )
        project = found.scalar_one()
        project.file_count = len(names)
        folder = Folder(project_id=project.id, path=".", file_count=len(names))
        work.session.add(folder)
        await work.session.flush()
        rows = [
            {
                "project_id": project.id,
                "folder_id": folder.id,
                "name": name,
                "name_in_bucket": f"key-of-{name}",
                "size_original": 2,
                "size_stored": 1,
                "compressed": False,
                "salt": "A" * 32,
                "public_key": "B" * 64,
                "checksum": "c" * 64,
                "uploaded_at": work.now,
            }
            for name in names
        ]
        await work.session.execute(insert(StoredFile), rows)
