"""The definition of usage, in plain Python: stored bytes times the hours that they were stored.

A version counts from the moment its file was registered until it was replaced or removed (wire contract, section 4).
:mod:`ddsd.usage.sums` lets the database compute the same; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime
from typing import Final, Self

GB: Final = 10**9
TB: Final = 10**12
HOURS_IN_MONTH: Final = 30 * 24
"""A month's, for a price: 30 days (wire contract, section 4)."""
MICROSECONDS_IN_HOUR: Final = 3_600_000_000
_WRITTEN: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_DECEMBER: Final = 12


@dataclass(frozen=True)
class Stay:
    """A version of a file in the store. ``removed_at`` is ``None`` while it is there."""

    size_stored: int
    uploaded_at: datetime
    removed_at: datetime | None = None


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month in UTC. As text ``2026-03``, which sorts as the months do."""

    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """Return the month of an aware moment."""
        utc = moment.astimezone(UTC)
        return cls(utc.year, utc.month)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``2026-03``.

        Raises:
            ValueError: it is no month.
        """
        written = _WRITTEN.fullmatch(text)
        if written is None or not 0 < int(written[1]) < MAXYEAR:
            raise ValueError(f"'{text}' is no month: write it as 2026-03.")
        return cls(int(written[1]), int(written[2]))

    @property
    def start(self) -> datetime:
        """Return its first moment."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """Return the first moment that is no longer in it."""
        return self.following().start

    def following(self) -> Month:
        """Return the month after it."""
        if self.month == _DECEMBER:
            return Month(self.year + 1, 1)
        return Month(self.year, self.month + 1)

    def preceding(self, count: int = 1) -> Month:
        """Return the month so many before it."""
        months = self.year * 12 + self.month - 1 - count
        return Month(months // 12, months % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


def byte_hours(stays: Iterable[Stay], since: datetime, until: datetime) -> float:
    """Return the bytes times hours that these versions were stored for, from ``since`` up to ``until``."""
    return sum(_byte_microseconds(one, since, until) for one in stays) / MICROSECONDS_IN_HOUR


def cost(amount_byte_hours: float, gb_month: float) -> float:
    """Return what so much usage costs, at a price for a GB (10⁹ bytes) in a month of 30 days."""
    return amount_byte_hours / GB * gb_month / HOURS_IN_MONTH


def months(first: Month, last: Month) -> Iterator[Month]:
    """Yield every month from ``first`` to ``last``."""
    while first <= last:
        yield first
        first = first.following()


def _byte_microseconds(one: Stay, since: datetime, until: datetime) -> int:
    end = until if one.removed_at is None else min(one.removed_at, until)
    there = end - max(one.uploaded_at, since)
    microseconds = (there.days * 86_400 + there.seconds) * 1_000_000 + there.microseconds
    return one.size_stored * max(microseconds, 0)
