"""The main job over the stock wire, in process: the shape of every answer on the way."""

from __future__ import annotations

from tests.world import EMAIL, World


async def test_a_delivery_from_creation_to_download(world: World) -> None:
    project = await world.project("admin1", "researcher1")
    await world.add_file(project, "a/b/c.txt")
    await world.add_file(project, "top.txt", size=10)
    await world.release(project)

    listed = await world.call("GET", "/proj/list", "researcher1", json={"usage": False})
    assert [one["Project ID"] for one in listed.json()["project_info"]] == [project]
    assert listed.json()["project_info"][0]["Access"] is True
    assert listed.json()["total_size"] == 1000
    keys = await world.call("GET", f"/proj/private?project={project}", "researcher1")
    assert len(keys.json()["private"]) == 64
    facts = await world.call("GET", f"/file/all/info?project={project}", "researcher1", json=[])
    assert set(facts.json()["files"]) == {"a/b/c.txt", "top.txt"}
    root = await world.call(
        "GET", f"/files/list?project={project}", "researcher1", json={"show_size": True}
    )
    assert root.json()["files_folders"] == [
        {"name": "top.txt", "folder": False, "size": 10.0},
        {"name": "a", "folder": True, "size": 1000.0},
    ]
    fetched = await world.call(
        "PUT", f"/file/update?project={project}", "researcher1", json={"name": "top.txt"}
    )
    assert fetched.json() == {"message": "File info updated."}
    mail = await world.newest_mail(EMAIL.format("researcher1"), "project_released")
    assert f"dds data get -p {project} -a --verify-checksum" in mail
