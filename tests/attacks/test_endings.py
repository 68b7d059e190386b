"""A project that comes to its end while people work in it: nothing of it stays, nobody gets an error of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from ddsd.access import Operator, Role, System
from ddsd.audit.tables import AuditEntry
from ddsd.db.base import Table
from ddsd.db.engine import Database
from ddsd.errors import DdsError, QuotaExceeded, WrongStatus
from ddsd.files import grants, intake, removal
from ddsd.files.registration import NewFile, Upload
from ddsd.files.tables import StoredFile, StoreKey
from ddsd.jobs import operating
from ddsd.jobs.tables import Job, JobState
from ddsd.keys.tables import KeyWrap
from ddsd.lifecycle import deadlines, endings, verbs
from ddsd.projects.admission import Admission
from ddsd.projects.status import Status, Verb
from ddsd.projects.tables import Membership, Project
from ddsd.storage.memory import MemoryStore
from ddsd.units.tables import Unit
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock, a_project, a_unit, a_user
from tests.files.delivered import a_delivery, add_files, names_in
from tests.lifecycle.life import a_life, entries, fill, find, member, run_jobs
from tests.thorough import KINDS
from tests.usage.test_quota import somebody_waits
from tests.world import CONTENT, EMAIL, World, file_body


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of database: requests race here, so both."""
    return str(request.param)


class StoreThatWaits(MemoryStore):
    """A store that makes a bucket only after something else has happened."""

    async def ensure_bucket(self, bucket: str) -> None:
        """Make the bucket, late."""
        await self.meanwhile()
        await super().ensure_bucket(bucket)

    async def meanwhile(self) -> None:
        """Do nothing."""


@asynccontextmanager
async def another_daemon(services: Services, url: str) -> AsyncIterator[Services]:
    """Services of a second daemon on the same database and store."""
    database = Database(url)
    try:
        yield replace(services, database=database)
    finally:
        await database.close()


async def count(services: Services, table: type[Table], *conditions: Any) -> int:
    async with reading(services, System()) as work:
        query = select(func.count()).select_from(table).where(*conditions)
        return int(await work.session.scalar(query) or 0)


async def begin(services: Services, public_id: str, verb: Verb) -> None:
    async with transaction(services, System()) as work:
        await verbs.do(work, await endings.locked(work, public_id), verb)


@pytest.mark.parametrize("until", ["asked for", "over"])
async def test_a_bucket_does_not_come_back_with_a_key_that_was_asked_for_before_the_end(
    services: Services, clock: SettableClock, until: str
) -> None:
    store = StoreThatWaits(clock=clock)
    mine = replace(services, store=store)
    async with transaction(services, System()) as work:
        project_id = (await a_life(work, Status.IN_PROGRESS)).id
    project = await find(services, project_id)

    async def ends() -> None:
        await begin(mine, project.public_id, Verb.DELETE)
        if until == "over":
            await run_jobs(mine)

    store.meanwhile = ends  # type: ignore[method-assign]  # what happens is said by the test
    with pytest.raises(WrongStatus):
        await grants.grant_upload(mine, System(), project)
    await run_jobs(mine)
    assert (await find(services, project_id)).status is Status.DELETED
    assert not await store.bucket_exists(project.bucket)
    assert await count(services, StoreKey) == 0


async def test_what_is_delivered_after_all_contents_were_to_be_removed_stays(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, ["old"])
    async with transaction(services, delivery.member) as work:
        project = await work.session.get_one(Project, delivery.project.id)
        await removal.begin_emptying(work, project)
    clock.advance(seconds=1)
    await add_files(services, delivery, ["new"])
    await removal.empty_project(services, delivery.project.public_id)
    assert await names_in(services, delivery) == ["new"]


async def test_trying_a_removal_again_removes_no_more_than_was_asked_for(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, ["old"])
    async with transaction(services, delivery.member) as work:
        project = await work.session.get_one(Project, delivery.project.id)
        await removal.begin_emptying(work, project)
    async with transaction(services, System()) as work:
        failed = (await work.session.scalars(select(Job))).one()
        failed.state, failed.finished_at = JobState.FAILED, work.now
    clock.advance(days=3)
    await add_files(services, delivery, ["new"])
    async with transaction(services, Operator(0, "root")) as work:
        await operating.retry(work, failed.id)
    await removal.empty_project(services, delivery.project.public_id)
    assert await names_in(services, delivery) == ["new"]


async def test_two_daemons_end_a_project_once(services: Services, database_url: str) -> None:
    async with transaction(services, System()) as work:
        project = await a_life(work, Status.AVAILABLE)
    await fill(services, project.id, 7)
    await begin(services, project.public_id, Verb.ARCHIVE)
    async with another_daemon(services, database_url) as other:
        await asyncio.gather(
            endings.end_project(services, project.public_id),
            endings.end_project(other, project.public_id),
        )
    assert await entries(services, project.id) == [Status.AVAILABLE, Status.ARCHIVED]
    ends = AuditEntry.columns().action == "project.end"
    assert await count(services, AuditEntry, ends) == 1
    ended = await find(services, project.id)
    assert (ended.file_count, ended.bytes_stored, ended.ending) == (0, 0, None)


