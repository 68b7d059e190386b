"""The two kinds of transaction, on both databases: what they promise when all goes well and when it does not."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry
from structlog.testing import capture_logs

from ddsd.db.engine import Database
from ddsd.errors import ConfigurationError, DatabaseUnavailable
from ddsd.secret import SecretText
from ddsd.units.tables import Unit
from ddsd.users.tables import User
from tests.builders import a_unit, a_user
from tests.parts.ports import free_port
from tests.parts.postgres import running_cluster

ACKNOWLEDGE_UNITS = """
import asyncio, sys
from ddsd.db.engine import Database
from ddsd import tables
from tests.builders import a_unit
async def main():
    database = Database(sys.argv[1])
    while True:
        async with database.writing() as session:
            unit = await a_unit(session)
        print(unit.public_id, flush=True)
asyncio.run(main())
"""

HOLD_THE_WRITE_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sqlite_path(sqlite_template: Path, tmp_path: Path) -> Path:
    """A migrated SQLite file."""
    path = tmp_path / "only" / "ddsd.sqlite3"
    path.parent.mkdir()
    path.write_bytes(sqlite_template.read_bytes())
    return path


@pytest.fixture
async def sqlite(sqlite_path: Path) -> AsyncIterator[Database]:
    """A migrated database, on SQLite only, that does not wait for others' locks."""
    database = Database(f"sqlite:///{sqlite_path}", busy_timeout_s=0.05)
    yield database
    await database.close()


@asynccontextmanager
async def another_process(
    source: str, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python code elsewhere until the block ends."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, *arguments, stdin=pipe, stdout=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def names(database: Database) -> set[str]:
    async with database.reading() as session:
        return set((await session.scalars(select(Unit.columns().name))).all())


async def test_what_was_written_is_read_after_the_block(database: Database) -> None:
    async with database.writing() as session:
        await a_unit(session, name="Imaging")
    assert await names(database) == {"Imaging"}


async def test_an_exception_rolls_back_and_the_next_transaction_is_clean(
    database: Database,
) -> None:
    async def write_and_fail() -> None:
        async with database.writing() as session:
            await a_unit(session, name="Imaging")
            raise LookupError

    with pytest.raises(LookupError):
        await write_and_fail()
    async with database.writing() as session:
        await a_unit(session, name="Sequencing")
    assert await names(database) == {"Sequencing"}


async def test_an_error_of_the_caller_is_not_taken_for_one_of_the_database(
    database: Database,
) -> None:
    for mistake in (OSError("no such file"), TimeoutError("somebody else's")):
        with pytest.raises(type(mistake)):
            async with database.writing():
                raise mistake


async def test_a_statement_that_is_wrong_is_not_taken_for_a_database_that_is_away(
    database: Database,
) -> None:
    for statement in ("SELECT nothing FROM nowhere", "SELEKT 1"):
        with pytest.raises(DBAPIError):
            async with database.writing() as session:
                await session.execute(text(statement))


async def test_a_name_that_is_taken_is_an_integrity_error(database: Database) -> None:
    async with database.writing() as session:
        await a_unit(session, name="Imaging")
    with pytest.raises(IntegrityError):
        async with database.writing() as session:
            await a_unit(session, name="Imaging")


async def test_foreign_keys_are_enforced(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.writing() as session:
            await a_user(session, unit_id=4711)


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(DBAPIError):
        async with database.reading() as session:
            await a_unit(session)
    assert await names(database) == set()


async def test_a_reader_sees_one_moment_while_a_writer_commits(database: Database) -> None:
    async with database.reading() as session:
        before = (await session.scalars(select(Unit.columns().name))).all()
        async with database.writing() as writer:
            await a_unit(writer)
        assert (await session.scalars(select(Unit.columns().name))).all() == before
    assert len(await names(database)) == 1


async def test_a_reader_does_not_wait_for_an_open_writer(database: Database) -> None:
    async with database.writing() as session:
        await a_unit(session)
        assert await names(database) == set()


async def test_a_writer_on_sqlite_takes_the_lock_when_it_begins(
    sqlite: Database, sqlite_path: Path
) -> None:
    with closing(sqlite3.connect(sqlite_path, timeout=0, isolation_level=None)) as other:
        async with sqlite.writing():
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")


async def test_a_reader_on_sqlite_takes_no_write_lock(sqlite: Database, sqlite_path: Path) -> None:
    with closing(sqlite3.connect(sqlite_path, timeout=0, isolation_level=None)) as other:
        async with sqlite.reading() as session:
            await session.execute(text("SELECT count(*) FROM units"))
            other.execute("BEGIN IMMEDIATE")


async def test_concurrent_writers_queue_and_none_fails(database: Database) -> None:
    async with database.writing() as session:
        unit_id = (await a_unit(session, project_counter=0)).id

    async def number_a_project() -> int:
        async with database.writing() as session:
            unit = await session.get_one(Unit, unit_id, with_for_update=True)
            unit.project_counter += 1
            await session.flush()
            return unit.project_counter

    numbers = await asyncio.gather(*(number_a_project() for _ in range(20)))
    assert sorted(numbers) == list(range(1, 21))


async def test_more_readers_than_connections_all_get_their_turn(database_url: str) -> None:
    database = Database(database_url, pool_size=2)
    await asyncio.gather(*(database.probe() for _ in range(20)))
    await database.close()


async def test_a_task_that_would_wait_for_itself_is_told_so(sqlite: Database) -> None:
    async with sqlite.writing():
        with pytest.raises(RuntimeError, match="already"):
            async with sqlite.writing():
                pass
    async with sqlite.writing() as session:
        await a_unit(session)


@pytest.mark.parametrize("when", ["between statements", "in a statement", "waiting for its turn"])
async def test_a_cancelled_writer_leaves_nothing_behind(database: Database, when: str) -> None:
    started = asyncio.Event()
    tracebacks: list[BaseException] = []  # kept, for what they refer to must not keep the lock
    slow = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)"
        " SELECT count(*) FROM n"
    )

    async def write() -> None:
        if when == "waiting for its turn":
            started.set()
        async with database.writing() as session:
            await a_unit(session, name="Imaging")
            started.set()
            if when == "in a statement":
                await session.execute(text(slow))
            await asyncio.Event().wait()

    async def write_and_be_cancelled() -> None:
        task = asyncio.create_task(write())
        await started.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        tracebacks.append(cancelled.value)

    if when == "waiting for its turn":
        async with database.writing() as holder:
            await a_unit(holder, name="Holder")
            await write_and_be_cancelled()
    else:
        await write_and_be_cancelled()
    async with database.writing() as session:
        await a_unit(session, name="Sequencing")
    assert "Imaging" not in await names(database)
    assert "Sequencing" in await names(database)
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a queue pool


