"""Store and database compared: what is a finding, what is none, and what is done about it."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ddsd.access import Operator, System
from ddsd.audit import trail
from ddsd.audit.trail import Sought
from ddsd.errors import Busy, Conflict, Forbidden, NotFound, StoreRefused, StoreUnavailable
from ddsd.files import failures, lost, moving, reconciliation, removal
from ddsd.files.accounts import Credentials
from ddsd.files.reconciliation import COMPARE_STORE, named_by_us
from ddsd.files.tables import FileVersion, FindingKind
from ddsd.jobs import progress, queue
from ddsd.jobs.schedule import EVERYTHING
from ddsd.projects.projects import bucket_name
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.memory import MemoryStore
from ddsd.storage.port import OpenUpload
from ddsd.storage.stores import Stores
from ddsd.units.tables import Unit
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
from tests.services import SeveralStores, no_users

ROOT = Operator(0, "root")
NOBODYS = "unit00001-260302120000000000-0123abcd"
Found = list[tuple[str, str]]


async def compare(services: Services, subject: str = EVERYTHING) -> Found:
    """Compare, and return kind and key of every finding."""
    await reconciliation.compare_store(services, subject)
    return await found(services)


async def found(services: Services) -> Found:
    async with reading(services, ROOT) as work:
        rows = await reconciliation.listing(work, None, None, 10_000)
    return [(row.finding.kind.value, row.finding.key) for row in rows]


async def a_mess(services: Services, clock: SettableClock) -> Delivery:
    """A project in which every kind of difference is two days old."""
    delivery = await a_delivery(services, ["a", "d/lost", "d/short", "z"])
    bucket = delivery.project.bucket
    store = store_of(services)
    store.buckets[bucket].pop(key_of("d/lost"))
    await store.put(bucket, key_of("d/short"), b"short")
    await store.put(bucket, "orphan", b"12345")
    await store.put(bucket, "aa-orphan", b"1")
    store.uploads[bucket] = [OpenUpload("big", "7", clock.now() - timedelta(days=6))]
    clock.advance(days=2)
    return delivery


MESS = [
    ("file-without-object", "key-of-d-lost"),
    ("leftover-upload", "big"),
    ("object-without-file", "aa-orphan"),
    ("object-without-file", "orphan"),
    ("wrong-size", "key-of-d-short"),
]


async def test_every_kind_of_difference_is_found_and_nothing_is_changed(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_mess(services, clock)
    await services.store.ensure_bucket(NOBODYS)
    await services.store.ensure_bucket("somebody-elses-backups")
    bare = await a_delivery(services, ["x"])
    store_of(services).buckets.pop(bare.project.bucket)
    before = dict(store_of(services).buckets[delivery.project.bucket])
    assert sorted(await compare(services)) == sorted(
        [*MESS, ("missing-bucket", ""), ("bucket-of-nobody", "")]
    )
    assert store_of(services).buckets[delivery.project.bucket] == before
    assert len(await names_in(services, delivery)) == 4
    async with reading(services, ROOT) as work:
        [short] = await reconciliation.listing(
            work, delivery.project.public_id, FindingKind.WRONG_SIZE, 10
        )
    assert (short.finding.bytes_registered, short.finding.bytes_found) == (12, 5)
    assert (short.finding.name, short.project) == ("d/short", delivery.project.public_id)


async def test_a_finding_keeps_its_first_moment_and_goes_when_it_is_over(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_mess(services, clock)
    await compare(services)
    first = clock.now()
    clock.advance(days=1)
    await store_of(services).remove_objects(delivery.project.bucket, ["orphan"])
    assert ("object-without-file", "orphan") not in await compare(services)
    async with reading(services, ROOT) as work:
        rows = await reconciliation.listing(work, None, None, 100)
    assert {row.finding.found_at for row in rows} == {first}
    assert {row.finding.seen_at for row in rows} == {clock.now()}


async def test_what_is_uploaded_now_is_no_finding(services: Services, clock: SettableClock) -> None:
    delivery = await a_delivery(services, ["a", "b"])
    bucket = delivery.project.bucket
    clock.advance(days=3)
    await services.store.put(bucket, "about-to-be-registered", b"1")
    await services.store.put(bucket, key_of("a"), b"about to be registered anew")
    store_of(services).uploads[bucket] = [OpenUpload("k", "1", clock.now() - timedelta(days=6))]
    assert await compare(services) == []
    async with transaction(services, System()) as work:
        row = await work.session.get_one(Project, delivery.project.id)
        row.status, row.released_at = Status.AVAILABLE, clock.now()
    assert len(await compare(services)) == 2
    clock.advance(days=1, seconds=1)
    assert len(await compare(services)) == 3


async def test_a_busy_project_is_passed_over(services: Services, clock: SettableClock) -> None:
    delivery = await a_mess(services, clock)
    async with transaction(services, System()) as work:
        await queue.enqueue(work, removal.EMPTY_PROJECT, delivery.project.public_id)
    assert await compare(services) == []


async def test_projects_whose_data_is_gone_cost_nothing(
    services: Services, clock: SettableClock
) -> None:
    over = await a_delivery(services, status=Status.ARCHIVED, active=False)
    await services.store.remove_bucket(over.project.bucket)
    hidden = await a_delivery(
        services, ["a"], status=Status.ARCHIVED, purge_after=NOON + timedelta(days=30)
    )
    store_of(services).buckets[hidden.project.bucket].clear()
    assert await compare(services) == [("file-without-object", key_of("a"))]
    told = await progress.reported(services, COMPARE_STORE, EVERYTHING)
    assert told == progress.Progress()


async def test_the_bucket_of_an_empty_project_is_made_anew(services: Services) -> None:
    delivery = await a_delivery(services)
    store_of(services).buckets.clear()
    assert await compare(services) == []
    assert await services.store.bucket_exists(delivery.project.bucket)


async def test_a_project_can_be_compared_alone(services: Services, clock: SettableClock) -> None:
    mess, other = await a_mess(services, clock), await a_mess(services, clock)
    assert len(await compare(services)) == 2 * len(MESS)
    for one in (mess, other):
        await store_of(services).remove_objects(one.project.bucket, ["orphan"])
    clock.advance(seconds=1)
    assert len(await compare(services, other.project.public_id)) == 2 * len(MESS) - 1


async def test_a_store_that_is_away_leaves_the_findings(
    services: Services, clock: SettableClock
) -> None:
    await a_mess(services, clock)
    await compare(services)
    store_of(services).away = True
    with pytest.raises(StoreUnavailable):
        await compare(services)
    assert len(await found(services)) == len(MESS)


@pytest.mark.parametrize("seed", range(3))
async def test_the_merge_sees_what_sets_see(
    services: Services, clock: SettableClock, seed: int
) -> None:
    chance = random.Random(seed)
    names = [f"{chance.choice(['a', 'é', '-', '~', '日'])}{number}" for number in range(1200)]
    delivery = await a_delivery(services, names)
    contents = store_of(services).buckets[delivery.project.bucket]
    gone = chance.sample(sorted(contents), 700)
    for key in gone:
        contents.pop(key)
    extra = [f"{chance.choice('akz~')}x{number}" for number in range(600)]
    contents.update(dict.fromkeys(extra, b"1"))
    async with transaction(services, System()) as work:
        (await work.session.get_one(Project, delivery.project.id)).status = Status.EXPIRED
    expected = [("file-without-object", key) for key in gone]
    expected += [("object-without-file", key) for key in extra]
    assert sorted(await compare(services)) == sorted(expected)


async def test_what_is_left_over_is_removed_and_counted_out(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_mess(services, clock)
    await compare(services)
    store_of(services).uploads[delivery.project.bucket].append(OpenUpload("new", "8", clock.now()))
    done = await lost.clean(services, ROOT, delivery.project.public_id, 0)
    assert (done.removed, done.passed, done.stayed, done.more) == (4, 0, 0, False)
    assert await found(services) == [("wrong-size", "key-of-d-short")]
    assert await names_in(services, delivery) == ["a", "d/short", "z"]
    assert sorted(await keys_in(services, delivery)) == [key_of(n) for n in ("a", "d/short", "z")]
    assert [one.key for one in store_of(services).uploads[delivery.project.bucket]] == ["new"]
    public_id = delivery.project.public_id
    assert await kept(services, public_id) == await counted(services, public_id)
    async with reading(services, ROOT) as work:
        [entry] = await trail.listing(work, Sought(action="store.clean"), 10)
        ended = await work.session.scalars(
            select(FileVersion.columns().id).where(FileVersion.columns().removed_at == clock.now())
        )
        assert len(ended.all()) == 1
    assert (entry.actor, entry.subject) == (ROOT.label, public_id)


async def test_an_old_finding_is_looked_at_again_before_anything_is_removed(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_mess(services, clock)
    await compare(services)
    bucket = delivery.project.bucket
    await services.store.put(bucket, key_of("d/lost"), b"stored bytes")
    await services.store.put(bucket, key_of("late"), b"stored bytes")
    store_of(services).buckets[bucket]["aa-orphan"] = b"stored bytes"
    await add_files(services, delivery, ["late"])
    store_of(services).uploads[bucket] = []
    done = await lost.clean(services, ROOT, None, 0)
    assert (done.removed, done.passed) == (2, 2)
    assert await names_in(services, delivery) == ["a", "d/lost", "d/short", "late", "z"]
    assert key_of("late") in await keys_in(services, delivery)


async def test_a_file_that_was_put_back_on_the_disk_keeps_its_row(
    services: Services, clock: SettableClock, tmp_path: Path
) -> None:
    store = EmbeddedStore(directory=tmp_path / "embedded")
    await store.start()
    try:
        served = replace(services, store=store)
        delivery = await a_delivery(served, ["a"])
        clock.advance(days=2)
        on_disk = tmp_path / "embedded" / "objects" / delivery.project.bucket / key_of("a")
        on_disk.rename(tmp_path / "backup")
        assert await compare(served) == [("file-without-object", key_of("a"))]
        (tmp_path / "backup").rename(on_disk)
        done = await lost.clean(served, ROOT, None, 0)
    finally:
        await store.stop()
    assert (done.removed, done.passed) == (0, 1)
    assert await names_in(services, delivery) == ["a"]


async def test_missing_buckets_are_told_and_made(services: Services) -> None:
    delivery, other = await a_delivery(services, ["a"]), await a_delivery(services)
    store_of(services).buckets.pop(delivery.project.bucket)
    public_id = delivery.project.public_id
    assert await compare(services) == [("missing-bucket", "")]
    assert await lost.make_buckets(services, ROOT, None, dry_run=True) == [public_id]
    assert not await services.store.bucket_exists(delivery.project.bucket)
    alone = await lost.make_buckets(services, ROOT, other.project.public_id, dry_run=False)
    assert alone == []
    assert await lost.make_buckets(services, ROOT, None, dry_run=False) == [public_id]
    assert await compare(services) == [("file-without-object", key_of("a"))]
    with pytest.raises(NotFound):
        await lost.make_buckets(services, ROOT, "nowhere", dry_run=True)


async def test_only_a_bucket_of_nobody_can_be_removed(services: Services) -> None:
    delivery = await a_delivery(services, ["a"])
    await services.store.ensure_bucket("backups")
    await services.store.ensure_bucket(NOBODYS)
    await services.store.put(NOBODYS, "a", b"1")
    for bucket in (delivery.project.bucket, "backups"):
        with pytest.raises(Conflict):
            await lost.remove_bucket_of_nobody(services, ROOT, bucket)
    assert await compare(services) == [("bucket-of-nobody", "")]
    assert await lost.remove_bucket_of_nobody(services, ROOT, NOBODYS) == 1
    assert await lost.remove_bucket_of_nobody(services, ROOT, NOBODYS) == 0
    with pytest.raises(NotFound):
        await lost.remove_bucket_of_nobody(services, ROOT, NOBODYS)
    assert await found(services) == []
    assert len(store_of(services).buckets) == 2


def test_names_of_our_buckets_are_told_from_others() -> None:
    for public_id in ("unit00001", "G.3-B00001", "1.2.3", "---", "U" * 60):
        assert named_by_us(bucket_name(public_id, NOON))
    for other in ("backups", "a-260302-0123abcd", "260302120000000000-0123ABCD", "x" * 63):
        assert not named_by_us(other)


async def test_stale_uploads_are_ended_at_night_and_running_ones_go_on(
    services: Services, clock: SettableClock
) -> None:
    delivery, bare = await a_mess(services, clock), await a_delivery(services)
    bucket = delivery.project.bucket
    store_of(services).buckets.pop(bare.project.bucket)
    running = OpenUpload("k", "9", clock.now() - timedelta(days=6, hours=23))
    store_of(services).uploads[bucket].append(running)
    for _ in range(2):
        await reconciliation.abort_stale_uploads(services, EVERYTHING)
    assert store_of(services).uploads[bucket] == [running]
    async with reading(services, ROOT) as work:
        entries = await trail.listing(work, Sought(action="store"), 10)
    assert [(one.action, one.subject) for one in entries] == [
        ("store.abort_uploads", delivery.project.public_id)
    ]


async def test_a_comparison_begins_once_and_only_for_operators(services: Services) -> None:
    delivery = await a_delivery(services)
    async with transaction(services, ROOT) as work:
        job = await reconciliation.begin(work, None)
        assert (job.kind, job.subject) == (COMPARE_STORE, EVERYTHING)
        with pytest.raises(Busy):
            await reconciliation.begin(work, None)
        with pytest.raises(NotFound):
            await reconciliation.begin(work, "nowhere")
    async with transaction(services, delivery.member) as work:
        for attempt in (
            reconciliation.begin(work, None),
            reconciliation.listing(work, None, None, 1),
            lost.clean(services, delivery.member, None, 0),
            lost.make_buckets(services, delivery.member, None, dry_run=True),
            lost.remove_bucket_of_nobody(services, delivery.member, NOBODYS),
        ):
            with pytest.raises(Forbidden):
                await attempt


async def test_an_operator_registers_what_a_client_logged(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, ["there"])
    await services.store.put(delivery.project.bucket, "remote/new", b"12345")
    log: dict[str, Any] = {"d/new": _entry("remote/new"), "gone": _entry("remote/gone"), "x": []}
    log["there"] = _entry("remote/new", subpath=".")
    arguments = (services, ROOT, delivery.project, log)
    told = await failures.add(*arguments, dry_run=True)
    assert set(told) == {"gone", "x"}
    assert await names_in(services, delivery) == ["there"]
    told = await failures.add(*arguments)
    assert told["gone"] == "File not found in S3"
    assert told["there"] == "File already in database."
    assert await names_in(services, delivery) == ["d/new", "there"]
    assert await compare(services) == []
    async with reading(services, ROOT) as work:
        [entry] = await trail.listing(work, Sought(action="file.register"), 10)
        assert entry.subject == delivery.project.public_id


def _entry(key: str, **changes: Any) -> dict[str, Any]:
    return {
        "subpath": "d" if key.endswith("new") else ".",
        "size_raw": 100,
        "compressed": False,
        "size_processed": 5,
        "path_remote": key,
        "overwrite": False,
        "checksum": "c" * 64,
        "public_key": "B" * 64,
        "salt": "A" * 32,
        "status": {"failed_op": "add_file_db"},
    } | changes


class LockedStore(MemoryStore):
    """Does not let our key list its buckets."""

    async def list_buckets(self, prefix: str = "") -> tuple[str, ...]:
        raise StoreRefused("AccessDenied")


async def test_a_store_that_does_not_list_its_buckets_is_compared_all_the_same(
    services: Services, clock: SettableClock
) -> None:
    locked = replace(services, store=LockedStore(clock=clock))
    await a_mess(locked, clock)
    assert len(await compare(locked)) == len(MESS)


async def test_a_store_of_one_unit_that_is_away_keeps_no_other_from_being_compared(
    services: Services, clock: SettableClock
) -> None:
    several = SeveralStores(clock)
    services = replace(services, stores=Stores(several.open, no_users))
    there = await a_delivery(services, ["a"])
    here = await a_delivery(services, ["b"])
    elsewhere = Credentials("key", SecretText("a-secret"), endpoint="http://away.example")
    async with reading(services, System()) as work:
        unit = await work.session.get_one(Unit, there.project.unit_id)
    await moving.begin(services, Operator(0, "root"), unit.public_id, elsewhere, dry_run=False)
    await moving.move_unit(services, unit.public_id)
    several.known["http://away.example"].away = True
    store_of(services).buckets[here.project.bucket].clear()
    with pytest.raises(StoreUnavailable):
        await reconciliation.compare_store(services, EVERYTHING)
    assert await found(services) == [("file-without-object", key_of("b"))]
