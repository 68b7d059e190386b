"""Column types that keep promises the databases do not: aware UTC, closed sets of text."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import DateTime, String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

LARGEST_ID: Final = 2**31 - 1


def may_be_id(number: int) -> bool:
    """Say whether a number that somebody sent can be a row's: databases refuse to compare with others."""
    return 0 < number <= LARGEST_ID


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. Refuses naive values in, returns aware UTC out (SQLite forgets the zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware moment into what the database stores."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a naive datetime cannot be stored: {value!r}")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Turn what the database stored into an aware moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class EnumText(TypeDecorator[StrEnum]):
    """A member of a :class:`~enum.StrEnum`, stored as its value: no migration per member."""

    impl = String(40)
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: StrEnum | None, _dialect: Dialect) -> str | None:
        """Store the member's value."""
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: Any, _dialect: Dialect) -> StrEnum | None:
        """Return the member."""
        return None if value is None else self.kind(value)


def exact_text() -> String:
    """Return a column type for text that is ordered by its bytes, in both databases alike.

    SQLite compares so anyway; PostgreSQL would otherwise order by the cluster's language.
    """
    return String().with_variant(String(collation="C"), "postgresql")
