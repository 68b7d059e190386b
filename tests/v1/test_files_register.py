"""The stock wire: registering and replacing files, matching names, adding what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from ddsd.access import System
from ddsd.files.tables import FileVersion, StoredFile
from ddsd.projects.tables import Project
from ddsd.work import reading
from tests.conftest import kind as kind  # both databases: requests race here
from tests.files.recount import counted, kept
from tests.world import World, file_body

NOT_NOW = {"message": "Project not in right status to upload/modify files."}
UPLOADS: list[tuple[str, str, Any]] = [
    ("GET", "/s3/proj", None),
    ("GET", "/file/match", ["f"]),
    ("POST", "/file/new", file_body("g")),
    ("PUT", "/file/new", file_body("f")),
    ("PUT", "/file/failed/add", {"h": {}}),
]


async def post(world: World, project: str, who: str = "admin1", **fields: Any) -> httpx.Response:
    body = file_body(str(fields.pop("name", "f"))) | fields
    return await world.call("POST", f"/file/new?project={project}", who, json=body)


async def put(world: World, project: str, **fields: Any) -> httpx.Response:
    body = file_body(str(fields.pop("name", "f"))) | fields
    return await world.call("PUT", f"/file/new?project={project}", "admin1", json=body)


@pytest.mark.parametrize("edition", ["v1", "v3"])
async def test_only_the_projects_unit_may_upload(world: World, edition: str) -> None:
    project = await world.project("admin1", "researcher1")
    refused = {
        "super": "Insufficient credentials",
        "researcher1": "Insufficient credentials",
        "researcher2": "Insufficient credentials",
        "admin2": "Project access denied.",
        "staff2": "Project access denied.",
    }
    for who, why in refused.items():
        for method, path, body in UPLOADS:
            listed = "&files=f" if edition == "v3" else ""
            answer = await world.call(
                method, f"{path}?project={project}{listed}", who, json=body, edition=edition
            )
            assert (answer.status_code, answer.json()) == (403, {"message": why}), (who, path)
    assert (await kept(world.services, project)).files == 0
    for who in ("admin1", "admin1b", "staff1"):
        assert (await post(world, project, who, name=f"of-{who}")).status_code == 200


async def test_nothing_is_uploaded_once_the_project_is_released_or_expired(world: World) -> None:
    project = await world.project("admin1")
    await world.add_file(project, "f")
    await world.release(project)
    for status in ("Available", "Expired"):
        if status == "Expired":
            answer = await world.call(
                "POST", f"/proj/status?project={project}", "admin1", json={"new_status": status}
            )
            assert answer.status_code == 200, answer.text
        for method, path, body in UPLOADS:
            answer = await world.call(method, f"{path}?project={project}", "admin1", json=body)
            assert (answer.status_code, answer.json()) == (400, NOT_NOW), (path, status)


async def test_requests_without_project_body_or_known_project_are_refused(world: World) -> None:
    for method, path, body in UPLOADS:
        answer = await world.call(method, path, "admin1", json=body)
        assert answer.json() == {"project": {"message": "Project ID required."}}, path
        answer = await world.call(method, f"{path}?project=nope", "admin1", json=body)
        assert answer.json() == {"message": "The specified project does not exist."}, path
        assert answer.status_code == 400
        if body is not None:
            for empty in (b"", b"{}", b"[]", b"null", b"{", b"\xff"):
                answer = await world.call(method, f"{path}?project=nope", "admin1", content=empty)
                said = {"message": "Required data missing from request!"}
                assert (answer.status_code, answer.json()) == (400, said), (path, empty)


async def test_a_file_is_registered_as_the_client_expects(world: World) -> None:
    project = await world.project()
    answer = await post(world, project, name="dir/sub/f.txt")
    assert answer.json() == {"message": "File 'dir/sub/f.txt' added to db."}
    facts = await world.call(
        "GET", f"/file/info?project={project}", "admin1", json=["dir/sub/f.txt"]
    )
    told = facts.json()["files"]["dir/sub/f.txt"]
    url = told.pop("url")
    assert told == {
        "name_in_bucket": "key-of-dir-sub-f.txt",
        "subpath": "dir/sub",
        "size_original": 1000,
        "size_stored": 500,
        "salt": "A" * 32,
        "public_key": "B" * 64,
        "checksum": "c" * 64,
        "compressed": True,
    }
    assert "key-of-dir-sub-f.txt" in url


async def test_names_that_differ_by_a_byte_are_different_files(world: World) -> None:
    project = await world.project()
    names = [
        "caf\u00e9", "cafe\u0301", "CAF\u00c9", "a%b", "a_b", "a*b", "axb", " axb", "axb ",
        "d/" * 100 + "deep", "/".join(["ü" * 127] * 8)[:1100], "x" * 255, "😀/😀", "a'b\"c",
    ]  # fmt: skip
    names.append("/".join(["y" * 255] * 7 + ["z" * 250, "w" * 5]))
    assert len(names[-1].encode()) == 2048
    for number, name in enumerate(names):
        answer = await post(world, project, name=name, name_in_bucket=f"key{number}")
        assert answer.status_code == 200, (name, answer.text)
    listed = await world.call("GET", f"/file/all/info?project={project}", "admin1", json=[])
    assert set(listed.json()["files"]) == set(names)
    matched = await world.call("GET", f"/file/match?project={project}", "admin1", json=names)
    assert matched.json()["files"] == {name: f"key{n}" for n, name in enumerate(names)}
    assert await kept(world.services, project) == await counted(world.services, project)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_backslash_is_called_one(world: World) -> None:
    answer = await post(world, await world.project(), name="odd\\slash.txt")
    assert "backslash" in answer.json()["message"]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/x", "a/../x", "a//x", "a/./x", "a\\x", "a\nx", "x" * 300, "a/", ".", "d/" * 128 + "x",
     "/".join(["x" * 250] * 9), 5, ["a"], True],
)  # fmt: skip
async def test_a_name_that_leads_elsewhere_is_refused_by_field(world: World, name: Any) -> None:
    project = await world.project()
    for method in ("POST", "PUT"):
        body = file_body("f") | {"name": name}
        answer = await world.call(method, f"/file/new?project={project}", "admin1", json=body)
        assert answer.status_code == 400
        assert isinstance(answer.json()["name"][0], str), answer.text
    assert (await kept(world.services, project)).files == 0


async def test_a_nul_character_is_refused_before_the_database(world: World) -> None:
    project = await world.project()
    bodies = [
        file_body("a\x00b"),
        file_body("f") | {"name_in_bucket": "k\x00"},
        file_body("f") | {"salt": "\x00" * 32},
    ]
    for body in bodies:
        answer = await world.call("POST", f"/file/new?project={project}", "admin1", json=body)
        assert answer.status_code == 400
        assert isinstance(answer.json(), dict)
    assert (await kept(world.services, project)).files == 0


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("salt", "A" * 31, "Length must be 32."),
        ("salt", "A" * 33, "Length must be 32."),
        ("salt", "G" * 32, "Not a valid hexadecimal number."),
        ("salt", "١" * 32, "Not a valid hexadecimal number."),
        ("salt", 5, "Not a valid string."),
        ("public_key", "B" * 63, "Length must be 64."),
        ("public_key", "-" * 64, "Not a valid hexadecimal number."),
        ("checksum", "c" * 65, "Length must be 64."),
        ("checksum", "c" * 63 + "\n", "Not a valid hexadecimal number."),
        ("size", -1, f"Must be between 0 and {2**50}."),
        ("size", "-1", f"Must be between 0 and {2**50}."),
        ("size", 2**50 + 1, f"Must be between 0 and {2**50}."),
        ("size", 2**63, f"Must be between 0 and {2**50}."),
        ("size", 10**30, "Not a valid integer."),
        ("size", 10**300, "Not a valid integer."),
        ("size", "9" * 5000, "Not a valid integer."),
        ("size", "1e3", "Not a valid integer."),
        ("size", "٣", "Not a valid integer."),
        ("size", "", "Not a valid integer."),
        ("size", 1.5, "Not a valid integer."),
        ("size", True, "Not a valid integer."),
        ("size", [1], "Not a valid integer."),
        ("size_processed", "x", "Not a valid integer."),
        ("compressed", "maybe", "Not a valid boolean."),
        ("compressed", [], "Not a valid boolean."),
        ("name_in_bucket", "", "Shorter than minimum length 1."),
        ("name_in_bucket", "a/../b", "The name in the bucket has characters or parts that are not allowed."),
        ("name_in_bucket", "k" * 1025, "Longer than maximum length 1024 (bytes)."),
        ("subpath", "elsewhere", "The subpath is not the folder of the file's name."),
        ("subpath", "", "Shorter than minimum length 1."),
        ("subpath", 1, "Not a valid string."),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_named(world: World, field: str, value: Any, why: str) -> None:
    project = await world.project()
    answer = await post(world, project, **{field: value})
    told = {field: [why], "message": f"{field}: {why}"}
    assert (answer.status_code, answer.json()) == (400, told)
    assert (await kept(world.services, project)).files == 0


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("name", "File name required."),
        ("size", "File size required."),
        ("size_processed", "Processed file size required."),
        ("compressed", "Compression information required."),
        ("salt", "Salt required."),
        ("public_key", "Public key required."),
        ("checksum", "Checksum required."),
        ("name_in_bucket", "Remote file name required."),
        ("subpath", "Subpath required."),
    ],
)
async def test_a_missing_field_is_named(world: World, field: str, why: str) -> None:
    project = await world.project()
    for body in (
        {key: value for key, value in file_body("f").items() if key != field},
        file_body("f") | {field: None},
    ):
        answer = await world.call("POST", f"/file/new?project={project}", "admin1", json=body)
        assert (answer.status_code, answer.json()) == (400, {field: {"message": why}})


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_numbers_and_flags_may_be_strings(world: World) -> None:
    project = await world.project()
    answer = await post(
        world, project, size="12", size_processed="34", compressed="false", checksum="C" * 64
    )
    assert answer.status_code == 200, answer.text
    facts = await world.call("GET", f"/file/info?project={project}", "admin1", json=["f"])
    told = facts.json()["files"]["f"]
    assert (told["size_original"], told["size_stored"], told["compressed"]) == (12, 34, False)
    assert told["checksum"] == "c" * 64


async def test_a_file_that_is_there_is_not_registered_again(world: World) -> None:
    project = await world.project()
    await world.add_file(project, "f")
    before = await kept(world.services, project)
    answer = await post(world, project, name="f", name_in_bucket="another", size=7)
    said = {"message": "File 'f' is already in the project. Use --overwrite to replace it."}
    assert (answer.status_code, answer.json()) == (400, said)
    answer = await post(world, project, name="g", name_in_bucket="key-of-f")
    assert answer.status_code == 400
    assert "key-of-f" in answer.json()["message"]
    assert await kept(world.services, project) == before
    other = await world.project()
    assert (await post(world, other, name="f")).status_code == 200


async def test_of_eight_at_once_one_registers_the_name(world: World) -> None:
    project = await world.project()
    await world.token_of("admin1")
    answers = await asyncio.gather(
        *(post(world, project, name="d/f", name_in_bucket=f"k{n}") for n in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert all("message" in answer.json() for answer in answers)
    assert (await kept(world.services, project)).files == 1
    assert await kept(world.services, project) == await counted(world.services, project)


async def test_a_file_cannot_be_where_a_folder_is_nor_the_reverse(world: World) -> None:
    project = await world.project()
    await world.add_file(project, "a/b/c")
    await world.add_file(project, "x")
    before = await kept(world.services, project)
    for name, why in (
        ("a", "There is a folder 'a' in the project already."),
        ("a/b", "There is a folder 'a/b' in the project already."),
        ("x/y", "'x' is a file in the project, so it cannot be a folder."),
        ("a/b/c/d/e", "'a/b/c' is a file in the project, so it cannot be a folder."),
    ):
        answer = await post(world, project, name=name, name_in_bucket="new")
        assert (answer.status_code, answer.json()["message"].startswith(why)) == (400, True), name
    assert await kept(world.services, project) == before
    for name in ("a/b2", "a%", "xy/z"):
        assert (await post(world, project, name=name)).status_code == 200


async def test_a_file_and_a_folder_of_one_name_at_once_do_not_both_come_in(world: World) -> None:
    project = await world.project()
    await world.token_of("admin1")
    answers = await asyncio.gather(
        *(post(world, project, name=name) for name in ("p/q", "p", "p/q/r", "p/q/s"))
    )
    assert sum(answer.status_code == 200 for answer in answers) in {1, 2}
    listed = await world.call("GET", f"/file/all/info?project={project}", "admin1", json=[])
    names = set(listed.json()["files"])
    assert not any(other.startswith(f"{name}/") for name in names for other in names)


async def test_replacing_keeps_key_and_place_and_ends_the_old_version(world: World) -> None:
    project = await world.project()
    await world.add_file(project, "a/f", size=10, size_processed=5)
    world.clock.advance(hours=1)
    answer = await put(
        world, project, name="a/f", size=30, size_processed=20, salt="D" * 32, compressed=False
    )
    assert answer.json() == {"message": "File 'a/f' updated in db."}
    told = await kept(world.services, project)
    assert (told.files, told.bytes_original, told.bytes_stored, told.stored_now) == (1, 30, 20, 20)
    assert told == await counted(world.services, project)
    async with reading(world.services, System()) as work:
        versions = (
            await work.session.execute(select(FileVersion).order_by(FileVersion.columns().id))
        ).scalars()
        facts = [(one.size_stored, one.uploaded_at, one.removed_at) for one in versions]
        file = (await work.session.execute(select(StoredFile))).scalar_one()
    now = world.clock.now()
    assert [(size, ended) for size, _, ended in facts] == [(5, now), (20, None)]
    assert (file.salt, file.name_in_bucket, file.uploaded_at) == ("D" * 32, "key-of-a-f", now)


async def test_what_is_not_there_cannot_be_replaced(world: World) -> None:
    project = await world.project()
    answer = await put(world, project, name="f")
    said = {"message": "Cannot update non-existent file 'f' in the database!"}
    assert (answer.status_code, answer.json()) == (400, said)
    body = file_body("f")
    del body["subpath"]
    answer = await world.call("PUT", f"/file/new?project={project}", "admin1", json=body)
    said = {"message": "Information is missing, cannot add file to database."}
    assert (answer.status_code, answer.json()) == (400, said)


async def test_new_content_under_another_key_does_not_replace(world: World) -> None:
    project = await world.project()
    await world.add_file(project, "f")
    answer = await put(world, project, name="f", name_in_bucket="elsewhere", salt="D" * 32)
    assert answer.status_code == 400
    assert "key-of-f" in answer.json()["message"]
    facts = await world.call("GET", f"/file/info?project={project}", "admin1", json=["f"])
    assert facts.json()["files"]["f"]["salt"] == "A" * 32


async def test_sizes_that_add_up_beyond_a_counter_are_refused(world: World) -> None:
    project = await world.project()
    async with world.services.database.writing() as session:
        found = await session.execute(select(Project).where(Project.columns().public_id == project))
        found.scalar_one().bytes_original = 2**62
    answer = await post(world, project, size=2**50)
    assert answer.status_code == 400
    assert "message" in answer.json()


async def test_matching_tells_the_keys_of_those_that_are_there(world: World) -> None:
    project = await world.project()
    answer = await world.call("GET", f"/file/match?project={project}", "admin1", json=["f"])
    assert answer.json() == {"files": None}
    for name in ("f", "d/f", "a%"):
        await world.add_file(project, name)
    names = [f"missing/{number}" for number in range(20_000)] + ["f", "d/f", "f", "a_", "a%", "D/f"]
    answer = await world.call("GET", f"/file/match?project={project}", "admin1", json=names)
    assert answer.json() == {"files": {"f": "key-of-f", "d/f": "key-of-d-f", "a%": "key-of-a%"}}
    answer = await world.call(
        "GET", f"/file/match?project={project}&files=f&files=nope", "admin1", edition="v3"
    )
    assert answer.json() == {"files": {"f": "key-of-f"}}
    answer = await world.call("GET", f"/file/match?project={project}", "admin1", edition="v3")
    assert (answer.status_code, answer.json()) == (400, {"message": "No files specified."})
    for body in ({"f": 1}, [1], "f", [["f"]]):
        answer = await world.call("GET", f"/file/match?project={project}", "admin1", json=body)
        assert answer.status_code == 400
        assert "message" in answer.json()


def failure(name: str, **changes: Any) -> dict[str, Any]:
    """Return an entry of the stock client's log of failed uploads."""
    return {
        "path_raw": f"/home/somebody/{name}",
        "subpath": name.rpartition("/")[0] or ".",
        "size_raw": 100,
        "compressed": False,
        "path_processed": f"/home/somebody/staging/{name}.zst.ccp",
        "size_processed": 5,
        "path_remote": f"remote/{name}",
        "overwrite": False,
        "checksum": "c" * 64,
        "public_key": "B" * 64,
        "salt": "A" * 32,
        "status": {
            "cancel": False,
            "started": True,
            "message": "…",
            "failed_op": "add_file_db",
            "put": {"started": True, "done": True},
            "add_file_db": {"started": True, "done": False},
        },
    } | changes


