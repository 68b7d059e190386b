"""The process is killed while clients register files: what was acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import select

from ddsd.files.tables import StoredFile
from ddsd.keys.instance import InstanceKey
from tests.bench.__main__ import serving
from tests.bench.client import Client
from tests.bench.server import KEY_FILE, make_services
from tests.builders import SettableClock
from tests.files.recount import counted, kept
from tests.world import World, file_body, make_world, populate

CLIENTS = 6
BEFORE_THE_KILL = 60


async def test_killing_the_process_loses_nothing_that_was_acknowledged(
    database_url: str, tmp_path: Path
) -> None:
    key = InstanceKey.generate()
    (tmp_path / KEY_FILE).write_text(key.to_text().text())
    services = make_services(database_url, tmp_path, key)
    await populate(services)
    world = make_world(services, SettableClock())
    async with world.http:
        project = await world.project("admin1")
        bearer = f"Bearer {await world.token_of('admin1')}"
        acknowledged = await asyncio.to_thread(
            _register_until_killed, database_url, tmp_path, bearer, project
        )
    assert len(acknowledged) >= BEFORE_THE_KILL
    assert acknowledged <= await _names(world)
    assert await kept(services, project) == await counted(services, project)
    await services.database.close()


async def _names(world: World) -> set[str]:
    async with world.services.database.reading() as session:
        return {name for (name,) in await session.execute(select(StoredFile.columns().name))}


def _register_until_killed(url: str, state: Path, bearer: str, project: str) -> set[str]:
    acknowledged: set[str] = set()
    enough = threading.Event()
    with serving(url, state) as (process, client), ThreadPoolExecutor(CLIENTS) as threads:
        running = [
            threads.submit(_register, client, bearer, project, number, acknowledged, enough.set)
            for number in range(CLIENTS)
        ]
        assert enough.wait(60)
        os.kill(process.pid, signal.SIGKILL)
        for one in running:
            one.result()
    return acknowledged


def _register(
    client: Client,
    bearer: str,
    project: str,
    number: int,
    acknowledged: set[str],
    enough: Callable[[], None],
) -> None:
    for count in range(10_000):
        name = f"d{count % 4}/client{number}/f{count}"
        try:
            client.call("POST", f"/file/new?project={project}", bearer, file_body(name))
        except (OSError, IndexError):  # an answer without a status is none
            return
        acknowledged.add(name)
        if len(acknowledged) >= BEFORE_THE_KILL:
            enough()
