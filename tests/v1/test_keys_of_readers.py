"""Who may only read is never shown the id of a key that can write: every route that there is, asked by a researcher.

An id alone has been enough to write at some stores (CVE-2026-41145).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute

from ddsd.access import Operator, System
from ddsd.files import accounts, grants
from ddsd.files.accounts import Credentials
from ddsd.files.reconciliation import require_project
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.settings import Settings
from ddsd.storage.memory import MemoryStore
from ddsd.storage.port import May
from ddsd.storage.stores import Stores
from ddsd.work import Services, reading
from tests.builders import SettableClock
from tests.services import SeveralStores, no_users
from tests.world import World, make_world

BODIES: tuple[Any, ...] = (None, [], ["f"])
ACCOUNTS_KEY = "THE-UNITS-OWN-ACCOUNT"
CONFIGURED_KEY = "THE-CONFIGURED-ACCOUNT"


@pytest.fixture
def several(clock: SettableClock) -> SeveralStores:
    return SeveralStores(clock)


@pytest.fixture
async def staged(world: World, clock: SettableClock, several: SeveralStores) -> World:
    """A world whose unit has an account of its own at the store, and keys of every kind in use."""
    endpoint = "http://store.example"
    settings = Settings.model_validate(
        {"store": {"kind": "s3", "endpoint": endpoint, "access_key": CONFIGURED_KEY}}
    )
    several.known[endpoint] = MemoryStore(clock=clock, endpoint=endpoint)
    services = replace(
        world.services,
        settings=settings,
        store=several.known[endpoint],
        stores=Stores(several.open, no_users),
    )
    account = Credentials(ACCOUNTS_KEY, SecretText("secret-of-the-account"))
    await accounts.set_credentials(services, Operator(0, "root"), "unit1", account, dry_run=False)
    return make_world(services, clock)


async def project_row(services: Services, public_id: str) -> Project:
    async with reading(services, System()) as work:
        return await require_project(work, public_id)


def requests(world: World) -> Iterator[tuple[str, str]]:
    """Yield every method and path of the public plane, with something in place of what varies."""
    for route in world.app.routes:
        if isinstance(route, HTTPRoute):
            path = "/".join("1" if "{" in part else part for part in route.path.split("/"))
            for method in sorted(route.methods - {"OPTIONS"}):
                yield method, path


async def everything_told(world: World, who: str, projects: list[str]) -> str:
    """Return all that every route answers to somebody, headers and all; who is logged out logs in again."""
    told = []
    for method, path in requests(world):
        for project in projects:
            for body in BODIES:
                answer = await ask(world, who, method, path, project, body)
                if answer.status_code == 401:
                    del world.tokens[who]
                    answer = await ask(world, who, method, path, project, body)
                told.append(f"{answer.headers} {answer.text}")
    return "\n".join(told)


async def ask(
    world: World, who: str, method: str, path: str, project: str, body: Any
) -> httpx.Response:
    headers = {
        "X-CLI-Version": "2.15.1",
        "Authorization": f"Bearer {await world.token_of(who)}",
    }
    sent = {} if body is None else {"json": body}
    return await world.http.request(
        method, path, params={"project": project}, headers=headers, **sent
    )


async def test_a_researcher_is_never_shown_the_id_of_a_key_that_can_write(
    staged: World, several: SeveralStores
) -> None:
    released = await staged.project("admin1", "researcher1")
    in_progress = await staged.project("admin1", "researcher1")
    for project in (released, in_progress):
        await staged.add_file(project, "f")
        await grants.grant_upload(
            staged.services, System(), await project_row(staged.services, project)
        )
    await staged.release(released)
    told = await everything_told(staged, "researcher1", [released, in_progress])
    keys = several.known["http://store.example"].keys
    reading_keys = [one.access_key for one in keys.values() if one.may is May.DOWNLOAD]
    writing = [one.access_key for one in keys.values() if one.may is not May.DOWNLOAD]
    assert writing
    assert [one for one in reading_keys if one in told]  # the walk sees what there is to see
    assert [one for one in [*writing, ACCOUNTS_KEY, CONFIGURED_KEY] if one in told] == []


async def test_the_walk_sees_the_key_that_an_uploader_gets(
    staged: World, several: SeveralStores
) -> None:
    project = await staged.project("admin1", "researcher1")
    told = await everything_told(staged, "staff1", [project])
    keys = several.known["http://store.example"].keys
    writing = [one.access_key for one in keys.values() if one.may is May.UPLOAD]
    assert [one for one in writing if one in told]
    assert ACCOUNTS_KEY not in told
