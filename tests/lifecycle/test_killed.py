"""A real process is killed in the middle of an end; the next daemon of that name finishes it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ddsd.access import System
from ddsd.jobs.runner import JobRunner, Pace
from ddsd.lifecycle import verbs
from ddsd.projects.status import Status, Verb
from ddsd.projects.tables import Project
from ddsd.storage.embedded import EmbeddedStore
from ddsd.work import Services, transaction
from tests.lifecycle.life import HANDLERS, a_life, entries, fill, find
from tests.mail.builders import until

NAME = "the daemon"


async def test_what_a_killed_daemon_began_the_next_one_ends(
    services: Services, database_url: str, tmp_path: Path
) -> None:
    store = EmbeddedStore(directory=tmp_path / "store")
    services = replace(services, store=store)
    await store.start()
    try:
        async with transaction(services, System()) as work:
            project_id = (await a_life(work, Status.AVAILABLE)).id
        await fill(services, project_id)
        async with transaction(services, System()) as work:
            await verbs.do(work, await work.session.get_one(Project, project_id), Verb.ARCHIVE)
    finally:
        await store.stop()
    await _die_halfway(database_url, tmp_path / "store")

    await store.start()
    runner = JobRunner(services, HANDLERS, pace=Pace(poll_s=0.02), daemon=NAME)
    try:
        project = await find(services, project_id)
        assert (project.status, project.file_count) == (Status.AVAILABLE, 3)
        assert len([one async for one in store.list_objects(project.bucket)]) == 2
        await runner.start()

        async def archived() -> bool:
            return (await find(services, project_id)).status is Status.ARCHIVED

        await until(archived)
        assert await entries(services, project_id) == [Status.AVAILABLE, Status.ARCHIVED]
        assert not await store.bucket_exists(project.bucket)
    finally:
        await runner.stop()
        await store.stop()


async def _die_halfway(url: str, directory: Path) -> None:
    daemon = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.lifecycle.dying_daemon",
        url,
        str(directory),
        NAME,
        stdout=asyncio.subprocess.PIPE,
    )
    assert daemon.stdout is not None
    try:
        assert await daemon.stdout.readline() == b"half\n"
    finally:
        daemon.kill()
        await daemon.wait()


@pytest.fixture(params=["sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """One database: the points of death on both are in ``test_endings.py``."""
    return str(request.param)
