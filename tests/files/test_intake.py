"""Files that are registered together: what is wrong with one is no other's business."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import structlog
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from ddsd.access import Member, Nobody, System
from ddsd.errors import Forbidden
from ddsd.files import intake
from ddsd.files.intake import Claim
from ddsd.files.registration import NewFile, Upload
from ddsd.projects.admission import Admission
from ddsd.projects.tables import Project
from ddsd.users import sessions
from ddsd.work import reading, transaction
from tests.conftest import kind as kind  # both databases: requests race here
from tests.files.recount import counted, kept
from tests.world import World, file_body


async def post(world: World, project: str, who: str, name: str) -> httpx.Response:
    return await world.call("POST", f"/file/new?project={project}", who, json=file_body(name))


async def member_and_project(world: World, public_id: str) -> tuple[Member, int]:
    token = await world.token_of("admin1")
    async with reading(world.services, Nobody()) as work:
        caller = await sessions.find(work, token)
        found = await work.session.execute(
            select(Project.columns().id).where(Project.columns().public_id == public_id)
        )
        return caller.member, found.scalar_one()


def claiming(upload: Upload) -> Claim:
    async def claim(_: Admission) -> Upload:
        return upload

    return claim


def a_file(name: str) -> NewFile:
    return NewFile(name, f"key-of-{name}", 1000, 500, True, "A" * 32, "B" * 64, "c" * 64)


async def test_what_is_wrong_with_one_request_is_told_to_that_one_alone(world: World) -> None:
    mine, theirs = await world.project("admin1", "researcher1"), await world.project("admin2")
    await asyncio.gather(*(world.token_of(who) for who in ("staff1", "staff2")))
    path = f"/file/new?project={mine}"
    expected = [
        (post(world, mine, "admin1", "d/f1"), 200, "added to db"),
        (post(world, theirs, "admin1", "d/f2"), 403, "Project access denied."),
        (post(world, mine, "admin1", "d/f1"), 400, "already in the project"),
        (post(world, "nope", "admin1", "d/f3"), 400, "does not exist"),
        (post(world, mine, "researcher1", "d/f4"), 403, "Insufficient credentials"),
        (world.call("POST", path, "admin1", content=b"["), 400, "Required data missing"),
        (world.call("POST", path, "admin1", json={"name": "x"}), 400, "Remote file name required"),
        (world.call("POST", path, token="x.y", json=file_body("d/f5")), 401, "Invalid token"),
        (world.call("POST", "/file/new", "admin1", json=file_body("g")), 400, "Project ID"),
        (post(world, mine, "staff1", "d/f6"), 200, "added to db"),
        (post(world, theirs, "staff2", "d/f7"), 200, "added to db"),
    ]
    answers = await asyncio.gather(*(call for call, _, _ in expected))
    for answer, (_, status, said) in zip(answers, expected, strict=True):
        assert answer.status_code == status, answer.text
        assert said in answer.text
    for project, files in ((mine, 2), (theirs, 1)):
        assert await kept(world.services, project) == await counted(world.services, project)
        assert (await kept(world.services, project)).files == files


async def test_each_request_is_logged_for_whoever_sent_it(world: World) -> None:
    people = {"admin1": "unit1", "staff1": "unit1", "admin2": "unit2", "researcher1": "unit2"}
    projects = {"unit1": await world.project("admin1"), "unit2": await world.project("admin2")}
    for who in people:
        await world.token_of(who)

    async def actor(who: str, unit: str, number: int) -> object:
        await post(world, projects[unit], who, f"{who}-{number}")
        return structlog.contextvars.get_contextvars()["actor"]

    asked = [(who, unit, number) for number in range(3) for who, unit in people.items()]
    actors = await asyncio.gather(*(actor(*one) for one in asked))
    assert actors == [f"user {who}" for who, _, _ in asked]


async def test_a_fault_in_one_claim_leaves_the_others_alone(world: World) -> None:
    member, project = await member_and_project(world, await world.project("admin1"))

    async def faulty(_: Admission) -> Upload:
        raise ZeroDivisionError

    claims = [claiming(Upload(project, a_file(f"f{n}"), member)) for n in range(4)]
    ended = await asyncio.gather(
        *(intake.add(world.services, claim) for claim in (*claims[:2], faulty, *claims[2:])),
        return_exceptions=True,
    )
    assert [type(one) for one in ended] == [Upload, Upload, ZeroDivisionError, Upload, Upload]


async def test_a_fault_of_the_database_is_told_to_all_and_leaves_nothing(world: World) -> None:
    public_id = await world.project("admin1")
    member, project = await member_and_project(world, public_id)

    async def breaking(admission: Admission) -> Upload:
        await admission.work.session.execute(text("SELECT 1 FROM nowhere"))
        raise AssertionError("there is such a table")

    claims = [claiming(Upload(project, a_file(f"f{n}"), member)) for n in range(3)]
    first, *others = await asyncio.gather(
        *(intake.add(world.services, claim) for claim in (claims[0], claims[1], breaking)),
        return_exceptions=True,
    )
    assert isinstance(first, Upload)  # it was alone, and did not wait
    assert all(isinstance(one, SQLAlchemyError) for one in others)
    assert (await kept(world.services, public_id)).files == 1
    await intake.add(world.services, claims[2])


async def test_nothing_is_registered_for_somebody_who_may_not_upload(world: World) -> None:
    _, project = await member_and_project(world, await world.project("admin1"))
    async with reading(world.services, Nobody()) as work:
        token = await world.token_of("researcher1")
        researcher = (await sessions.find(work, token)).member
    for who in (researcher, None):
        with pytest.raises(Forbidden):
            await intake.add(world.services, claiming(Upload(project, a_file("f"), who)))


async def test_a_session_that_ends_while_its_files_wait_registers_nothing_more(
    world: World,
) -> None:
    public_id = await world.project("admin1")
    member, project = await member_and_project(world, public_id)
    held, let_go = asyncio.Event(), asyncio.Event()

    async def slow(_: Admission) -> Upload:
        held.set()
        await let_go.wait()
        return Upload(project, a_file("slow"), member)

    async def end_sessions() -> None:
        async with transaction(world.services, System()) as work:
            await sessions.end_all(work, member.user_id, "logged out")

    first = asyncio.create_task(intake.add(world.services, slow))
    await held.wait()
    waiting = [asyncio.create_task(post(world, public_id, "admin1", f"f{n}")) for n in range(4)]
    ending = asyncio.create_task(end_sessions())
    if world.services.database.is_sqlite:
        await asyncio.sleep(0)  # it is the next to write
    else:
        await ending
    let_go.set()
    await asyncio.gather(first, ending)
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {401}
    assert (await kept(world.services, public_id)).files == 1
