"""A password that is reset while its person uploads: what is there stays, and nothing more comes by the old login."""

from __future__ import annotations

from ddsd.secret import SecretText
from ddsd.users import password_reset
from tests.v1.crowd import fix, link_to, opens
from tests.world import EMAIL, World, file_body

NEW = "Another-horse-2"


async def reset(world: World, who: str) -> None:
    await password_reset.mail_reset_link(world.services, EMAIL.format(who))
    code = await link_to(world, EMAIL.format(who), "reset_password")
    await password_reset.use(world.services, code, SecretText(NEW), address="192.0.2.1")


async def names(world: World, project: str, who: str) -> list[str]:
    answer = await world.call(
        "GET", f"/files/list?project={project}", who, json={"show_size": False}
    )
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json()["files_folders"]]


async def test_a_reset_in_the_middle_of_an_upload_ends_it_and_keeps_what_is_there(
    world: World,
) -> None:
    project = await world.project("admin1")
    await world.add_file(project, "first.fastq", "staff1")
    old = await world.token_of("staff1")
    await reset(world, "staff1")
    for method, path in (("POST", "/file/new"), ("GET", "/s3/proj"), ("GET", "/proj/public")):
        answer = await world.call(
            method, f"{path}?project={project}", token=old, json=file_body("second.fastq")
        )
        assert answer.status_code == 401
        assert answer.json()["message"].startswith("Password reset performed after last")
    assert await names(world, project, "admin1") == ["first.fastq"]


async def test_whoever_has_reset_goes_on_once_a_colleague_has_given_the_key_back(
    world: World,
) -> None:
    project = await world.project("admin1")
    await world.add_file(project, "first.fastq", "staff1")
    await reset(world, "staff1")
    world.tokens["staff1"] = await world.login("staff1", NEW)
    assert not await opens(world, "staff1", project)
    assert (await fix(world, "admin1", EMAIL.format("staff1"), project)).status_code == 200
    assert await opens(world, "staff1", project)
    await world.add_file(project, "second.fastq", "staff1")
    assert sorted(await names(world, project, "staff1")) == ["first.fastq", "second.fastq"]
