"""One way to a database: a transaction that reads, or one that writes and commits at its end.

SQLite allows one writer: writers queue in this process (fair, no busy waiting) and take the write
lock at BEGIN, so that nothing is decided on what another writer is about to change. A reader sees
one state of the database from its first statement to its last, blocks nobody, and cannot write: on
both databases.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from ddsd.db.onehop import OneHop
from ddsd.errors import ConfigurationError, DatabaseUnavailable
from ddsd.secret import SecretText

_TURN_TO_RESHAPE: Final = 0x64647364
"""PostgreSQL's advisory lock of whoever changes the schema: "ddsd" in ASCII."""

_SQLITE_AWAY: Final = (
    "SQLITE_BUSY",
    "SQLITE_CANTOPEN",
    "SQLITE_CORRUPT",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_LOCKED",
    "SQLITE_NOMEM",
    "SQLITE_NOTADB",
    "SQLITE_PERM",
    "SQLITE_PROTOCOL",
    "SQLITE_READONLY_",
)
"""SQLite's result codes (sqlite.org/rescode.html) that say nothing against the statement.

Plain SQLITE_READONLY does: a writer is told so at its BEGIN, so it is a reader that tries to write."""

_POSTGRESQL_AWAY: Final = ("08", "40001", "40P01", "53", "55P03", "57", "58", "XX")
"""The same as SQLSTATEs and classes of them (PostgreSQL 15, appendix A)."""

_POSTGRESQL_READ_ONLY: Final = "25006"
"""A server that takes no writes: a standby, or its operator said so. A reader is told so when it tries to write."""

_TURN_S: Final = 30.0
"""How long a writer on SQLite waits for the others of this process, before it is told that the database is away.

While another process holds the lock each of them waits for it in vain: who comes last would wait for all of them."""

_ASK_AFTER_S: Final = 10.0
"""How long a connection to PostgreSQL may have been idle without being asked whether it is still there."""

_SAY_EVERY_S: Final = 60.0

_log = structlog.get_logger()


