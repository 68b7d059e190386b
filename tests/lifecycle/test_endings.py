"""Archive, abort and delete: what is removed, what stays, and that it happens once, whatever dies in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.db.base import Table
from ddsd.db.engine import Database
from ddsd.errors import Busy, StoreUnavailable
from ddsd.files import grants
from ddsd.files.tables import FileVersion, StoredFile, StoreKey
from ddsd.jobs.tables import Job, JobState
from ddsd.keys.tables import KeyWrap
from ddsd.lifecycle import deadlines, endings, verbs
from ddsd.projects.status import Status, Verb, deadline_after
from ddsd.projects.tables import Membership, Project, StatusEntry
from ddsd.storage.memory import MemoryStore
from ddsd.work import Services, reading, transaction
from tests.builders import NOON, SettableClock, a_unit
from tests.lifecycle.life import a_life, entries, fill, find, run_jobs

P, V, E, A, D = (
    Status.IN_PROGRESS,
    Status.AVAILABLE,
    Status.EXPIRED,
    Status.ARCHIVED,
    Status.DELETED,
)
ENDS = [
    (P, Verb.DELETE, D),
    (P, Verb.ARCHIVE, A),
    (P, Verb.ABORT, A),
    (V, Verb.ARCHIVE, A),
    (V, Verb.ABORT, A),
    (E, Verb.ARCHIVE, A),
    (E, Verb.ABORT, A),
]


async def filled(services: Services, status: Status = P, **fields: Any) -> int:
    """Make a project with files in the store; return its number."""
    async with transaction(services, System()) as work:
        project_id = (await a_life(work, status, **fields)).id
    await fill(services, project_id)
    return project_id


async def begin(services: Services, project_id: int, verb: Verb) -> None:
    async with transaction(services, System()) as work:
        await verbs.do(work, await work.session.get_one(Project, project_id), verb)


async def count(services: Services, table: type[Table], *conditions: Any) -> int:
    async with reading(services, System()) as work:
        query = select(func.count()).select_from(table).where(*conditions)
        return int(await work.session.scalar(query) or 0)


async def audited(services: Services, action: str) -> int:
    return await count(services, AuditEntry, AuditEntry.columns().action == action)


@pytest.mark.parametrize(("before", "verb", "after"), ENDS)
async def test_what_an_end_removes_and_what_it_leaves(
    services: Services, before: Status, verb: Verb, after: Status
) -> None:
    project_id = await filled(services, before)
    other = await filled(services)
    await begin(services, project_id, verb)
    project = await find(services, project_id)
    assert (project.status, project.ending, project.active) == (before, verb, True)

    assert await run_jobs(services) == [f"end_project {project.public_id}"]
    project = await find(services, project_id)
    assert (project.status, project.ending, project.active) == (after, None, False)
    assert (project.deadline, project.purge_after) == (None, None)
    assert await entries(services, project_id) == [before, after]
    assert not await services.store.bucket_exists(project.bucket)
    assert (project.file_count, project.bytes_stored, project.bytes_original) == (0, 0, 0)

    def mine(table: type[Table]) -> Any:
        return table.columns().project_id == project_id

    assert await count(services, StoredFile, mine(StoredFile)) == 0
    assert await count(services, KeyWrap, mine(KeyWrap)) == 0
    assert (
        await count(
            services,
            FileVersion,
            mine(FileVersion),
            FileVersion.columns().removed_at == services.clock.now(),
        )
        == 3
    )
    forgotten = verb is not Verb.ARCHIVE
    described = (project.title, project.description, project.public_key)
    assert described == ((None,) * 3 if forgotten else ("A project", "What", b"k" * 32))
    assert await count(services, Membership, mine(Membership)) == (0 if forgotten else 1)
    assert (await audited(services, f"project.{verb}"), await audited(services, "project.end")) == (
        1,
        1,
    )

    untouched = await find(services, other)
    assert (untouched.status, untouched.file_count) == (P, 3)
    assert await services.store.bucket_exists(untouched.bucket)


async def test_a_project_without_a_bucket_ends_as_well(services: Services) -> None:
    async with transaction(services, System()) as work:
        project_id = (await a_life(work, P)).id
    await begin(services, project_id, Verb.DELETE)
    await run_jobs(services)
    assert (await find(services, project_id)).status is D


async def test_upload_keys_end_at_once(services: Services) -> None:
    project_id = await filled(services)
    await grants.grant_upload(services, System(), await find(services, project_id))
    assert await count(services, StoreKey) == 1
    await begin(services, project_id, Verb.ARCHIVE)
    assert await count(services, StoreKey) == 0
    table = Job.columns()
    assert await count(services, Job, table.kind == grants.REVOKE_STORE_KEY) == 1


async def test_the_job_tells_how_far_it_is(services: Services) -> None:
    project_id = await filled(services)
    await begin(services, project_id, Verb.ARCHIVE)
    await run_jobs(services)
    table = Job.columns()
    async with reading(services, System()) as work:
        job = (
            await work.session.execute(select(Job).where(table.kind == endings.END_PROJECT))
        ).scalar_one()
    assert (job.done, job.total) == (4, 4)


async def test_a_second_run_of_the_job_does_nothing(services: Services) -> None:
    project_id = await filled(services)
    await begin(services, project_id, Verb.DELETE)
    await run_jobs(services)
    project = await find(services, project_id)
    await endings.end_project(services, project.public_id)
    async with transaction(services, System()) as work:
        await endings.finish(work, project.public_id)
    assert await entries(services, project_id) == [P, D]
    assert await audited(services, "project.end") == 1


async def test_a_job_that_was_given_up_is_taken_up_by_the_night(services: Services) -> None:
    project_id = await filled(services)
    await begin(services, project_id, Verb.ARCHIVE)
    async with transaction(services, System()) as work:
        job = (await work.session.execute(select(Job))).scalar_one()
        job.state, job.finished_at = JobState.FAILED, work.now
    await deadlines.follow_deadlines(services, "all")
    await run_jobs(services)
    assert (await find(services, project_id)).status is A


class Death(BaseException):
    """The process dies here."""


class DyingStore:
    """A store whose changing calls may be the last thing the process does: before it, or right after it."""

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner
        self.steps: list[str] = []
        self.dies_at = -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def remove_objects(self, bucket: str, keys: Iterable[str]) -> Any:
        """Remove, unless the process dies."""
        self.step("before objects")
        gone = await self._inner.remove_objects(bucket, list(keys))
        self.step("after objects")
        return gone

    async def remove_bucket(self, bucket: str) -> None:
        """Remove, unless the process dies."""
        self.step("before the bucket")
        await self._inner.remove_bucket(bucket)
        self.step("after the bucket")

    def step(self, name: str) -> None:
        """Come to a point at which the process may die."""
        self.steps.append(name)
        if len(self.steps) - 1 == self.dies_at:
            raise Death(name)


@asynccontextmanager
async def dying_at_commits(database: Database, store: DyingStore) -> AsyncIterator[None]:
    """Let every commit be such a point, too: before it nothing of the transaction is there."""

    def before(_session: Any) -> None:
        store.step("before a commit")

    def after(_session: Any) -> None:
        store.step("after a commit")

    target = AsyncSession.sync_session_class
    event.listen(target, "before_commit", before)
    event.listen(target, "after_commit", after)
    try:
        yield
    finally:
        event.remove(target, "before_commit", before)
        event.remove(target, "after_commit", after)


async def test_a_death_at_any_point_is_made_good_once(services: Services) -> None:
    assert isinstance(services.store, MemoryStore)
    store = DyingStore(services.store)
    mortal = replace(services, store=store)
    point = 0
    while True:
        project_id = await filled(services, V)
        await begin(services, project_id, Verb.ARCHIVE)
        public_id = (await find(services, project_id)).public_id
        store.steps, store.dies_at = [], point
        try:
            async with dying_at_commits(services.database, store):
                await endings.end_project(mortal, public_id)
        except Death:
            survived = False
        else:
            survived = True
        store.dies_at = -1
        await run_jobs(services)
        project = await find(services, project_id)
        assert (project.status, project.ending) == (A, None), (point, store.steps)
        assert await entries(services, project_id) == [V, A], (point, store.steps)
        assert not await services.store.bucket_exists(project.bucket)
        assert project.file_count == 0
        ended = AuditEntry.columns()
        assert (
            await count(
                services, AuditEntry, ended.action == "project.end", ended.subject == public_id
            )
            == 1
        )
        if survived:
            break
        point += 1
    assert {"before objects", "after the bucket", "before a commit"} <= set(store.steps)
    assert point > 8


async def test_a_store_that_is_away_only_delays_the_end(services: Services) -> None:
    assert isinstance(services.store, MemoryStore)
    project_id = await filled(services, V)
    await begin(services, project_id, Verb.ARCHIVE)
    project = await find(services, project_id)
    services.store.away = True
    with pytest.raises(StoreUnavailable):
        await endings.end_project(services, project.public_id)
    assert (await find(services, project_id)).ending is Verb.ARCHIVE
    services.store.away = False
    await run_jobs(services)
    assert (await find(services, project_id)).status is A


async def test_two_ends_in_one_second_are_two_and_in_order(
    services: Services, clock: SettableClock
) -> None:
    project_id = await filled(services)
    for verb in (Verb.RELEASE, Verb.EXTEND, Verb.EXPIRE, Verb.ARCHIVE):
        async with transaction(services, System()) as work:
            project = await work.session.get_one(Project, project_id)
            await verbs.do(work, project, verb, days=2)
    await run_jobs(services)
    assert clock.now() == NOON
    assert await entries(services, project_id) == [P, V, E, V, E, A]
    assert (await find(services, project_id)).times_expired == 2


async def test_an_extension_is_an_expiry_of_a_day_and_a_release(services: Services) -> None:
    async with transaction(services, System()) as work:
        project = await a_life(work, V, await a_unit(work.session))
        project.deadline = deadline_after(work.now, 10)
        await verbs.do(work, project, Verb.EXTEND, days=5)
        project_id = project.id
    table = StatusEntry.columns()
    async with reading(services, System()) as work:
        found = await work.session.execute(
            select(table.status, table.deadline)
            .where(table.project_id == project_id)
            .order_by(table.id)
        )
        rows = [tuple(row) for row in found][1:]
        assert rows == [(E, deadline_after(work.now, 1)), (V, deadline_after(work.now, 15))]


async def test_of_two_ends_asked_for_at_once_one_wins_and_the_other_is_told(
    services: Services,
) -> None:
    project_id = await filled(services)
    public_id = (await find(services, project_id)).public_id

    async def ask(verb: Verb) -> str:
        try:
            async with transaction(services, System()) as work:
                await verbs.do(work, await endings.locked(work, public_id), verb)
        except Busy as told:
            return told.code
        return verb

    answers = await asyncio.gather(ask(Verb.ARCHIVE), ask(Verb.DELETE))
    won = (await find(services, project_id)).ending
    assert won is not None
    assert sorted(answers) == sorted([won.value, "busy"])
    assert await count(services, Job, Job.columns().kind == endings.END_PROJECT) == 1
