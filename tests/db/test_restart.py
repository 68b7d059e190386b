"""PostgreSQL is restarted while somebody is waiting for an answer."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from ddsd.db.engine import Database
from ddsd.db.revision import upgrade
from ddsd.errors import DatabaseUnavailable
from tests.builders import SettableClock
from tests.parts.postgres import running_cluster
from tests.services import make_services
from tests.world import PROJECT, World, make_world, populate

WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A place that has a PostgreSQL cluster of its own, to be stopped at will."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


async def test_a_request_it_cuts_is_answered_503_and_what_was_acknowledged_stays(
    checkout: Path, tmp_path: Path
) -> None:
    running = ExitStack()
    cluster = running.enter_context(running_cluster(checkout=checkout, keep=True))
    url = cluster.create_database()
    services = make_services(Database(url), SettableClock(), tmp_path)
    await upgrade(services.database)
    await populate(services)
    world = make_world(services, SettableClock())
    async with world.http:
        before = await world.project("admin1")
        cut = await _create_while(world, url, running)
        assert cut.status_code == 503
        assert cut.headers["Retry-After"] == "30"
        assert (await world.call("GET", "/user/info", "admin1")).status_code == 503
        with running_cluster(checkout=checkout, keep=True):
            after = await world.project("admin1")
            listed = await world.call("GET", "/proj/list", "admin1")
            ids = [one["Project ID"] for one in listed.json()["project_info"]]
            await services.database.close()
    assert sorted(ids) == sorted([before, after])


async def _create_while(world: World, url: str, running: ExitStack) -> httpx.Response:
    """Ask for a project, and stop the server when the request waits in the middle of its transaction."""
    other = Database(url)
    try:
        async with other.writing() as session:
            await session.execute(text("LOCK TABLE projects IN ACCESS EXCLUSIVE MODE"))
            asked = asyncio.create_task(
                world.call("POST", "/proj/create", "admin1", json=PROJECT | {"force": True})
            )
            while not await session.scalar(WAITING):
                assert not asked.done(), asked.result().text
            await asyncio.to_thread(running.close)
    except DatabaseUnavailable:
        pass  # it was cut, too
    finally:
        await other.close()
    return await asked
