"""What every test may ask for: a database of its own on either kind, and a clock that can be set.

A test that asks for a database runs twice, on SQLite and on PostgreSQL. The schema comes from the migrations, never
from the models: they run once, and each test gets a copy.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import disk_usage

import pytest

from ddsd.db.engine import Database
from ddsd.db.revision import VERSIONS, upgrade
from ddsd.work import Services
from tests import apps
from tests.builders import SettableClock
from tests.parts import absent
from tests.parts.minio_server import minio_program
from tests.parts.ports import stock_port as stock_port
from tests.parts.postgres import Cluster
from tests.parts.postgres import postgres_cluster as postgres_cluster
from tests.parts.postgres import postgres_url as postgres_url
from tests.parts.smtp import mail_server as mail_server
from tests.parts.stock_client import stock_client_binary as stock_client_binary
from tests.parts.stock_client import stock_client_of as stock_client_of
from tests.parts.stock_client import stock_python as stock_python
from tests.services import make_services
from tests.thorough import KINDS
from tests.world import World, make_world, populate

_IN_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 6 * 1024**3
if "TMPDIR" not in os.environ and _IN_MEMORY.is_dir() and disk_usage(_IN_MEMORY).free > _ROOM_BYTES:
    # Before anybody asks where temporary files go, in this process and its workers: disks are slow to flush.
    os.environ["TMPDIR"] = str(_IN_MEMORY)


def pytest_runtest_setup() -> None:
    """Let each test have every application that the ones before it made."""
    apps.free_all()


def migrate(url: str) -> None:
    """Bring the database at ``url`` to the newest revision; for callers on a running loop, too."""
    _do_to(url, upgrade)


def people(url: str) -> None:
    """Bring the database at ``url`` to the newest revision, with the units and people of a world."""

    async def fill(database: Database) -> None:
        await upgrade(database)
        await populate(make_services(database, SettableClock(), Path.cwd()))

    _do_to(url, fill)


def _do_to(url: str, what: Callable[[Database], Awaitable[None]]) -> None:
    async def done() -> None:
        database = Database(url)
        try:
            await what(database)
        finally:
            await database.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, done()).result()


@pytest.fixture
def clock() -> SettableClock:
    """A clock that stands at noon."""
    return SettableClock()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy; closed, so that it has no log beside it."""
    path = tmp_path_factory.mktemp("template") / "ddsd.sqlite3"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def sqlite_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file with the people of a world, to copy."""
    path = tmp_path_factory.mktemp("world") / "ddsd.sqlite3"
    people(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_world(postgres_cluster: Cluster) -> str:
    """The name of a migrated database with the people of a world, to copy; this process's own."""
    return postgres_cluster.template(f"world {uuid.uuid4()}", people)


@pytest.fixture(scope="session")
def postgres_template(postgres_cluster: Cluster) -> str:
    """The name of a migrated database to copy."""
    content = b"".join(path.read_bytes() for path in sorted(VERSIONS.glob("*.py")))
    return postgres_cluster.template(hashlib.sha256(content).hexdigest(), migrate)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of database the test runs on this time."""
    return str(request.param)


@pytest.fixture
def empty_database_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database with nothing in it."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite3'}"
        return
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    url = cluster.create_database()
    yield url
    cluster.drop_database(url)


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a migrated database: with a world's people if the test asks for a world, else with no rows."""
    content = "world" if "world" in request.fixturenames else "template"
    if kind == "sqlite":
        shutil.copyfile(request.getfixturevalue(f"sqlite_{content}"), tmp_path / "ddsd.sqlite3")
        yield f"sqlite:///{tmp_path / 'ddsd.sqlite3'}"
        return
    template: str = request.getfixturevalue(f"postgres_{content}")
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    url = cluster.create_database(template=template)
    yield url
    cluster.drop_database(url)


@pytest.fixture
async def empty_database(empty_database_url: str) -> AsyncIterator[Database]:
    """A database with nothing in it."""
    database = Database(empty_database_url)
    yield database
    await database.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database with no rows in it."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
def services(database: Database, clock: SettableClock, tmp_path: Path) -> Services:
    """Services on a migrated database with no rows in it."""
    return make_services(database, clock, tmp_path)


@pytest.fixture
async def world(services: Services, clock: SettableClock) -> AsyncIterator[World]:
    """Two units with people, and a client of the stock wire."""
    made = make_world(services, clock)
    async with made.http:
        yield made


@pytest.fixture(scope="session")
def minio_binary() -> Path:
    """The MinIO program, or a skip."""
    program = minio_program()
    if program is None:
        absent("MinIO", "set DDSD_TEST_MINIO to its binary, or put minio on PATH")
    return program