async def test_a_project_is_taken_back_with_its_data_or_not_at_all(
    services: Services, database_url: str, clock: SettableClock
) -> None:
    outcomes = []
    async with another_daemon(services, database_url) as other:
        for number in range(6):
            async with transaction(services, System()) as work:
                project = await a_life(work, Status.ARCHIVED, purge_after=clock.now())
            await fill(services, project.id)
            async with reading(services, System()) as work:
                [due] = await deadlines.due(work)
            restoring = begin(services, project.public_id, Verb.RESTORE)
            purging = deadlines.take_step(other, due)
            both = (restoring, purging) if number % 2 else (purging, restoring)
            told = await asyncio.gather(*both, return_exceptions=True)
            assert all(one is None or isinstance(one, DdsError) for one in told)
            await run_jobs(services)
            ended = await find(services, project.id)
            kept = (ended.status, ended.file_count, ended.purge_after)
            assert kept in {(Status.EXPIRED, 3, None), (Status.ARCHIVED, 0, None)}
            assert await services.store.bucket_exists(project.bucket) == bool(ended.file_count)
            outcomes.append(ended.status)
    assert len(outcomes) == 6


async def test_two_daemons_keep_one_quota_between_them(
    services: Services, database_url: str
) -> None:
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session, quota_bytes=1000)
        projects = [await a_project(work.session, unit) for _ in range(3)]
        user = await a_user(work.session, role=Role.UNIT_ADMIN, unit_id=unit.id)
    who = member(user, Role.UNIT_ADMIN, unit.id)

    async def register(daemon: Services, number: int) -> bool:
        new = NewFile(f"{number}", f"{number}", 70, 70, True, "A" * 32, "B" * 64, "c" * 64)

        async def claim(_: Admission) -> Upload:
            return Upload(projects[number % 3].id, new, who)

        try:
            await intake.add(daemon, claim)
        except QuotaExceeded:
            return False
        return True

    async with another_daemon(services, database_url) as other:
        told = await asyncio.gather(
            *(register((services, other)[number % 2], number) for number in range(120))
        )
    assert told.count(True) == 14
    async with reading(services, System()) as work:
        sizes = (await work.session.scalars(select(Project.columns().bytes_stored))).all()
    assert sum(sizes) == 14 * 70
    assert await count(services, StoredFile) == 14


async def test_nothing_of_an_aborted_project_outlives_it_whoever_is_at_work_in_it(
    world: World,
) -> None:
    public_id = await world.project("admin1", "researcher1")
    for number in range(3):
        await world.add_file(public_id, f"f{number}")
    async with reading(world.services, System()) as work:
        project = (await work.session.scalars(select(Project))).one()
    await world.store.ensure_bucket(project.bucket)
    await world.store.put(project.bucket, file_body("f0")["name_in_bucket"], CONTENT)
    for who in ("admin1", "admin1b", "staff1", "researcher1"):
        await world.token_of(who)
    for _ in range(2):  # while it ends, and after
        answers = await asyncio.gather(
            *at_work(world, public_id, "admin1b"),
            world.call(
                "POST",
                f"/proj/status?project={public_id}",
                "admin1",
                json={"new_status": "Archived", "is_aborted": True},
            ),
            *at_work(world, public_id, "staff1"),
        )
        assert {one.status_code for one in answers} <= {200, 400, 403, 404, 409}
        await run_jobs(world.services)
    ended = await find(world.services, project.id)
    assert (ended.status, ended.ending, ended.active) == (Status.ARCHIVED, None, False)
    assert (ended.title, ended.description, ended.pi, ended.public_key) == (None,) * 4
    assert (ended.file_count, ended.bytes_stored) == (0, 0)
    for table in (KeyWrap, Membership, StoredFile):
        assert await count(world.services, table, table.columns().project_id == project.id) == 0
    assert await count(world.services, StoreKey, StoreKey.columns().bucket == project.bucket) == 0
    assert not await world.store.bucket_exists(project.bucket)


def at_work(world: World, project: str, who: str) -> list[Any]:
    """What somebody of the unit, and a researcher, may be doing in a project."""
    query = f"?project={project}"
    stranger = f"stranger-of-{who}@example.org"
    return [
        world.call("POST", f"/file/new{query}", who, json=file_body(f"by-{who}")),
        world.call("GET", f"/s3/proj{query}", who),
        world.call("GET", f"/file/all/info{query}", who),
        world.call("GET", f"/files/list{query}", "researcher1"),
        world.call("PUT", f"/file/update{query}", who, json={"name": "f0"}),
        world.call("PUT", f"/proj/info{query}", who, json={"title": f"By {who}"}),
        world.call(
            "POST",
            f"/user/add{query}",
            who,
            json={"email": EMAIL.format("researcher2"), "role": "Researcher"},
        ),
        world.call(
            "POST", f"/user/add{query}", who, json={"email": stranger, "role": "Researcher"}
        ),
        world.call(
            "POST", f"/proj/access{query}", who, json={"email": EMAIL.format("researcher1")}
        ),
        world.call(
            "POST", f"/user/access/revoke{query}", who, json={"email": EMAIL.format("researcher1")}
        ),
        world.call("DELETE", f"/file/rm{query}", who, json=["f1"]),
        world.call("POST", f"/proj/upload/complete{query}", who),
    ]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_who_invites_to_a_unit_does_not_lock_a_project_before_it(world: World) -> None:
    """Uploads lock the unit first: the two would wait for each other. SQLite has one writer anyway."""
    public_id = await world.project("admin1")
    await world.token_of("admin1")
    body = {"email": "new@example.org", "role": "Unit Personnel"}
    async with transaction(world.services, Operator(1000, "olga")) as work:
        await work.session.execute(
            select(Unit.columns().id).where(Unit.columns().public_id == "unit1").with_for_update()
        )
        late = asyncio.create_task(
            world.call("POST", f"/user/add?project={public_id}", "admin1", json=body)
        )
        await somebody_waits(world.services)
        await work.session.execute(
            select(Project.columns().id)
            .where(Project.columns().public_id == public_id)
            .with_for_update(nowait=True)
        )
    assert (await late).status_code == 200