class Database:
    """An engine and the kinds of transaction on it.

    Args:
        url: ``sqlite:///relative``, ``sqlite:////absolute`` (never in memory) or ``postgresql://…``.
        password: for PostgreSQL, when it is not in the address.
        pool_size: connections kept open; as many again may be opened for a while.
        busy_timeout_s: how long a statement waits for what another one holds locked; in SQLite: another process.
        turn_s: how long a writer on SQLite waits for its turn in this process.

    ``engine`` is the one that may write.

    Raises:
        ConfigurationError: the address cannot be understood or names another kind of database.
    """

    def __init__(
        self,
        url: str,
        password: SecretText | None = None,
        pool_size: int = 10,
        busy_timeout_s: float = 20.0,
        turn_s: float = _TURN_S,
    ) -> None:
        address = _async_url(url, password)
        self.is_sqlite = address.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self.engine, self._reader = _sqlite_engines(address, pool_size, busy_timeout_s)
        else:
            self.engine, self._reader = _postgresql_engines(address, pool_size, busy_timeout_s)
        self._one_writer = _OneWriter(turn_s) if self.is_sqlite else nullcontext()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that commits at the end of the block and rolls back on any exception.

        On PostgreSQL it is READ COMMITTED: what a decision hangs on is to be locked
        (``with_for_update``) or compared in the statement that changes it.

        Raises:
            DatabaseUnavailable: the database is away, full, takes no writes, or is locked by another process.
            RuntimeError: on SQLite, this task is in a writing transaction already.
        """
        async with self._one_writer, _read_only_is_away(), _session(self.engine) as session:
            yield session
            await session.commit()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that only reads, all of it as of one moment.

        Raises:
            DatabaseUnavailable: the database is away.
        """
        async with _session(self._reader) as session:
            yield session

    @asynccontextmanager
    async def reshaping(self) -> AsyncIterator[AsyncConnection]:
        """Open the transaction that may change the schema, one at a time over all processes.

        On SQLite foreign keys are not followed inside it: a table is changed there by making it
        anew and dropping the old one, and the drop would remove the rows that refer to it. They are
        checked before the commit.

        Raises:
            DatabaseUnavailable: the database is away, full, or locked by another process.
            ForeignKeysBroken: a row would refer to one that is not there; nothing is committed.
        """
        async with self._one_writer, _translated(), _connected(self.engine) as connection:
            if self.is_sqlite:
                async with _foreign_keys_unchecked(connection), connection.begin():
                    yield connection
                    await _check_foreign_keys(connection)
            else:
                async with connection.begin():
                    await connection.execute(text("SET LOCAL lock_timeout = 0"))
                    turn = text("SELECT pg_advisory_xact_lock(:turn)")
                    await connection.execute(turn, {"turn": _TURN_TO_RESHAPE})
                    yield connection

    async def probe(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            DatabaseUnavailable: it gives none.
        """
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self._reader.dispose()
        await self.engine.dispose()


class ForeignKeysBroken(Exception):
    """A change of the schema left rows that refer to nothing."""


class _OneWriter:
    """A fair lock that says so when a task would wait for itself, or has waited too long for others."""

    def __init__(self, turn_s: float) -> None:
        self._turn_s = turn_s
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[object] | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if self._holder is task:
            raise RuntimeError("this task is in a writing transaction already")
        try:
            async with asyncio.timeout(self._turn_s):
                await self._lock.acquire()
        except TimeoutError as wrong:
            raise _unavailable(OSError("many write to it, or another program has it")) from wrong
        self._holder = task

    async def __aexit__(self, *_: object) -> None:
        self._holder = None
        self._lock.release()


@asynccontextmanager
async def _session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    session = AsyncSession(engine, expire_on_commit=False)
    async with _translated():
        try:
            with _connecting():
                await session.connection()
            yield session
        finally:
            await _close_quietly(session)


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    connection = engine.connect()
    with _connecting():
        await connection.start()
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def _connecting() -> Iterator[None]:
    """Blame the database for whatever goes wrong; later an OSError may be the caller's own."""
    try:
        yield
    except (DBAPIError, OSError, PoolTimeout) as wrong:
        raise _unavailable(wrong) from wrong


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except DBAPIError as wrong:
        if _is_away(wrong):
            raise _unavailable(wrong) from wrong
        raise


@asynccontextmanager
async def _read_only_is_away() -> AsyncIterator[None]:
    """Blame the database for taking no writes: it becomes the first server again, or another one does."""
    try:
        yield
    except DBAPIError as wrong:
        if getattr(wrong.orig, "sqlstate", None) == _POSTGRESQL_READ_ONLY:
            raise _unavailable(wrong) from wrong
        raise


async def _close_quietly(session: AsyncSession) -> None:
    try:
        await asyncio.shield(session.close())
    except (DBAPIError, OSError) as wrong:
        _log.warning("database.close_failed", why=str(wrong))


def _is_away(wrong: DBAPIError) -> bool:
    """Say whether the database is to blame, and a later try may succeed; else the statement is."""
    if wrong.connection_invalidated:
        return True
    name = getattr(wrong.orig, "sqlite_errorname", None)
    if name is not None:
        return str(name).startswith(_SQLITE_AWAY)
    state = getattr(wrong.orig, "sqlstate", None)
    return state is not None and state.startswith(_POSTGRESQL_AWAY)


class _Complaints:
    """Logs that the database is away: once a minute for each reason, however often it is asked."""

    def __init__(self) -> None:
        self._said_at: dict[str, float] = {}

    def __call__(self, why: str) -> None:
        now = time.monotonic()
        self._said_at = {said: at for said, at in self._said_at.items() if now - at < _SAY_EVERY_S}
        if why not in self._said_at:
            self._said_at[why] = now
            _log.error("database.unavailable", why=why)


_complain: Final = _Complaints()


def _unavailable(wrong: BaseException) -> DatabaseUnavailable:
    why = in_the_drivers_words(wrong)
    _complain(why)
    message = "The database does not answer. Please try again in a moment."
    return DatabaseUnavailable(message, why=why)


def in_the_drivers_words(wrong: BaseException) -> str:
    """Return what the driver said, without the statement, links and class names put around it."""
    said: BaseException = (isinstance(wrong, DBAPIError) and wrong.orig) or wrong
    return str(said.__cause__ or said) or type(said).__name__


def _async_url(url: str, password: SecretText | None) -> URL:
    try:
        address = make_url(url)
    except Exception as wrong:
        raise ConfigurationError(f"database.url: cannot be understood: {wrong}") from wrong
    match address.get_backend_name():
        case "sqlite":
            if address.database in {None, "", ":memory:"}:
                raise ConfigurationError("database.url: SQLite needs a file: sqlite:////path")
            return address.set(drivername="sqlite+aiosqlite")
        case "postgresql":
            address = address.set(drivername="postgresql+asyncpg")
            return address.set(password=password.text()) if password else address
        case other:
            raise ConfigurationError(
                f"database.url: '{other}' is not supported; use sqlite:///… or postgresql://…"
            )


def _postgresql_engines(
    address: URL, pool_size: int, busy_timeout_s: float
) -> tuple[AsyncEngine, AsyncEngine]:
    lock_timeout = f"{int(busy_timeout_s * 1000)}ms"
    engine = create_async_engine(
        address,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=20,
        hide_parameters=True,
        connect_args={"server_settings": {"lock_timeout": lock_timeout}},
    )
    event.listen(engine.sync_engine, "checkin", _remember_idle)
    event.listen(engine.sync_engine, "checkout", _check_still_there)
    reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine, reader


def _remember_idle(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()


def _check_still_there(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Have the pool replace its connections if this one is closed.

    The driver knows when the server has closed it. Only what lies in between loses a connection without a word, and
    only one that has been quiet for long: then it is asked. SQLAlchemy would ask at each use, in three round trips.
    """
    idle_since = record.info.get("idle_since")
    if idle_since is None:  # it is new
        return
    try:
        if time.monotonic() - idle_since > _ASK_AFTER_S:
            connection.ping()
    except (connection.dbapi.Error, OSError) as wrong:
        raise InvalidatePoolError from wrong
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


def _sqlite_engines(
    address: URL, pool_size: int, busy_timeout_s: float
) -> tuple[AsyncEngine, AsyncEngine]:
    """Make two: how a transaction begins then hangs on its pool, not on options set in time."""
    file = _OpenedFile(Path(str(address.database)).absolute())
    options: dict[str, Any] = {
        "module": OneHop(),
        "pool_timeout": 20,
        "hide_parameters": True,  # messages are logged, and values may be secret
        "pool_reset_on_return": None,  # no transaction outlives its session: nothing to roll back
    }
    writer = create_async_engine(address, pool_size=1, max_overflow=0, **options)
    reader = create_async_engine(address, pool_size=pool_size, max_overflow=pool_size, **options)
    for engine, begin, query_only in ((writer, "BEGIN IMMEDIATE", 0), (reader, "BEGIN", 1)):
        pragmas = (
            f"busy_timeout={int(busy_timeout_s * 1000)}",  # first: the next may have to wait
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            f"query_only={query_only}",
        )
        event.listen(engine.sync_engine, "connect", partial(_prepare_sqlite, pragmas, file))
        event.listen(engine.sync_engine, "begin", partial(_begin_sqlite, begin, file))
        event.listen(engine.sync_engine, "invalidate", _roll_back_invalidated)
    return writer, reader


class _OpenedFile:
    """Notices that the file was removed or replaced under the running process.

    SQLite does not: it would go on to acknowledge what it writes into a file nobody can open again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        path.parent.mkdir(parents=True, exist_ok=True)

    def remember(self) -> None:
        """Take note of the file that was opened first; all others have to be the same."""
        self._identity = self._identity or self._identify()

    def check(self) -> None:
        """Refuse to go on with another file, until the process is started again."""
        try:
            found = self._identify()
        except OSError as wrong:
            raise _unavailable(wrong) from wrong
        if found != self._identity:
            raise _unavailable(OSError(f"{self._path} was replaced; restart ddsd to use it"))

    def _identify(self) -> tuple[int, int]:
        status = self._path.stat()
        return status.st_dev, status.st_ino


def _prepare_sqlite(
    pragmas: tuple[str, ...], file: _OpenedFile, connection: Any, _record: object
) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    cursor = connection.cursor()
    try:
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()  # else its thread would wait for the garbage collector
        raise
    cursor.close()
    file.remember()


def _begin_sqlite(statement: str, file: _OpenedFile, connection: Connection) -> None:
    """Begin in one call to the driver's thread; by way of a cursor it would be three."""
    file.check()
    raw: Any = connection.connection.dbapi_connection
    try:
        raw.run_async(lambda driver: driver.execute(statement))
    except sqlite3.OperationalError as wrong:
        raise _unavailable(wrong) from wrong


def _roll_back_invalidated(connection: Any, _record: object, _why: object) -> None:
    """Let go of the locks of a connection that SQLAlchemy gives up because its task was cancelled.

    It closes it, but SQLite defers that while a statement is unfinished, and the cancelled task's
    traceback keeps the statement for as long as somebody keeps the traceback.
    """
    # Cancelled once more, the task is on its way out already, and the rollback is in the queue.
    with suppress(asyncio.CancelledError):
        connection.rollback()


@asynccontextmanager
async def _foreign_keys_unchecked(connection: AsyncConnection) -> AsyncIterator[None]:
    """Switch them off on a SQLite connection, then throw the connection away."""
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None  # noqa: S101 - it was checked out a line ago
    await raw.execute("PRAGMA foreign_keys=OFF")  # before BEGIN: inside it would be ignored
    try:
        yield
    finally:
        await connection.invalidate()


async def _check_foreign_keys(connection: AsyncConnection) -> None:
    broken = (await connection.execute(text("PRAGMA foreign_key_check"))).all()
    if broken:
        tables = ", ".join(sorted({str(row[0]) for row in broken}))
        raise ForeignKeysBroken(f"{len(broken)} rows refer to nothing, in: {tables}")
