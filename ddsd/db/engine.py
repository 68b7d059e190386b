"""One way to a database: a read-only transaction, or a writing one that commits when its block ends.

SQLite allows one writer: writers queue in this process (fair, no busy waiting) and take the write lock at BEGIN,
so that nothing is decided on what another writer is about to change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from ddsd.errors import ConfigurationError, DatabaseUnavailable
from ddsd.secret import SecretText

_WRITING: Final = "ddsd_writing"
_log = structlog.get_logger()


class Database:
    """An engine and the two kinds of transaction on it.

    Args:
        url: ``sqlite:///relative``, ``sqlite:////absolute`` or ``postgresql://…``.
        password: for PostgreSQL, when it is not in the address.
        pool_size: connections kept open.

    Raises:
        ConfigurationError: the address cannot be understood or names another kind of database.
    """

    def __init__(self, url: str, password: SecretText | None = None, pool_size: int = 10) -> None:
        address = _async_url(url, password)
        self.is_sqlite = address.get_backend_name() == "sqlite"
        if self.is_sqlite and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {} if self.is_sqlite else {"pool_pre_ping": True}
        self.engine: AsyncEngine = create_async_engine(
            address, pool_size=pool_size, max_overflow=pool_size, pool_timeout=20, **options
        )
        self._one_writer = asyncio.Lock() if self.is_sqlite else nullcontext()
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that commits at the end of the block and rolls back on any exception.

        Raises:
            DatabaseUnavailable: the database is away, full, or locked by another process.
        """
        async with self._one_writer, self._session({_WRITING: True}) as session:
            yield session
            await session.commit()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that only reads; it is rolled back at the end.

        Raises:
            DatabaseUnavailable: the database is away.
        """
        async with self._session({}) as session:
            yield session

    @asynccontextmanager
    async def _session(self, options: dict[str, Any]) -> AsyncIterator[AsyncSession]:
        session = AsyncSession(self.engine, expire_on_commit=False, autoflush=True)
        try:
            if options:
                await session.connection(execution_options=options)
            yield session
        except (OperationalError, InterfaceError, PoolTimeout, OSError) as wrong:
            raise _unavailable(wrong) from wrong
        except DBAPIError as wrong:
            if wrong.connection_invalidated or _is_transient(wrong):
                raise _unavailable(wrong) from wrong
            raise
        finally:
            await _close_quietly(session)

    async def probe(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            DatabaseUnavailable: it gives none.
        """
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


async def _close_quietly(session: AsyncSession) -> None:
    try:
        await asyncio.shield(session.close())
    except (DBAPIError, OSError) as wrong:
        _log.warning("database.close_failed", why=str(wrong))


def _is_transient(wrong: DBAPIError) -> bool:
    """Say whether PostgreSQL gave up for a reason that a second try may not meet (deadlock, shutdown)."""
    return getattr(wrong.orig, "sqlstate", "") in {
        "40001",
        "40P01",
        "57P01",
        "57P02",
        "57P03",
        "53300",
    }


def _unavailable(wrong: BaseException) -> DatabaseUnavailable:
    _log.error("database.unavailable", why=str(wrong))
    return DatabaseUnavailable("The database does not answer. Please try again in a moment.")


def _async_url(url: str, password: SecretText | None) -> URL:
    try:
        address = make_url(url)
    except Exception as wrong:
        raise ConfigurationError(f"database.url: cannot be understood: {wrong}") from wrong
    match address.get_backend_name():
        case "sqlite":
            return address.set(drivername="sqlite+aiosqlite")
        case "postgresql":
            address = address.set(drivername="postgresql+asyncpg")
            return address.set(password=password.text()) if password else address
        case other:
            raise ConfigurationError(
                f"database.url: '{other}' is not supported; use sqlite:///… or postgresql://…"
            )


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=10000",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get(_WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
