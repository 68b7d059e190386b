"""A unit's data moved to another store: whole, while people use it, and whatever dies meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ddsd.access import Operator, System
from ddsd.audit.tables import AuditEntry
from ddsd.db.base import Table
from ddsd.errors import Busy, Conflict, DdsError, NotFound, StoreRefused, StoreUnavailable
from ddsd.files import grants, leaving, moving, removal, stores
from ddsd.files.accounts import Credentials, set_credentials
from ddsd.files.tables import ObjectCopy
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.tables import Job, JobState
from ddsd.lifecycle import endings
from ddsd.projects.busy import require_contents_stay
from ddsd.projects.status import Status, Verb
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.settings import Settings
from ddsd.storage.memory import MemoryStore
from ddsd.storage.port import ObjectReader, Readable, ScopedKey
from ddsd.storage.stores import StoreAccount, Stores
from ddsd.units import stores as accounts
from ddsd.units.tables import StoreState, Unit, UnitStore
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock, a_project
from tests.files.delivered import STORED, Delivery, a_delivery, add_files, key_of, keys_in, names_in
from tests.services import SeveralStores, no_users

OPERATOR = Operator(0, "root")
NEW = "http://new.example"
THERE = Credentials("new-account", SecretText("new-secret"), endpoint=NEW)


@pytest.fixture
def places(clock: SettableClock) -> SeveralStores:
    return SeveralStores(clock)


@pytest.fixture
def moved(services: Services, places: SeveralStores) -> Services:
    """Services whose stores a test can look into."""
    return replace(services, stores=Stores(places.open, no_users))


def old(services: Services) -> MemoryStore:
    assert isinstance(services.store, MemoryStore)
    return services.store


async def unit_of(services: Services, delivery: Delivery) -> str:
    async with reading(services, System()) as work:
        return (await work.session.get_one(Unit, delivery.project.unit_id)).public_id


async def project_of(services: Services, delivery: Delivery) -> Project:
    async with reading(services, System()) as work:
        return await work.session.get_one(Project, delivery.project.id)


async def count(services: Services, table: type[Table]) -> int:
    async with reading(services, System()) as work:
        return await work.session.scalar(select(func.count()).select_from(table)) or 0


async def begin(services: Services, delivery: Delivery) -> str:
    unit = await unit_of(services, delivery)
    await moving.begin(services, OPERATOR, unit, THERE, dry_run=False)
    return unit


async def move(services: Services, delivery: Delivery) -> str:
    unit = await begin(services, delivery)
    await moving.move_unit(services, unit)
    return unit


async def forget(services: Services, unit: str) -> None:
    async with transaction(services, OPERATOR) as work:
        await end_jobs(work.session)
        await leaving.begin_forgetting(work, unit, dry_run=False)
    await leaving.forget_former_store(services, unit)


async def end_jobs(session: AsyncSession) -> None:
    """Let the jobs that a test has run by hand be over."""
    for job in await session.scalars(select(Job)):
        job.state = JobState.DONE
    await session.flush()


async def test_everything_is_at_the_new_store_and_the_old_copy_stays_until_it_is_forgotten(
    moved: Services, places: SeveralStores
) -> None:
    delivery = await a_delivery(moved, ["a", "d/b"])
    bucket = delivery.project.bucket
    unit = await move(moved, delivery)
    new = places.known[NEW]
    contents = {key_of("a"): STORED, key_of("d/b"): STORED}
    assert new.buckets[bucket] == contents
    assert old(moved).buckets[bucket] == contents
    assert (await stores.of(moved, delivery.project)) is new
    await forget(moved, unit)
    assert await count(moved, ObjectCopy) == 0
    assert bucket not in old(moved).buckets
    assert new.buckets[bucket] == contents
    async with reading(moved, System()) as work:
        rows = (await work.session.scalars(select(UnitStore))).all()
        told = set(await work.session.scalars(select(AuditEntry.columns().action)))
    assert [row.endpoint for row in rows] == [NEW]
    assert told >= {"store.migrate", "store.move_project", "store.migrated", "store.forgotten"}


async def test_links_are_good_throughout_and_new_ones_lead_to_the_new_store(
    moved: Services, places: SeveralStores
) -> None:
    delivery = await a_delivery(moved, ["a"])
    before = (await grants.download_links(moved, System(), delivery.project))(key_of("a"))
    unit = await begin(moved, delivery)
    during = (await grants.download_links(moved, System(), delivery.project))(key_of("a"))
    await moving.move_unit(moved, unit)
    after = (await grants.download_links(moved, System(), delivery.project))(key_of("a"))
    assert before == during
    assert key_used(before) in old(moved).keys
    assert key_used(after) in places.known[NEW].keys
    granted = await grants.grant_upload(moved, System(), delivery.project)
    assert (granted.endpoint, granted.access_key in places.known[NEW].keys) == (NEW, True)


def key_used(link: str) -> str:
    return link.partition("key=")[2].partition("&")[0]


async def test_a_new_project_goes_to_the_new_store_at_once(moved: Services) -> None:
    delivery = await a_delivery(moved, ["a"])
    await begin(moved, delivery)
    async with reading(moved, System()) as work:
        current = await accounts.current(work, delivery.project.unit_id)
        former = await accounts.former(work, delivery.project.unit_id)
    assert current is not None
    assert former is not None
    assert (current.endpoint, former.configured_as) == (NEW, moved.settings.store_place)


class Interrupted(MemoryStore):
    """A store where something else happens whenever something is read."""

    meanwhile: Callable[[], Awaitable[None]] | None = None
    reads = 0

    async def reader(self, bucket: str, key: str) -> ObjectReader:
        self.reads += 1
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return await super().reader(bucket, key)


@pytest.fixture
def busy(moved: Services, clock: SettableClock) -> Services:
    return replace(moved, store=Interrupted(clock=clock))


def interrupted(services: Services) -> Interrupted:
    assert isinstance(services.store, Interrupted)
    return services.store


async def test_what_changes_while_it_is_copied_is_the_same_at_both_in_the_end(
    busy: Services, places: SeveralStores, clock: SettableClock
) -> None:
    delivery = await a_delivery(busy, ["gone", "new content", "same"])
    bucket = delivery.project.bucket

    async def meanwhile() -> None:
        clock.advance(seconds=1)
        await removal.remove_files(busy, delivery.member, delivery.project, ["gone"])
        await interrupted(busy).put(bucket, key_of("new content"), b"changed bytes")
        await add_files(busy, delivery, ["added"])

    interrupted(busy).meanwhile = meanwhile
    await move(busy, delivery)
    assert places.known[NEW].buckets[bucket] == interrupted(busy).buckets[bucket]
    assert set(places.known[NEW].buckets[bucket]) == {
        key_of(n) for n in ("new content", "same", "added")
    }
    assert await names_in(busy, delivery) == ["added", "new content", "same"]


async def test_nothing_is_uploaded_removed_or_released_while_the_last_is_copied(
    moved: Services, places: SeveralStores, clock: SettableClock
) -> None:
    delivery = await a_delivery(moved, ["a"])
    granted = await grants.grant_upload(moved, System(), delivery.project)
    refused: list[str] = []

    class Closed(MemoryStore):
        async def list_objects(self, bucket: str) -> AsyncIterator[Any]:
            if (await project_of(moved, delivery)).moving and not refused:
                assert granted.access_key not in old(moved).keys
                for attempt in (upload, remove, release):
                    with pytest.raises(Busy) as told:
                        await attempt()
                    assert attempt is release or "moved to another store" in told.value.message
                    refused.append(attempt.__name__)
            async for one in super().list_objects(bucket):
                yield one

    async def upload() -> None:
        async with reading(moved, System()) as work:
            now = await work.session.get_one(Project, delivery.project.id)
            await require_contents_stay(work, now)
        await grants.grant_upload(moved, System(), delivery.project)

    async def remove() -> None:
        await removal.remove_files(moved, delivery.member, delivery.project, ["a"])

    async def release() -> None:
        async with transaction(moved, System()) as work:
            project = await endings.locked(work, delivery.project.public_id)
            await endings.begin(work, project, Verb.ARCHIVE)

    places.known[NEW] = Closed(clock=clock, endpoint=NEW)
    await move(moved, delivery)
    assert refused == ["upload", "remove", "release"]
    assert not (await project_of(moved, delivery)).moving
    await upload()


async def test_a_copy_that_is_not_the_same_is_not_taken(
    moved: Services, places: SeveralStores, clock: SettableClock
) -> None:
    class Flipping(MemoryStore):
        async def put_from(self, bucket: str, key: str, source: Readable, size_bytes: int) -> None:
            await super().put_from(bucket, key, source, size_bytes)
            content = self.buckets[bucket][key]
            self.buckets[bucket][key] = bytes([content[0] ^ 1]) + content[1:]

    delivery = await a_delivery(moved, ["a"])
    places.known[NEW] = Flipping(clock=clock, endpoint=NEW)
    with pytest.raises(StoreRefused, match="something else"):
        await move(moved, delivery)
    assert await stores.of(moved, delivery.project) is moved.store
    assert await count(moved, ObjectCopy) == 0


async def test_a_new_store_that_loses_what_was_copied_is_noticed_before_the_switch(
    moved: Services, places: SeveralStores, clock: SettableClock
) -> None:
    class Losing(MemoryStore):
        async def list_objects(self, bucket: str) -> AsyncIterator[Any]:
            self.buckets[bucket].clear()
            async for one in super().list_objects(bucket):
                yield one

    delivery = await a_delivery(moved, ["a"])
    unit = await unit_of(moved, delivery)
    places.known[NEW] = MemoryStore(clock=clock, endpoint=NEW)
    await moving.begin(moved, OPERATOR, unit, THERE, dry_run=False)
    losing = Losing(clock=clock, endpoint=NEW)
    failing = replace(moved, stores=Stores(lambda _: losing, no_users))
    with pytest.raises(StoreRefused, match="lacks"):
        await moving.move_unit(failing, unit)
    now = await project_of(moved, delivery)
    assert (now.moving, now.store_id) == (False, None)


async def test_a_project_that_is_being_ended_waits_and_leaves_nothing_at_the_new_store(
    busy: Services, places: SeveralStores
) -> None:
    delivery = await a_delivery(busy, ["a"], status=Status.AVAILABLE)
    public_id = delivery.project.public_id

    async def meanwhile() -> None:
        async with transaction(busy, System()) as work:
            await endings.begin(work, await endings.locked(work, public_id), Verb.ARCHIVE)

    interrupted(busy).meanwhile = meanwhile
    unit = await begin(busy, delivery)
    with pytest.raises(Busy, match=public_id):
        await moving.move_unit(busy, unit)
    await endings.end_project(busy, public_id)
    await moving.move_unit(busy, unit)
    assert delivery.project.bucket not in places.known[NEW].buckets
    await forget(busy, unit)
    assert await count(busy, ObjectCopy) == 0


async def test_what_was_registered_late_is_copied_before_the_old_copy_goes(
    moved: Services, places: SeveralStores, clock: SettableClock
) -> None:
    delivery = await a_delivery(moved, ["a"])
    bucket = delivery.project.bucket
    unit = await move(moved, delivery)
    for name in ("late", "never registered"):  # uploads that were on their way
        await old(moved).put(bucket, key_of(name), STORED)
    await add_files(moved, delivery, ["late"], store=False)
    clock.advance(days=1)
    await old(moved).put(bucket, key_of("may be registered yet"), STORED)
    await forget(moved, unit)
    copied = {key_of(name) for name in ("a", "late", "may be registered yet")}
    assert set(places.known[NEW].buckets[bucket]) == copied
    assert bucket not in old(moved).buckets


async def test_an_upload_over_a_file_that_ends_after_the_switch_is_not_lost(
    moved: Services, places: SeveralStores, clock: SettableClock
) -> None:
    delivery = await a_delivery(moved, ["late", "late, and newer", "removed", "same"])
    bucket = delivery.project.bucket
    unit = await move(moved, delivery)
    clock.advance(seconds=1)
    for name in ("late", "late, and newer"):
        await old(moved).put(bucket, key_of(name), b"late content")
    new = places.known[NEW]
    await new.put(bucket, key_of("late, and newer"), b"newer")
    await removal.remove_files(moved, delivery.member, delivery.project, ["removed"])
    await forget(moved, unit)
    assert new.buckets[bucket] == {
        key_of("late"): b"late content",
        key_of("late, and newer"): b"newer",
        key_of("same"): STORED,
    }


async def test_what_ends_late_is_copied_when_the_whole_unit_is_moved(
    moved: Services, places: SeveralStores, clock: SettableClock
) -> None:
    class Slow(MemoryStore):
        """An upload into it ends only after its project was switched."""

        async def list_objects(self, bucket: str) -> AsyncIterator[Any]:
            if (await project_of(moved, delivery)).store_id is not None:
                clock.advance(seconds=1)
                await self.put(bucket, key_of("a"), b"late content")
            async for one in super().list_objects(bucket):
                yield one

    moved = replace(moved, store=Slow(clock=clock))
    delivery = await a_delivery(moved, ["a"])
    await move(moved, delivery)
    assert places.known[NEW].buckets[delivery.project.bucket] == {key_of("a"): b"late content"}


@pytest.mark.parametrize("came_about", ["from the first", "after the move"])
async def test_a_store_with_two_addresses_is_no_other_store(
    moved: Services, places: SeveralStores, came_about: str
) -> None:
    delivery = await a_delivery(moved, ["a"])
    unit = await unit_of(moved, delivery)
    if came_about == "from the first":
        places.known[NEW] = old(moved)
        with pytest.raises(Conflict, match="has its data there already"):
            await moving.begin(moved, OPERATOR, unit, THERE, dry_run=False)
        assert await count(moved, UnitStore) == 0
    else:
        await move(moved, delivery)
        old(moved).buckets = places.known[NEW].buckets  # the old name leads to the new store
        with pytest.raises(GiveUp, match="they are one store"):
            await forget(moved, unit)
    assert old(moved).buckets == {delivery.project.bucket: {key_of("a"): STORED}}


async def test_from_an_own_account_at_the_configured_store_nothing_is_moved_to_it(
    moved: Services, places: SeveralStores, clock: SettableClock
) -> None:
    section = {"kind": "s3", "endpoint": NEW, "access_key": "configured"}
    settings = Settings.model_validate({"store": section})
    store = MemoryStore(clock=clock, endpoint=NEW)
    places.known[NEW] = store
    moved = replace(moved, settings=settings, store=store)
    delivery = await a_delivery(moved, ["a"])
    unit = await unit_of(moved, delivery)
    await set_credentials(moved, OPERATOR, unit, THERE, dry_run=False)
    with pytest.raises(Conflict, match="has its data there already"):
        await moving.begin(moved, OPERATOR, unit, None, dry_run=False)
    assert store.buckets == {delivery.project.bucket: {key_of("a"): STORED}}


async def test_a_project_that_can_be_restored_is_moved_too(
    moved: Services, places: SeveralStores, clock: SettableClock
) -> None:
    delivery = await a_delivery(
        moved,
        ["a"],
        status=Status.ARCHIVED,
        active=False,
        purge_after=clock.now() + timedelta(days=7),
    )
    unit = await move(moved, delivery)
    await forget(moved, unit)
    assert places.known[NEW].buckets == {delivery.project.bucket: {key_of("a"): STORED}}


async def test_what_the_new_store_has_lost_meanwhile_is_copied_once_more(
    moved: Services, places: SeveralStores
) -> None:
    delivery = await a_delivery(moved, ["a", "b"])
    unit = await move(moved, delivery)
    del places.known[NEW].buckets[delivery.project.bucket]
    await forget(moved, unit)
    contents = {key_of("a"): STORED, key_of("b"): STORED}
    assert places.known[NEW].buckets == {delivery.project.bucket: contents}


async def test_another_key_of_the_configured_store_does_not_hold_a_move_up(
    moved: Services, places: SeveralStores, clock: SettableClock
) -> None:
    def configured(access_key: str) -> Services:
        section = {"kind": "s3", "endpoint": "http://old.example", "access_key": access_key}
        return replace(moved, settings=Settings.model_validate({"store": section}))

    delivery = await a_delivery(moved, ["a"])
    unit = await begin(configured("before"), delivery)
    await moving.move_unit(configured("after"), unit)
    await forget(configured("after"), unit)
    contents = {key_of("a"): STORED}
    assert places.known[NEW].buckets == {delivery.project.bucket: contents}


class Particular(MemoryStore):
    """A store that lets only the account that made a key withdraw it, as MinIO does."""

    def __init__(self, clock: SettableClock, whose: dict[str, str], account: str) -> None:
        super().__init__(clock=clock, endpoint=NEW)
        self._whose, self._account = whose, account

    def _issue(self, *of: Any) -> ScopedKey:
        key = super()._issue(*of)
        self._whose[key.access_key] = self._account
        return key

    async def revoke_key(self, access_key: str) -> None:
        if self._whose.pop(access_key, self._account) != self._account:
            raise StoreRefused("AccessDenied")


async def test_upload_keys_of_a_replaced_account_are_withdrawn_by_it_before_the_last_is_copied(
    services: Services, clock: SettableClock
) -> None:
    whose: dict[str, str] = {}
    buckets: dict[str, dict[str, bytes]] = {}

    def opened(account: StoreAccount) -> MemoryStore:
        store = Particular(clock, whose, account.access_key)
        store.buckets = buckets
        return store

    settings = Settings.model_validate(
        {"store": {"kind": "s3", "endpoint": "http://other.example", "access_key": "configured"}}
    )
    services = replace(services, settings=settings, stores=Stores(opened, no_users))
    delivery = await a_delivery(services)
    unit = await unit_of(services, delivery)
    async with transaction(services, System()) as work:
        await work.session.delete(await work.session.get_one(Project, delivery.project.id))
    await set_credentials(services, OPERATOR, unit, THERE, dry_run=False)
    async with transaction(services, System()) as work:
        here = await accounts.current(work, delivery.project.unit_id)
        assert here is not None
        unit_row = await work.session.get_one(Unit, delivery.project.unit_id)
        project = await a_project(work.session, unit_row, store_id=here.id)
    granted = await grants.grant_upload(services, System(), project)
    another = replace(THERE, access_key="another-account")
    await set_credentials(services, OPERATOR, unit, another, dry_run=False)
    assert whose[granted.access_key] == THERE.access_key
    await moving.begin(services, OPERATOR, unit, None, dry_run=False)
    await moving.move_unit(services, unit)
    assert granted.access_key not in whose


async def test_a_daemon_that_died_before_it_withdrew_the_upload_keys_does_so_when_it_goes_on(
    moved: Services, places: SeveralStores
) -> None:
    class Unwilling(MemoryStore):
        unwilling = True

        async def revoke_key(self, access_key: str) -> None:
            if self.unwilling:
                raise Death
            await super().revoke_key(access_key)

    store = Unwilling(clock=moved.clock)
    moved = replace(moved, store=store)
    delivery = await a_delivery(moved, ["a"])
    granted = await grants.grant_upload(moved, System(), delivery.project)
    unit = await begin(moved, delivery)
    with pytest.raises(Death):
        await moving.move_unit(moved, unit)
    assert granted.access_key in store.keys
    store.unwilling = False
    await moving.move_unit(moved, unit)
    assert granted.access_key not in store.keys


async def test_a_run_that_comes_late_takes_nothing_away_from_a_project_that_was_moved(
    busy: Services, places: SeveralStores
) -> None:
    delivery = await a_delivery(busy, ["a"])
    bucket, new = delivery.project.bucket, "since"

    async def meanwhile() -> None:  # another daemon, that believes this one dead
        await moving.move_unit(busy, unit)
        await places.known[NEW].put(bucket, key_of(new), STORED)

    unit = await begin(busy, delivery)
    interrupted(busy).meanwhile = meanwhile
    with pytest.raises(Busy):
        await moving.move_unit(busy, unit)
    assert set(places.known[NEW].buckets[bucket]) == {key_of("a"), key_of(new)}


async def turn_back(services: Services, unit: str) -> None:
    async with transaction(services, OPERATOR) as work:
        await moving.turn_back(work, unit, dry_run=False)


async def to_the_other(services: Services, delivery: Delivery) -> Project:
    """Make another project of the unit, with an object."""
    async with transaction(services, System()) as work:
        unit = await work.session.get_one(Unit, delivery.project.unit_id)
        other = await a_project(work.session, unit)
    await services.store.ensure_bucket(other.bucket)
    await services.store.put(other.bucket, "of the other", STORED)
    return other


async def test_a_move_that_cannot_end_is_turned_back_without_loss(
    moved: Services, places: SeveralStores, clock: SettableClock
) -> None:
    class Full(MemoryStore):
        async def put_from(self, bucket: str, key: str, source: Readable, size_bytes: int) -> None:
            if key == "of the other":
                raise StoreRefused("XMinioStorageFull")
            await super().put_from(bucket, key, source, size_bytes)

    places.known[NEW] = Full(clock=clock, endpoint=NEW)
    delivery = await a_delivery(moved, ["a", "replaced", "removed"])
    other = await to_the_other(moved, delivery)
    unit = await begin(moved, delivery)
    with pytest.raises(StoreRefused, match="Full"):
        await moving.move_unit(moved, unit)
    assert await stores.of(moved, delivery.project) is places.known[NEW]
    clock.advance(seconds=1)
    await places.known[NEW].put(delivery.project.bucket, key_of("replaced"), b"new content")
    await removal.remove_files(moved, delivery.member, delivery.project, ["removed"])
    await turn_back(moved, unit)
    await moving.move_unit(moved, unit)
    await forget(moved, unit)
    assert old(moved).buckets == {
        delivery.project.bucket: {key_of("a"): STORED, key_of("replaced"): b"new content"},
        other.bucket: {"of the other": STORED},
    }
    assert places.known[NEW].buckets == {}
    assert await count(moved, UnitStore) == 0


@pytest.mark.parametrize("at_object", [1, 2])
async def test_a_move_that_is_turned_back_while_it_runs_ends_where_it_began(
    busy: Services, places: SeveralStores, at_object: int
) -> None:
    delivery = await a_delivery(busy, ["a"])
    other = await to_the_other(busy, delivery)
    unit = await begin(busy, delivery)

    async def meanwhile() -> None:
        if at_object == 1 or interrupted(busy).reads > 1:
            await turn_back(busy, unit)
        else:
            interrupted(busy).meanwhile = meanwhile

    interrupted(busy).meanwhile = meanwhile
    with pytest.raises(Busy, match="turned back"):
        await moving.move_unit(busy, unit)
    await moving.move_unit(busy, unit)
    await forget(busy, unit)
    assert interrupted(busy).buckets == {
        delivery.project.bucket: {key_of("a"): STORED},
        other.bucket: {"of the other": STORED},
    }
    assert places.known[NEW].buckets == {}


async def test_a_move_to_the_configured_store_is_turned_back_too(
    moved: Services, places: SeveralStores
) -> None:
    delivery = await a_delivery(moved, ["a"])
    unit = await move(moved, delivery)
    await forget(moved, unit)
    async with transaction(moved, System()) as work:
        await end_jobs(work.session)
    await moving.begin(moved, OPERATOR, unit, None, dry_run=False)
    async with transaction(moved, OPERATOR) as work:
        told = await moving.turn_back(work, unit, dry_run=True)
    assert (told.projects, told.target, told.job) == (0, NEW, None)
    await turn_back(moved, unit)
    await moving.move_unit(moved, unit)
    await forget(moved, unit)
    assert await stores.of(moved, delivery.project) is places.known[NEW]
    async with reading(moved, System()) as work:
        rows = (await work.session.scalars(select(UnitStore))).all()
    assert [(row.endpoint, row.state) for row in rows] == [(NEW, StoreState.CURRENT)]


async def test_what_was_not_begun_or_is_about_to_end_is_not_turned_back(moved: Services) -> None:
    delivery = await a_delivery(moved, ["a"])
    unit = await unit_of(moved, delivery)
    with pytest.raises(NotFound):
        await turn_back(moved, unit)
    await move(moved, delivery)
    async with transaction(moved, System()) as work:
        for job in await work.session.scalars(select(Job)):
            job.state = JobState.RUNNING
    with pytest.raises(Busy, match="about to end"):
        await turn_back(moved, unit)


async def test_an_old_copy_at_a_store_that_is_no_more_is_left(
    moved: Services, places: SeveralStores
) -> None:
    delivery = await a_delivery(moved, ["a"])
    unit = await begin(moved, delivery)
    with pytest.raises(Busy):
        async with transaction(moved, OPERATOR) as work:
            await leaving.leave(work, unit, dry_run=False)
    await moving.move_unit(moved, unit)
    old(moved).away = True
    async with transaction(moved, OPERATOR) as work:
        await end_jobs(work.session)
        await leaving.leave(work, unit, dry_run=False)
    assert await count(moved, UnitStore) == 1
    assert await count(moved, ObjectCopy) == 0
    assert old(moved).buckets == {delivery.project.bucket: {key_of("a"): STORED}}
    await moving.begin(
        moved, OPERATOR, unit, replace(THERE, endpoint="http://third.example"), dry_run=False
    )


async def test_to_the_configured_store_and_back(moved: Services, places: SeveralStores) -> None:
    delivery = await a_delivery(moved, ["a"])
    unit = await move(moved, delivery)
    await forget(moved, unit)
    async with transaction(moved, System()) as work:
        await end_jobs(work.session)
    await moving.begin(moved, OPERATOR, unit, None, dry_run=False)
    await moving.move_unit(moved, unit)
    await forget(moved, unit)
    assert await keys_in(moved, delivery) == [key_of("a")]
    assert places.known[NEW].buckets == {}
    assert await stores.of(moved, delivery.project) is moved.store
    assert await count(moved, UnitStore) == 0
    assert places.known[NEW].keys == {}


@pytest.mark.parametrize("stage", ["not begun", "being moved", "moved"])
async def test_what_does_not_fit_the_stage_is_refused(moved: Services, stage: str) -> None:
    delivery = await a_delivery(moved, ["a"])
    unit = await unit_of(moved, delivery)
    if stage != "not begun":
        await begin(moved, delivery)
    if stage == "moved":
        await moving.move_unit(moved, unit)
    expected: dict[str, tuple[type[DdsError], type[DdsError] | None]] = {
        "not begun": (Conflict, NotFound),
        "being moved": (Conflict, Busy),
        "moved": (Conflict, Busy),  # its job is not over: nobody has run it here
    }
    to_configured, forgetting = expected[stage]
    with pytest.raises(to_configured):
        await moving.begin(moved, OPERATOR, unit, None, dry_run=False)
    with pytest.raises(forgetting or DdsError):
        async with transaction(moved, OPERATOR) as work:
            await leaving.begin_forgetting(work, unit, dry_run=False)
    if stage != "not begun":
        with pytest.raises(Conflict, match="ddsctl store forget"):
            await moving.begin(moved, OPERATOR, unit, THERE, dry_run=False)


async def test_a_dry_run_tells_what_would_be_moved_and_begins_nothing(moved: Services) -> None:
    delivery = await a_delivery(moved, ["a", "b"])
    unit = await unit_of(moved, delivery)
    told = await moving.begin(moved, OPERATOR, unit, THERE, dry_run=True)
    assert (told.projects, told.files, told.size_bytes, told.job) == (1, 2, 2 * len(STORED), None)
    assert await count(moved, UnitStore) == 0


async def test_an_old_copy_at_a_store_that_is_configured_no_more_is_not_looked_for_elsewhere(
    moved: Services,
) -> None:
    delivery = await a_delivery(moved, ["a"])
    unit = await begin(moved, delivery)
    store = moved.settings.store.model_copy(update={"directory": moved.settings.instance.state_dir})
    elsewhere = replace(moved, settings=moved.settings.model_copy(update={"store": store}))
    with pytest.raises(Conflict, match="configure that one again"):
        await moving.move_unit(elsewhere, unit)


async def test_a_store_that_is_away_only_delays_the_move(
    moved: Services, places: SeveralStores
) -> None:
    delivery = await a_delivery(moved, ["a"])
    unit = await begin(moved, delivery)
    places.known[NEW].away = True
    with pytest.raises(StoreUnavailable):
        await moving.move_unit(moved, unit)
    assert not (await project_of(moved, delivery)).moving
    places.known[NEW].away = False
    await moving.move_unit(moved, unit)
    assert await stores.of(moved, delivery.project) is places.known[NEW]


class Death(BaseException):
    """The daemon is gone; nothing of it cleans up after itself."""


@asynccontextmanager
async def dying_at(point: int) -> AsyncIterator[list[str]]:
    """Let the process die at the so-manieth commit, before or after it; once dead, it commits nothing."""
    steps: list[str] = []

    def step(name: str) -> None:
        steps.append(name)
        if len(steps) > point:
            raise Death(name)

    def before(_session: Any) -> None:
        step("before")

    def after(_session: Any) -> None:
        step("after")

    target = AsyncSession.sync_session_class
    event.listen(target, "before_commit", before)
    event.listen(target, "after_commit", after)
    try:
        yield steps
    finally:
        event.remove(target, "before_commit", before)
        event.remove(target, "after_commit", after)


async def test_a_death_at_any_point_is_made_good_by_the_next_run(
    moved: Services, places: SeveralStores
) -> None:
    point, survived = 0, False
    while not survived:
        delivery = await a_delivery(moved, ["a", "b"])
        bucket = delivery.project.bucket
        await grants.grant_upload(moved, System(), delivery.project)
        unit = await begin(moved, delivery)
        survived = await outlives(point, moving.move_unit, moved, unit)
        await moving.move_unit(moved, unit)
        assert places.known[NEW].buckets[bucket] == old(moved).buckets[bucket], point
        assert not (await project_of(moved, delivery)).moving, point
        assert await stores.of(moved, delivery.project) is places.known[NEW], point
        point += 1
    assert point > 8


async def test_a_death_while_the_old_copy_is_removed_is_made_good_by_the_next_run(
    moved: Services, places: SeveralStores
) -> None:
    point, survived = 0, False
    while not survived:
        delivery = await a_delivery(moved, ["a", "b"])
        bucket = delivery.project.bucket
        unit = await move(moved, delivery)
        async with transaction(moved, OPERATOR) as work:
            await end_jobs(work.session)
            await leaving.begin_forgetting(work, unit, dry_run=False)
        survived = await outlives(point, leaving.forget_former_store, moved, unit)
        await leaving.forget_former_store(moved, unit)
        assert bucket not in old(moved).buckets, point
        assert len(places.known[NEW].buckets[bucket]) == 2, point
        point += 1
    assert point > 1


async def outlives(
    point: int, job: Callable[[Services, str], Awaitable[None]], services: Services, unit: str
) -> bool:
    """Run a job that dies at a point; say whether it was over before."""
    async with dying_at(point):
        try:
            await job(services, unit)
        except Death:
            return False
    return True


async def test_of_two_moves_that_are_begun_at_once_one_is(moved: Services) -> None:
    delivery = await a_delivery(moved, ["a"])
    unit = await unit_of(moved, delivery)
    elsewhere = replace(THERE, endpoint="http://third.example")
    outcomes = await asyncio.gather(
        *(moving.begin(moved, OPERATOR, unit, one, dry_run=False) for one in (THERE, elsewhere)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["Conflict", "Move"]
    assert await count(moved, UnitStore) == 2


async def test_another_account_that_is_given_during_a_move_is_that_of_every_project(
    busy: Services, places: SeveralStores
) -> None:
    delivery = await a_delivery(busy, ["a"])
    unit = await begin(busy, delivery)
    another = replace(THERE, access_key="another-account")

    async def meanwhile() -> None:
        await set_credentials(busy, OPERATOR, unit, another, dry_run=False)

    interrupted(busy).meanwhile = meanwhile
    await moving.move_unit(busy, unit)
    place = await stores.place_of(busy, delivery.project)
    assert (place.identity, place.replaced) == (f"s3 {NEW} another-account", False)