async def test_a_cancelled_reader_gives_its_connection_back(database: Database) -> None:
    async def read() -> None:
        async with database.reading() as session:
            await session.scalars(select(User))
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(read()) for _ in range(15)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(database.probe() for _ in range(20)))


async def test_what_was_acknowledged_survives_a_kill(database_url: str) -> None:
    acknowledged: list[str] = []
    async with another_process(ACKNOWLEDGE_UNITS, database_url) as process:
        assert process.stdout is not None
        while len(acknowledged) < 30:
            acknowledged.append((await process.stdout.readline()).decode().strip())
        process.send_signal(signal.SIGKILL)
        rest = (await process.communicate())[0].decode()
    acknowledged += [line for line in rest.split("\n")[:-1] if line]
    database = Database(database_url)
    async with database.reading() as session:
        kept = set((await session.scalars(select(Unit.columns().public_id))).all())
    await database.close()
    assert set(acknowledged) <= kept
    assert len(kept) <= len(acknowledged) + 1


async def test_sqlite_is_synced_to_the_disk_at_every_commit(sqlite: Database) -> None:
    async with sqlite.writing() as session:
        assert await session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await session.scalar(text("PRAGMA synchronous")) == 2


async def test_a_lock_that_another_process_holds_makes_a_writer_unavailable(
    sqlite: Database, sqlite_path: Path
) -> None:
    async with another_process(HOLD_THE_WRITE_LOCK, str(sqlite_path)) as holder:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"locked\n"
        for transaction in (sqlite.writing, sqlite.reshaping):
            with pytest.raises(DatabaseUnavailable):
                async with transaction():
                    pass
        await sqlite.probe()
    async with sqlite.writing() as session:
        await a_unit(session)