@pytest.fixture
async def uploading(world: World) -> tuple[World, str, Callable[..., Awaitable[httpx.Response]]]:
    project = await world.project()
    grant = (await world.call("GET", f"/s3/proj?project={project}", "admin1")).json()

    async def add(objects: dict[str, bytes], log: Any) -> httpx.Response:
        for key, content in objects.items():
            await world.store.put(grant["bucket"], key, content)
        return await world.call("PUT", f"/file/failed/add?project={project}", "admin1", json=log)

    return world, project, add


Uploading = tuple[World, str, Callable[..., Awaitable[httpx.Response]]]


async def test_failed_registrations_are_made_up_for(uploading: Uploading) -> None:
    world, project, add = uploading
    await world.add_file(project, "there", name_in_bucket="remote/there")
    log: dict[str, Any] = {
        "d/ok": failure("d/ok"),
        "plain": failure("plain", compressed=True),
        "gone": failure("gone"),
        "short": failure("short", size_processed=6),
        "there": failure("there"),
        "other-step": failure("other-step", status={"failed_op": "put"}),
        "../escape": failure("../escape", subpath=".."),
        "no-status": failure("no-status", status=None),
        "list": [],
        "null": None,
        "no-key": failure("no-key", path_remote=None),
        "bad-key": failure("bad-key", path_remote={"a": 1}),
        "bad-size": failure("bad-size", size_raw="x"),
    }
    objects = {f"remote/{name}": b"12345" for name in log if name != "gone"}
    objects.pop("remote/../escape")
    answer = await add(objects, log)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["files_added"] == ["d/ok", "plain"]
    assert told["message"]["gone"] == {"error": "File not found in S3"}
    assert told["message"]["there"] == {"error": "File already in database."}
    assert told["message"]["other-step"] == {"error": "Incorrect 'failed_op'."}
    assert set(told["files_added"]) | set(told["message"]) == set(log)
    assert all(isinstance(why["error"], str) for why in told["message"].values())
    facts = await world.call("GET", f"/file/all/info?project={project}", "admin1", json=[])
    compressed = {name: one["compressed"] for name, one in facts.json()["files"].items()}
    assert compressed == {"d/ok": True, "plain": False, "there": True}
    assert await kept(world.services, project) == await counted(world.services, project)
    again = await add({}, {"d/ok": failure("d/ok")})
    assert again.json()["message"] == {"d/ok": {"error": "File already in database."}}


async def test_a_failed_overwrite_is_made_up_for(uploading: Uploading) -> None:
    world, project, add = uploading
    await world.add_file(project, "f", name_in_bucket="remote/f")
    answer = await add({"remote/f": b"12345"}, {"f": failure("f", overwrite=True, salt="D" * 32)})
    assert answer.json() == {"files_added": ["f"], "message": {}}
    facts = await world.call("GET", f"/file/info?project={project}", "admin1", json=["f"])
    assert facts.json()["files"]["f"]["salt"] == "D" * 32
    assert await kept(world.services, project) == await counted(world.services, project)


async def test_failed_registrations_wait_for_the_store(uploading: Uploading) -> None:
    world, project, add = uploading
    world.store.away = True
    answer = await world.call(
        "PUT", f"/file/failed/add?project={project}", "admin1", json={"f": failure("f")}
    )
    assert answer.status_code == 503
    assert "message" in answer.json()
    world.store.away = False
    answer = await add({"remote/f": b"12345"}, {"f": failure("f")})
    assert answer.json() == {"files_added": ["f"], "message": {}}
