"""The stock wire: keys for uploads, links for downloads, and what happens when the store is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from ddsd.access import Operator, System
from ddsd.files import grants
from ddsd.files.tables import StoreKey
from ddsd.jobs.tables import Job
from ddsd.storage.memory import MemoryStore
from ddsd.storage.port import May, ScopedKey
from ddsd.users import removal, standing
from ddsd.users.tables import User
from ddsd.work import Services, Work, reading, transaction
from tests.world import World, make_world

AWAY = "The object store does not answer. Please try again in a moment."


async def grant(world: World, project: str, who: str = "admin1") -> dict[str, Any]:
    answer = await world.call("GET", f"/s3/proj?project={project}", who)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def links(world: World, project: str, who: str = "admin1") -> dict[str, str]:
    answer = await world.call("GET", f"/file/all/info?project={project}", who, json=[])
    assert answer.status_code == 200, answer.text
    return {name: facts["url"] for name, facts in answer.json()["files"].items()}


def asked(url: str) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}


async def test_an_upload_key_is_for_the_projects_bucket_alone_and_expires(world: World) -> None:
    first, second = await world.project(), await world.project()
    told = await grant(world, first)
    assert set(told) == {"safespring_project", "url", "keys", "bucket"}
    assert told["url"] == world.store.public_endpoint
    key = world.store.keys[told["keys"]["access_key"]]
    assert (key.may, key.bucket) == (May.UPLOAD, told["bucket"])
    assert key.secret_key.text() == told["keys"]["secret_key"]
    assert key.expires_at == world.clock.now() + timedelta(hours=72)
    assert told["bucket"] in world.store.buckets
    other = await grant(world, second)
    assert other["bucket"] != told["bucket"]
    assert other["keys"] != told["keys"]


async def test_an_upload_key_is_kept_for_half_its_life_then_renewed(world: World) -> None:
    project = await world.project()
    first = await grant(world, project)
    world.clock.advance(hours=35)
    assert await grant(world, project) == first
    world.clock.advance(hours=2)
    renewed = await grant(world, project)
    assert renewed["keys"] != first["keys"]
    assert await grant(world, project) == renewed


async def test_the_secret_of_a_key_is_sealed_in_the_database(world: World) -> None:
    project = await world.project()
    told = await grant(world, project)
    async with reading(world.services, System()) as work:
        row = (await work.session.execute(select(StoreKey))).scalar_one()
    secret = told["keys"]["secret_key"].encode()
    assert secret not in row.secret
    opened = world.services.instance_key.open(row.secret, f"store key {row.access_key}")
    assert opened.reveal() == secret


async def test_releasing_withdraws_every_upload_key(world: World) -> None:
    project = await world.project()
    first = await grant(world, project)
    world.clock.advance(hours=40)
    second = await grant(world, project)
    await world.add_file(project, "f")
    await world.release(project)
    async with reading(world.services, System()) as work:
        assert (await work.session.execute(select(StoreKey))).first() is None
        jobs = (await work.session.execute(select(Job))).scalars()
        to_revoke = {job.subject for job in jobs if job.kind == grants.REVOKE_STORE_KEY}
    assert to_revoke == {first["keys"]["access_key"], second["keys"]["access_key"]}
    for access_key in to_revoke:
        await grants.revoke_store_key(world.services, access_key)
    assert world.store.keys == {}
    await world.call(
        "POST", f"/proj/status?project={project}", "admin1", json={"new_status": "In Progress"}
    )
    assert (await grant(world, project))["keys"] not in (first["keys"], second["keys"])


async def shut_out(world: World, who: str, verb: Callable[[Work, User], Awaitable[Any]]) -> None:
    async with transaction(world.services, Operator(0, "root")) as work:
        found = await work.session.scalars(select(User).where(User.columns().username == who))
        await verb(work, found.one())


async def run_jobs(world: World) -> None:
    """Run the jobs that end keys, and those that these enqueue."""
    for kind in (standing.WITHDRAW_UPLOADS_OF_UNIT, grants.REVOKE_STORE_KEY):
        async with reading(world.services, System()) as work:
            due = await work.session.scalars(
                select(Job.columns().subject).where(Job.columns().kind == kind)
            )
            subjects = due.all()
        for subject in subjects:
            await grants.HANDLERS[kind](world.services, subject)


@pytest.mark.parametrize("verb", [standing.deactivate, removal.delete])
async def test_who_is_shut_out_keeps_no_upload_key(
    world: World, verb: Callable[[Work, User], Awaitable[Any]]
) -> None:
    mine, theirs = await world.project(), await world.project("admin2")
    kept, elsewhere = await grant(world, mine, "staff1"), await grant(world, theirs, "admin2")
    await shut_out(world, "staff1", verb)
    await run_jobs(world)
    assert set(world.store.keys) == {elsewhere["keys"]["access_key"]}
    assert (await grant(world, mine))["keys"] != kept["keys"]


async def test_a_download_key_can_only_read_and_its_links_last_a_week(world: World) -> None:
    project = await world.project()
    upload = await grant(world, project)
    await world.add_file(project, "f")
    url = (await links(world, project))["f"]
    query = asked(url)
    assert world.store.keys[query["key"]].may is May.DOWNLOAD
    assert query["key"] != upload["keys"]["access_key"]
    assert until(url) == world.clock.now() + timedelta(hours=168)
    assert asked((await links(world, project))["f"])["key"] == query["key"]


def until(url: str) -> datetime:
    return datetime.fromtimestamp(int(asked(url)["until"])).astimezone()


async def test_no_link_outlives_the_deadline(world: World) -> None:
    project = await world.project("admin1", "researcher1")
    await world.add_file(project, "f")
    await world.release(project, deadline=3)
    deadline = await deadline_of(world, project)
    assert until((await links(world, project, "researcher1"))["f"]) == deadline
    for left in (3600, 30, 1):
        world.clock.set(deadline - timedelta(seconds=left))
        assert until((await links(world, project, "researcher1"))["f"]) == deadline
    limits = {"message": "Current Project status limits file download."}
    for late in (-0.5, 0.0, 1.0, 86400.0):
        world.clock.set(deadline + timedelta(seconds=late))
        for path, body in (("/file/all/info", []), ("/file/info", ["f"])):
            answer = await world.call("GET", f"{path}?project={project}", "researcher1", json=body)
            assert (answer.status_code, answer.json()) == (400, limits), late


async def deadline_of(world: World, project: str) -> datetime:
    told = await world.call("GET", f"/proj/status?project={project}", "admin1", json={})
    return parsedate_to_datetime(told.json()["current_deadline"])


async def test_while_the_store_is_away_new_keys_are_refused_and_the_rest_works(
    world: World,
) -> None:
    kept, new = await world.project(), await world.project()
    await world.add_file(kept, "f")
    granted = await grant(world, kept)
    world.store.away = True
    for path in (f"/s3/proj?project={new}", f"/file/all/info?project={kept}"):
        answer = await world.call("GET", path, "admin1", json=None)
        assert (answer.status_code, answer.json()) == (503, {"message": AWAY}), path
    assert await grant(world, kept) == granted
    await world.add_file(kept, "g")
    answer = await world.call("GET", f"/files/list?project={kept}", "admin1", json={})
    assert len(answer.json()["files_folders"]) == 2
    world.store.away = False
    assert set(await links(world, kept)) == {"f", "g"}
    world.store.away = True
    assert set(await links(world, kept)) == {"f", "g"}


class SlowKeys(MemoryStore):
    """A store that takes its time to make a key: something else happens meanwhile."""

    meanwhile: Callable[[], Awaitable[None]]

    async def issue_upload_key(self, bucket: str, lifetime: timedelta) -> ScopedKey:
        key = await super().issue_upload_key(bucket, lifetime)
        await self.meanwhile()
        return key


async def test_a_key_made_while_the_project_is_released_is_withdrawn_too(
    world: World,
) -> None:
    store = SlowKeys(clock=world.clock)
    services = with_store(world.services, store)
    slow = make_world(services, world.clock)
    project = await world.project()
    await world.add_file(project, "f")

    async def release() -> None:
        await world.release(project)

    store.meanwhile = release
    async with slow.http:
        slow.tokens = world.tokens
        answer = await slow.call("GET", f"/s3/proj?project={project}", "admin1")
    assert answer.status_code == 400, answer.text
    assert answer.json() == {"message": "Project not in right status to upload/modify files."}
    async with reading(services, System()) as work:
        assert (await work.session.execute(select(StoreKey))).first() is None
        jobs = (await work.session.execute(select(Job))).scalars()
        to_revoke = {job.subject for job in jobs if job.kind == grants.REVOKE_STORE_KEY}
    assert to_revoke == set(store.keys)


async def test_a_key_that_is_made_while_who_asks_is_shut_out_is_withdrawn(world: World) -> None:
    store = SlowKeys(clock=world.clock)
    slow = make_world(with_store(world.services, store), world.clock)
    project = await world.project()

    async def closed() -> None:
        await shut_out(slow, "staff1", standing.deactivate)

    store.meanwhile = closed
    async with slow.http:
        answer = await slow.call("GET", f"/s3/proj?project={project}", "staff1")
    assert (answer.status_code, len(store.keys)) == (403, 1)
    await run_jobs(slow)
    assert store.keys == {}


class WideKeys(MemoryStore):
    """A store that can only hand out the key it was configured with."""

    wide: ScopedKey | None = None

    async def issue_upload_key(self, bucket: str, lifetime: timedelta) -> ScopedKey:
        made = await super().issue_upload_key(bucket, lifetime)
        self.wide = self.wide or ScopedKey(made.access_key, made.secret_key, May.EVERYTHING)
        return self.wide


async def test_one_wide_key_serves_every_project(world: World) -> None:
    services = with_store(world.services, WideKeys(clock=world.clock))
    wide = make_world(services, world.clock)
    async with wide.http:
        first, second = await wide.project(), await wide.project()
        assert (await grant(wide, first))["keys"] == (await grant(wide, second))["keys"]
        await wide.add_file(first, "f")
        await wide.release(first)
        assert (await grant(wide, second))["bucket"]
    async with reading(services, System()) as work:
        assert (await work.session.execute(select(Job))).first() is None


def with_store(services: Services, store: MemoryStore) -> Services:
    return replace(services, store=store)
