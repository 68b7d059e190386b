"""What one small request could cost the daemon in memory or time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.world import PROJECT, VERSION, World


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/file/new?project=unit100001"),
        ("POST", "/proj/create"),
        ("GET", "/user/second_factor"),
        ("GET", "/motd"),
    ],
)
async def test_a_strangers_body_is_not_read(world: World, method: str, path: str) -> None:
    token = await world.partial_token("staff1")
    for credentials in ({}, {"Authorization": f"Bearer {token[:-8]}AAAAAAAA"}):
        read = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal read
            for _ in range(64):
                read += 1
                yield b"a" * 1024

        await world.http.request(
            method,
            f"/api/v1{path}",
            headers={"X-CLI-Version": VERSION} | credentials,
            content=body(),
        )
        assert read <= 1


@pytest.mark.parametrize("edition", ["v1", "v3"])
async def test_a_folder_asked_for_in_many_spellings_is_told_twice_at_most(
    world: World, edition: str
) -> None:
    project = await world.project("admin1", "researcher1")
    await world.add_file(project, "reads/a.fastq")
    await world.release(project)
    spellings = ["reads" + "/" * slashes for slashes in range(50)] + ["./reads", "/reads"] * 50
    answer = await world.call(
        "GET",
        "/file/info",
        "researcher1",
        edition=edition,
        params={"project": project} | ({"files": spellings} if edition == "v3" else {}),
        json=spellings,
    )
    assert answer.status_code == 200
    assert set(answer.json()["folder_contents"]) == {"reads", "reads/"}
    assert list(answer.json()["folder_contents"]["reads"]) == ["reads/a.fastq"]


async def test_one_request_cannot_write_to_thousands(world: World) -> None:
    people = [
        {"email": f"stranger{number}@example.org", "role": "Researcher"} for number in range(201)
    ]
    answer = await world.call(
        "POST", "/proj/create", "admin1", json=PROJECT | {"force": True, "users_to_add": people}
    )
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("At most 200 people can be added at once.")
    listed = await world.call("GET", "/proj/list", "admin1")
    assert listed.json()["project_info"] == []
