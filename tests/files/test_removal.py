"""Removal of files, folders and whole projects: what is gone, what stays, and what a kill leaves behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ddsd.access import System
from ddsd.db.engine import Database
from ddsd.errors import Busy, Conflict, StoreRefused, StoreUnavailable, WrongStatus
from ddsd.files import removal
from ddsd.files.removal import EMPTY_PROJECT
from ddsd.files.tables import FileVersion, Folder
from ddsd.jobs import claims, progress
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.tables import Job, JobState
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.storage.memory import MemoryStore
from ddsd.storage.port import OpenUpload, RemovalFailure
from ddsd.work import Services, reading, transaction
from tests.builders import NOON, SettableClock
from tests.files.delivered import (
    Delivery,
    a_delivery,
    add_files,
    key_of,
    keys_in,
    names_in,
    store_of,
)
from tests.files.recount import counted, kept

TREE = ["a", "d/a", "d/b", "d/e/a", "d0", "d1/a", "d.x/a", "é/a", "%/a"]


class StubbornStore(MemoryStore):
    """Keeps the objects of some keys."""

    kept: frozenset[str] = frozenset()

    async def remove_objects(self, bucket: str, keys: Iterable[str]) -> tuple[RemovalFailure, ...]:
        wanted = list(keys)
        await super().remove_objects(bucket, [key for key in wanted if key not in self.kept])
        return tuple(RemovalFailure(key, "Locked") for key in wanted if key in self.kept)


class Killed(BaseException):
    """The daemon is no more."""


@dataclass
class Fate:
    """Kills at the given step; every call of the store and every commit has a step before and one after."""

    dies_at: int
    steps: int = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.dies_at:
            raise Killed


class MortalStore:
    """A store whose daemon may die around each call that changes something."""

    def __init__(self, store: MemoryStore, fate: Fate) -> None:
        self._store = store
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def remove_objects(self, bucket: str, keys: Iterable[str]) -> tuple[RemovalFailure, ...]:
        self._fate.step()
        failures = await self._store.remove_objects(bucket, keys)
        self._fate.step()
        return failures

    async def abort_upload(self, bucket: str, upload: OpenUpload) -> None:
        self._fate.step()
        await self._store.abort_upload(bucket, upload)
        self._fate.step()


class MortalDatabase:
    """A database whose daemon may die before or after each commit."""

    def __init__(self, database: Database, fate: Fate) -> None:
        self._database = database
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        async with self._database.writing() as session:
            yield session
            self._fate.step()
        self._fate.step()


def mortal(services: Services, fate: Fate) -> Services:
    store: Any = MortalStore(store_of(services), fate)
    database: Any = MortalDatabase(services.database, fate)
    return replace(services, store=store, database=database)


async def emptying(services: Services, delivery: Delivery) -> None:
    """Ask for the project to be emptied, and claim the job, as a runner does."""
    async with transaction(services, delivery.member) as work:
        project = await work.session.get_one(Project, delivery.project.id)
        await removal.begin_emptying(work, project)
    async with transaction(services, System()) as work:
        job_id = await claims.next_due(work, frozenset({EMPTY_PROJECT}))
        assert job_id is not None
        assert await claims.claim(work, job_id, "here/1")


async def end_jobs(services: Services) -> None:
    async with transaction(services, System()) as work:
        for row in await work.session.scalars(select(Job)):
            row.state = JobState.DONE


async def job(services: Services) -> Job:
    async with reading(services, System()) as work:
        return (await work.session.execute(select(Job))).scalar_one()


async def removed_at(services: Services, delivery: Delivery) -> list[object]:
    table = FileVersion.columns()
    async with reading(services, System()) as work:
        found = await work.session.scalars(
            select(table.removed_at).where(table.project_id == delivery.project.id)
        )
        return list(found)


async def agrees(services: Services, delivery: Delivery) -> bool:
    """Say whether counters equal a recount, and every file has its object."""
    public_id = delivery.project.public_id
    objects = await keys_in(services, delivery)
    there = {key_of(name) for name in await names_in(services, delivery)}
    return there <= set(objects) and (
        await kept(services, public_id) == await counted(services, public_id)
    )


async def remove(services: Services, delivery: Delivery, *names: str) -> removal.Removal:
    return await removal.remove_files(services, delivery.member, delivery.project, names)


async def remove_folders(services: Services, delivery: Delivery, *folders: str) -> removal.Removal:
    return await removal.remove_folders(services, delivery.member, delivery.project, folders)


async def test_files_go_with_their_objects_and_their_versions_end(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, TREE)
    at = clock.advance(hours=1)
    outcome = await remove(services, delivery, "d/a", "nothing", "d", "a", "a")
    assert (outcome.removed, outcome.not_removed) == (2, {})
    assert outcome.not_exists == ["nothing", "d"]
    assert await names_in(services, delivery) == sorted(set(TREE) - {"a", "d/a"})
    assert len(await keys_in(services, delivery)) == len(TREE) - 2
    assert (await removed_at(services, delivery)).count(at) == 2
    assert await agrees(services, delivery)


@pytest.mark.parametrize(
    ("folders", "gone", "missing"),
    [
        (["d"], {"d/a", "d/b", "d/e/a"}, []),
        (["d/", "./d1"], {"d/a", "d/b", "d/e/a", "d1/a"}, []),
        (["."], {"a", "d0"}, []),
        (["d/e", "d"], {"d/a", "d/b", "d/e/a"}, []),
        (["%"], {"%/a"}, []),
        (["", "/", "a", "x", "d/e/", "d1/b"], {"d/e/a"}, ["", "/", "a", "x", "d1/b"]),
    ],
)
async def test_a_folder_is_matched_exactly_and_goes_with_all_below_it(
    services: Services, folders: list[str], gone: set[str], missing: list[str]
) -> None:
    delivery = await a_delivery(services, TREE)
    outcome = await remove_folders(services, delivery, *folders)
    assert (outcome.removed, outcome.not_exists) == (len(gone), missing)
    assert set(await names_in(services, delivery)) == set(TREE) - gone
    assert await agrees(services, delivery)


async def test_a_folder_that_lost_its_last_file_gives_its_name_to_a_file(
    services: Services,
) -> None:
    delivery = await a_delivery(services, ["d/e/a"])
    await remove_folders(services, delivery, "d/e")
    async with reading(services, System()) as work:
        assert (await work.session.scalars(select(Folder.columns().id))).all() == []
    await add_files(services, delivery, ["d"])
    assert await agrees(services, delivery)


async def test_what_the_store_keeps_is_named_and_stays(services: Services) -> None:
    stubborn = StubbornStore(clock=services.clock)
    stubborn.kept = frozenset({key_of("d/a")})
    services = replace(services, store=stubborn)
    delivery = await a_delivery(services, TREE)
    assert (await remove(services, delivery, "a", "d/a")).not_removed.keys() == {"d/a"}
    outcome = await remove_folders(services, delivery, "d")
    assert (outcome.removed, set(outcome.not_removed)) == (2, {"d"})
    assert "d/a" in await names_in(services, delivery)
    assert await agrees(services, delivery)
    with pytest.raises(StoreRefused, match="Locked"):
        while await removal.remove_next(services, delivery.project.id):
            pass
    assert await names_in(services, delivery) == ["d/a"]


@pytest.mark.parametrize(
    "fields",
    [{"status": Status.AVAILABLE}, {"status": Status.EXPIRED}, {"released_at": NOON}],
    ids=["available", "expired", "retracted"],
)
async def test_nothing_is_removed_of_what_was_ever_released(
    services: Services, fields: dict[str, Any]
) -> None:
    delivery = await a_delivery(services, ["a"], **fields)
    for attempt in (remove(services, delivery, "a"), remove_folders(services, delivery, ".")):
        with pytest.raises(WrongStatus):
            await attempt
    with pytest.raises(WrongStatus):
        await emptying(services, delivery)
    assert await names_in(services, delivery) == ["a"]
    assert await agrees(services, delivery)


async def test_a_store_that_is_away_leaves_everything(services: Services) -> None:
    delivery = await a_delivery(services, TREE)
    store_of(services).away = True
    with pytest.raises(StoreUnavailable):
        await remove_folders(services, delivery, "d")
    store_of(services).away = False
    assert await names_in(services, delivery) == sorted(TREE)
    assert await agrees(services, delivery)


@pytest.mark.parametrize("seed", range(2))
async def test_counters_equal_a_recount_when_adding_and_removing_meet(
    services: Services, seed: int
) -> None:
    chance = random.Random(seed)
    names = [f"{chance.choice('abc')}/{chance.choice('de')}/{number}" for number in range(30)]
    delivery = await a_delivery(services, names[:15])
    await asyncio.gather(
        *(add_files(services, delivery, [name]) for name in names[15:]),
        *(remove(services, delivery, name) for name in names[:10]),
        remove_folders(services, delivery, "a"),
        remove_folders(services, delivery, "a/d", "b/e"),
        removal.remove_next(services, delivery.project.id, most=3),
    )
    assert await agrees(services, delivery)


async def test_a_project_is_emptied_step_by_step_and_tells_how_far_it_is(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, TREE)
    await services.store.put(delivery.project.bucket, "orphan", b"1")
    store_of(services).uploads[delivery.project.bucket] = [OpenUpload("big", "1", clock.now())]
    most = []
    while removed := await removal.remove_next(services, delivery.project.id, most=4):
        most.append(removed)
    assert most == [4, 4, 1, 1, 1]
    assert store_of(services).buckets[delivery.project.bucket] == {}
    assert store_of(services).uploads[delivery.project.bucket] == []
    assert await names_in(services, delivery) == []
    assert None not in await removed_at(services, delivery)
    assert await agrees(services, delivery)
    for _ in range(2):
        await removal.remove_bucket(services, delivery.project.id)
    assert await removal.remove_next(services, delivery.project.id) == 0
    assert store_of(services).buckets == {}


async def test_emptying_spares_what_is_about_to_be_registered(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, TREE)
    bucket = delivery.project.bucket
    await services.store.put(bucket, "old", b"1")
    store_of(services).uploads[bucket] = [OpenUpload("old", "1", clock.now())]
    clock.advance(hours=25)
    await services.store.put(bucket, key_of("new"), b"1")
    store_of(services).uploads[bucket].append(OpenUpload("new", "2", clock.now()))
    await emptying(services, delivery)
    await removal.empty_project(services, delivery.project.public_id)
    assert await keys_in(services, delivery) == [key_of("new")]
    assert [one.key for one in store_of(services).uploads[bucket]] == ["new"]
    assert await names_in(services, delivery) == []
    row = await job(services)
    assert (row.done, row.total) == (len(TREE) + 2, len(TREE) + 2)


async def test_emptying_killed_at_any_step_is_finished_by_the_next_daemon(
    services: Services, clock: SettableClock
) -> None:
    deaths = 0
    for dies_at in range(1, 200):
        delivery = await a_delivery(services, TREE)
        bucket = delivery.project.bucket
        await services.store.put(bucket, "orphan", b"1")
        store_of(services).uploads[bucket] = [OpenUpload("big", "1", clock.now())]
        clock.advance(days=2)
        fate = Fate(dies_at)
        try:
            while await removal.remove_next(mortal(services, fate), delivery.project.id, most=4):
                assert await agrees(services, delivery)
        except Killed:
            deaths += 1
            public_id = delivery.project.public_id
            assert await kept(services, public_id) == await counted(services, public_id)
        while await removal.remove_next(services, delivery.project.id, most=4):
            assert await agrees(services, delivery)
        assert (await keys_in(services, delivery), await names_in(services, delivery)) == ([], [])
        assert store_of(services).uploads[bucket] == []
        ended = await removed_at(services, delivery)
        assert len(ended) == len(TREE)
        assert None not in ended
        assert await agrees(services, delivery)
        if fate.steps < dies_at:
            break
    assert deaths >= 10


async def test_a_job_killed_at_any_step_goes_on_counting(services: Services) -> None:
    for dies_at in range(1, 200):
        delivery = await a_delivery(services, TREE)
        await emptying(services, delivery)
        fate = Fate(dies_at)
        public_id = delivery.project.public_id
        try:
            await removal.empty_project(mortal(services, fate), public_id)
        except Killed:
            await removal.empty_project(services, public_id)
        told = await progress.reported(services, EMPTY_PROJECT, public_id)
        assert (await names_in(services, delivery), told.total) == ([], len(TREE))
        await end_jobs(services)
        if fate.steps < dies_at:
            return
    pytest.fail("there are more steps than were tried")


async def test_a_project_is_emptied_once_at_a_time_and_only_if_it_holds_files(
    services: Services,
) -> None:
    delivery = await a_delivery(services, ["a"])
    await emptying(services, delivery)
    with pytest.raises(Busy):
        await emptying(services, delivery)
    await removal.empty_project(services, delivery.project.public_id)
    await end_jobs(services)
    with pytest.raises(Conflict, match=r"^There are no project contents to delete\.$"):
        await emptying(services, delivery)


async def test_a_project_released_meanwhile_is_not_emptied_by_an_old_job(
    services: Services,
) -> None:
    delivery = await a_delivery(services, ["a"])
    await emptying(services, delivery)
    async with transaction(services, System()) as work:
        (await work.session.get_one(Project, delivery.project.id)).status = Status.AVAILABLE
    with pytest.raises(GiveUp):
        await removal.empty_project(services, delivery.project.public_id)
    assert await names_in(services, delivery) == ["a"]


async def test_stale_uploads_are_aborted_and_running_ones_are_not(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services)
    bucket = delivery.project.bucket
    week = timedelta(days=7)
    old, young = (OpenUpload("k", str(n), clock.now() - week + n * timedelta(1)) for n in (-1, 1))
    store_of(services).uploads[bucket] = [old, young]
    assert await removal.abort_uploads(services.store, bucket, clock.now() - week) == 1
    assert store_of(services).uploads[bucket] == [young]
    assert await removal.abort_uploads(services.store, "no-such-bucket", None) == 0
