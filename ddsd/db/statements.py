"""What the two databases spell differently, and what the driver says of a change."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import CursorResult, Result
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from ddsd.db.base import Table


def insert_into(session: AsyncSession, table: type[Table]) -> postgresql.Insert | sqlite.Insert:
    """Start an insert that can say what happens on a conflict; both dialects spell it alike."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def affected(result: Result[Any]) -> int:
    """Return how many rows an update or delete has changed."""
    return cast("CursorResult[Any]", result).rowcount