async def test_writers_that_wait_behind_a_lock_of_others_are_told_so_and_do_not_pile_up(
    sqlite_path: Path,
) -> None:
    database = Database(f"sqlite:///{sqlite_path}", busy_timeout_s=60, turn_s=0.05)

    async def write() -> None:
        async with database.writing() as session:
            await a_unit(session)

    async with another_process(HOLD_THE_WRITE_LOCK, str(sqlite_path)) as holder:
        assert holder.stdout is not None
        await holder.stdout.readline()
        first = asyncio.create_task(write())
        behind = await asyncio.gather(*(write() for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in behind] == [DatabaseUnavailable] * 5
        assert not first.done()
        holder.kill()
        await first
    await write()
    await database.close()


async def test_a_writer_waits_for_a_lock_that_is_let_go_in_time(sqlite_path: Path) -> None:
    patient = Database(f"sqlite:///{sqlite_path}", busy_timeout_s=30)
    async with another_process(HOLD_THE_WRITE_LOCK, str(sqlite_path)) as holder:
        assert holder.stdout is not None
        await holder.stdout.readline()
        asyncio.get_running_loop().call_later(0.1, holder.kill)
        async with patient.writing() as session:
            await a_unit(session)
    await patient.close()


async def test_a_full_disk_makes_a_writer_unavailable_and_loses_nothing(sqlite: Database) -> None:
    async with sqlite.writing() as session:
        await a_unit(session, name="Imaging")
        pages = await session.scalar(text("PRAGMA page_count"))
        await session.execute(text(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(DatabaseUnavailable):
        async with sqlite.writing() as session:
            await a_unit(session, contact_email="x" * 1_000_000)
    assert await names(sqlite) == {"Imaging"}
    async with sqlite.writing() as session:
        await session.execute(text("PRAGMA max_page_count=100000"))
    async with sqlite.writing() as session:
        await a_unit(session)


async def test_a_directory_that_is_gone_makes_sqlite_unavailable(sqlite_path: Path) -> None:
    database = Database(f"sqlite:///{sqlite_path}")
    shutil.rmtree(sqlite_path.parent)
    for transaction in (database.reading, database.writing):
        with pytest.raises(DatabaseUnavailable):
            async with transaction():
                pass
    await database.close()


@pytest.mark.parametrize("what", ["removed", "replaced"])
async def test_a_file_that_is_taken_away_while_in_use_is_noticed_before_anything_is_acknowledged(
    sqlite: Database, sqlite_path: Path, what: str
) -> None:
    async with sqlite.writing() as session:
        await a_unit(session)
    other = shutil.copy(sqlite_path, sqlite_path.with_name("other"))
    if what == "replaced":
        os.replace(other, sqlite_path)  # noqa: PTH105 - a blocking call either way
    else:
        sqlite_path.parent.rename(sqlite_path.parent.with_name("elsewhere"))
    for transaction in (sqlite.reading, sqlite.writing):
        with pytest.raises(DatabaseUnavailable):
            async with transaction():
                pass


async def test_a_file_that_is_no_database_makes_sqlite_unavailable(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear all, " * 1000)
    database = Database(f"sqlite:///{tmp_path / 'letter'}")
    with pytest.raises(DatabaseUnavailable):
        await database.probe()
    await database.close()


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A place that has a PostgreSQL cluster of its own, to be stopped at will."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


async def test_postgresql_that_is_stopped_is_unavailable_until_it_is_back(checkout: Path) -> None:
    async def work_while_it_stops() -> None:
        async with database.writing() as session:
            await session.execute(text("SELECT 1"))
            running.close()
            await session.execute(text("SELECT 1"))

    running = ExitStack()
    cluster = running.enter_context(running_cluster(checkout=checkout, keep=True))
    database = Database(cluster.create_database())
    with pytest.raises(DatabaseUnavailable):
        await work_while_it_stops()
    for transaction in (database.reading, database.writing, database.reshaping):
        with pytest.raises(DatabaseUnavailable):
            async with transaction():
                pass
    with running_cluster(checkout=checkout, keep=True):
        await database.probe()
    await database.close()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda url: url.replace("/test_", "/no_such_"),
        lambda url: url.replace("ddsd@", "stranger@"),
        lambda _: f"postgresql://ddsd@127.0.0.1:{free_port()}/test",
        lambda _: "postgresql://ddsd@/test?host=/nowhere",
    ],
    ids=["database", "user", "port", "socket"],
)
async def test_postgresql_that_does_not_let_us_in_is_unavailable(
    postgres_url: str, wrong: Callable[[str], str]
) -> None:
    database = Database(wrong(postgres_url))
    with pytest.raises(DatabaseUnavailable):
        await database.probe()
    await database.close()


async def test_a_connection_that_postgresql_cuts_is_replaced(
    postgres_url: str,
) -> None:
    database = Database(postgres_url)
    with pytest.raises(DatabaseUnavailable):
        async with database.writing() as session:
            await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    await database.probe()
    await database.close()


@pytest.mark.parametrize("idle", ["a moment", "long"])
async def test_connections_that_postgresql_cuts_while_they_are_idle_are_not_noticed_by_anybody(
    postgres_url: str, idle: str
) -> None:
    database, killer = Database(postgres_url), Database(postgres_url)
    if idle == "long":
        event.listen(database.engine.sync_engine, "checkin", have_been_idle_for_long)
    await asyncio.gather(*(database.probe() for _ in range(3)))
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
    async with killer.writing() as session:
        killed = await session.scalars(text(f"SELECT pg_terminate_backend(pid, 5000) {others}"))
        assert all(killed.all())
    await asyncio.gather(*(database.probe() for _ in range(3)))
    await database.close()
    await killer.close()


def have_been_idle_for_long(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = 0.0


async def test_a_table_that_somebody_locks_in_postgresql_makes_it_unavailable_until_it_is_let_go(
    postgres_url: str,
) -> None:
    database, other = Database(postgres_url, busy_timeout_s=0.05), Database(postgres_url)
    async with other.writing() as somebody:
        await somebody.execute(text("CREATE TABLE kept (id int)"))
    async with other.writing() as somebody:
        await somebody.execute(text("LOCK TABLE kept IN ACCESS EXCLUSIVE MODE"))
        for transaction in (database.reading, database.writing):
            with pytest.raises(DatabaseUnavailable):
                async with transaction() as session:
                    await session.execute(text("SELECT * FROM kept"))
    async with database.writing() as session:
        await session.execute(text("INSERT INTO kept VALUES (1)"))
    await database.close()
    await other.close()


async def test_a_postgresql_that_takes_no_writes_is_unavailable_to_writers_alone(
    postgres_url: str,
) -> None:
    database = Database(postgres_url)
    name = postgres_url.partition("@/")[2].partition("?")[0]
    async with database.writing() as session:
        await session.execute(
            text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        )
    await database.close()
    standby = Database(postgres_url)
    await standby.probe()
    with pytest.raises(DatabaseUnavailable):
        async with standby.writing() as session:
            await session.execute(text("CREATE TABLE kept (id int)"))
    await standby.close()


async def test_that_the_database_is_away_is_logged_once_a_minute_however_often_it_is_asked(
    sqlite_path: Path,
) -> None:
    database = Database(f"sqlite:///{sqlite_path}")
    await database.probe()
    shutil.rmtree(sqlite_path.parent)
    with capture_logs() as lines:
        for _ in range(20):
            with pytest.raises(DatabaseUnavailable):
                await database.probe()
    await database.close()
    assert [one["event"] for one in lines] == ["database.unavailable"]
    assert str(sqlite_path) in lines[0]["why"]


async def test_a_deadlock_in_postgresql_is_worth_another_try(postgres_url: str) -> None:
    database = Database(postgres_url)
    both_hold_one = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async with database.writing() as session:
            await session.execute(text(f"SELECT pg_advisory_xact_lock({first})"))
            await both_hold_one.wait()
            await session.execute(text(f"SELECT pg_advisory_xact_lock({second})"))

    results = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)
    await database.close()
    assert [type(result) for result in results if result] == [DatabaseUnavailable]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://root@localhost/dds", "'mysql' is not supported"),
        ("what is this", "cannot be understood"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"database.url: .*{why}"):
        Database(url)


def test_a_password_from_elsewhere_is_used_and_never_shown() -> None:
    database = Database("postgresql://ddsd@db.example.org/ddsd", SecretText("sesame"))
    assert database.engine.url.password == "sesame"
    assert "sesame" not in repr(database.engine)
