"""On which days before a deadline people are reminded. Pure: no database, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

from ddsd.errors import InvalidInput

MOST_DAYS: Final = 90
"""As long as a project can be Available (wire contract, section 6)."""


def most_urgent(
    days: Iterable[int], *, today: date, set_on: date, deadline_day: date
) -> int | None:
    """Return the step that is due: the smallest number of days whose day has come.

    A step whose day had come when the deadline was set is none: people were told of it then. After a downtime the
    steps in between are passed over.

    Args:
        days: how many days before the deadline.
        today: the day it is, for reminders.
        set_on: the day the deadline was set.
        deadline_day: the deadline's last day.
    """
    return min(
        (one for one in days if set_on < deadline_day - timedelta(days=one) <= today), default=None
    )


def parse(text: str) -> tuple[int, ...]:
    """Read numbers of days, such as ``14,7,1``, the largest first; empty: none.

    Raises:
        InvalidInput: they are no whole numbers from 1 to :data:`MOST_DAYS`.
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if not all(
        word.isascii() and word.isdigit() and len(word) <= len(str(MOST_DAYS)) for word in words
    ):
        raise InvalidInput(
            f"'{text}' are no days: give numbers from 1 to {MOST_DAYS} and commas, such as 14,7,1."
        )
    days = sorted({int(word) for word in words}, reverse=True)
    if days and not 1 <= days[-1] <= days[0] <= MOST_DAYS:
        raise InvalidInput(f"Each number of days must be from 1 to {MOST_DAYS}.")
    return tuple(days)


def write(days: Iterable[int]) -> str:
    """Return days as :func:`parse` reads them."""
    return ",".join(map(str, days))


def in_words(days_left: int) -> str:
    """Say how far away the deadline's day is."""
    match days_left:
        case 0:
            return "today"
        case 1:
            return "tomorrow"
        case _:
            return f"in {days_left} days"
