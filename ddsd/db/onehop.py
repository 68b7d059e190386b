"""SQLAlchemy's cursor for aiosqlite, with one call to the connection's thread per statement instead of four.

A call wakes the thread, and the thread wakes the event loop, both waiting for the interpreter's lock: that costs more
than most statements. Invariant: rows, ``rowcount`` and errors are those of the cursor it replaces.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)
from sqlalchemy.util import immutabledict


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    """Holds a result that has been fetched as a whole: there is nothing to close at the driver."""

    __slots__ = ("_done",)

    def __init__(self, adapt_connection: Any) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection
        self._soft_closed_memoized = immutabledict()
        self._rows = deque()
        self._done: sqlite3.Cursor | None = None

    @property
    def description(self) -> Any:
        return None if self._done is None else self._done.description

    @property
    def rowcount(self) -> int:
        return -1 if self._done is None else self._done.rowcount

    @property
    def lastrowid(self) -> int:
        return (self._done and self._done.lastrowid) or 0

    def close(self) -> None:
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        pass

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        return await self._run(lambda cursor: cursor.execute(operation, parameters or ()))

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> Any:
        return await self._run(lambda cursor: cursor.executemany(operation, seq_of_parameters))

    async def _run(self, statement: Callable[[sqlite3.Cursor], sqlite3.Cursor]) -> None:
        driver: Any = self._connection
        async with self._adapt_connection._execute_mutex:
            self._done, rows = await driver._execute(_fetched, driver, statement)
        self._rows = deque(rows)


def _fetched(
    driver: Any, statement: Callable[[sqlite3.Cursor], sqlite3.Cursor]
) -> tuple[sqlite3.Cursor, Sequence[Any]]:
    cursor = statement(driver._conn.cursor())
    return cursor, cursor.fetchall() if cursor.description else ()


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()

    _cursor_cls = _Cursor


class OneHop(AsyncAdapt_aiosqlite_dbapi):
    """The driver as SQLAlchemy sees it: pass it to ``create_async_engine`` as ``module``."""

    def __init__(self) -> None:
        super().__init__(aiosqlite, sqlite3)

    def connect(self, *arguments: Any, **options: Any) -> AsyncAdapt_aiosqlite_connection:
        """Open a connection; see the class this one replaces."""
        return _Connection(self, super().connect(*arguments, **options)._connection)
