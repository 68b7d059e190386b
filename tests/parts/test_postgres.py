"""The PostgreSQL part: databases come and go, processes share one server, none is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.parts.postgres import (
    CHECKOUT,
    Cluster,
    Site,
    home_of,
    require_postgres,
    running_cluster,
)

SHARE_A_CLUSTER = """
import pathlib, sys
from tests.parts.postgres import running_cluster
with running_cluster(checkout=pathlib.Path(sys.argv[1]), keep=False):
    print("in", flush=True)
    sys.stdin.read()
"""

EXECUTE_WITH_ASYNCPG = """
import asyncio, asyncpg, sys
async def execute(url, statement):
    connection = await asyncpg.connect(url)
    print(await connection.execute(statement))
    await connection.close()
asyncio.run(execute(*sys.argv[1:]))
"""


async def ask(url: str, statement: str) -> object:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return result.scalar_one() if result.returns_rows else None
    finally:
        await engine.dispose()


def execute_with_asyncpg(url: str, statement: str) -> str:
    command = [sys.executable, "-c", EXECUTE_WITH_ASYNCPG, url, statement]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def other_checkout() -> Iterator[Path]:
    """A checkout of its own has a cluster of its own; under /tmp the server's user may enter."""
    require_postgres()
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        checkout = Path(directory)
        checkout.chmod(0o711)
        yield checkout
        for keep in (True, False):
            shutil.rmtree(home_of(checkout, keep=keep), ignore_errors=True)


def servers_of(cluster: Cluster) -> list[psutil.Process]:
    """Find the main processes that serve ``cluster``: each was told its directory."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(cluster.sockets.parent / "data") in (process.info["cmdline"] or [])
    ]


@contextmanager
def another_process_in(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that shares the cluster of ``checkout`` until its input ends."""
    command = [sys.executable, "-c", SHARE_A_CLUSTER, str(checkout)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        yield process


def test_asyncpg_takes_the_url_as_it_is(postgres_url: str) -> None:
    assert execute_with_asyncpg(postgres_url, "CREATE TABLE units ()") == "CREATE TABLE"


async def test_sqlalchemy_takes_the_url_with_its_scheme(postgres_url: str) -> None:
    assert await ask(postgres_url, "SELECT 20 + 3") == 23


async def test_a_dropped_database_is_gone_though_somebody_is_connected(
    postgres_cluster: Cluster,
) -> None:
    url = postgres_cluster.create_database()
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    connection = await engine.connect()
    postgres_cluster.drop_database(url)
    await connection.invalidate()
    await connection.close()
    await engine.dispose()
    with pytest.raises(Exception, match="does not exist"):
        await ask(url, "SELECT 1")


def fill_with_a_unit(url: str) -> None:
    execute_with_asyncpg(url, "CREATE TABLE units (name text)")
    execute_with_asyncpg(url, "INSERT INTO units VALUES ('sequencing')")


async def test_a_database_from_a_template_has_its_rows_and_shares_none_of_its_own(
    postgres_cluster: Cluster,
) -> None:
    name = postgres_cluster.template(os.urandom(8).hex(), fill_with_a_unit)
    first = postgres_cluster.create_database(template=name)
    second = postgres_cluster.create_database(template=name)
    await ask(first, "INSERT INTO units VALUES ('imaging')")
    assert await ask(first, "SELECT count(*) FROM units") == 2
    assert await ask(second, "SELECT count(*) FROM units") == 1
    for url in (first, second, postgres_cluster.url(name)):
        postgres_cluster.drop_database(url)


def test_a_template_is_filled_once_per_key(postgres_cluster: Cluster) -> None:
    filled: list[str] = []
    key = os.urandom(8).hex()
    names = {postgres_cluster.template(key, filled.append) for _ in range(2)}
    assert len(names) == len(filled) == 1
    postgres_cluster.drop_database(postgres_cluster.url(names.pop()))


def test_a_template_whose_filling_failed_is_not_taken_for_filled(postgres_cluster: Cluster) -> None:
    key = os.urandom(8).hex()

    def fail(url: str) -> None:
        raise LookupError(url)

    with pytest.raises(LookupError) as failure:
        postgres_cluster.template(key, fail)
    filled: list[str] = []
    name = postgres_cluster.template(key, filled.append)
    assert len(filled) == 1
    for url in (str(failure.value.args[0]), postgres_cluster.url(name)):
        postgres_cluster.drop_database(url)


async def test_two_processes_share_one_server_until_the_last_leaves(other_checkout: Path) -> None:
    with another_process_in(other_checkout):
        entered = running_cluster(checkout=other_checkout, keep=False)
        cluster = entered.__enter__()
        assert len(servers_of(cluster)) == 1
    assert await ask(cluster.url("postgres"), "SELECT 1") == 1
    entered.__exit__(None, None, None)
    assert servers_of(cluster) == []
    assert not (cluster.sockets.parent / "data").exists()


async def test_the_server_of_a_killed_run_is_replaced_and_stopped(other_checkout: Path) -> None:
    with another_process_in(other_checkout) as killed:
        killed.kill()
    with running_cluster(checkout=other_checkout, keep=False) as cluster:
        assert await ask(cluster.url("postgres"), "SELECT 1") == 1
        assert len(servers_of(cluster)) == 1
    assert servers_of(cluster) == []


def test_a_foreign_process_with_the_number_in_the_pid_file_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as foreign:
        (tmp_path / "postmaster.pid").write_text(f"{foreign.pid}\n{tmp_path}\n")
        Site(binaries=Path("/nowhere"), home=tmp_path, data=tmp_path, account=None).stop()
        assert foreign.poll() is None


async def test_kept_files_are_used_again(other_checkout: Path) -> None:
    with running_cluster(checkout=other_checkout, keep=True) as cluster:
        kept = cluster.create_database()
    with pytest.raises(FileNotFoundError):
        await ask(kept, "SELECT 1")
    with running_cluster(checkout=other_checkout, keep=True):
        assert await ask(kept, "SELECT 1") == 1
