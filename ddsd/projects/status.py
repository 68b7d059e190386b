"""The life of a project as a table (wire contract, section 6). Pure: no database, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from ddsd.errors import InvalidInput, WrongStatus

MAX_DAYS_AVAILABLE: Final = 90
MAX_DAYS_EXPIRED: Final = 30
MAX_TIMES_EXPIRED: Final = 3


class Status(StrEnum):
    """Where a project is in its life."""

    IN_PROGRESS = "In Progress"
    AVAILABLE = "Available"
    EXPIRED = "Expired"
    ARCHIVED = "Archived"
    DELETED = "Deleted"


@dataclass(frozen=True)
class Rule:
    """What a transition is called, in the imperative."""

    verb: str


VERBS: Final[Mapping[Status, str]] = {
    Status.IN_PROGRESS: "retract",
    Status.AVAILABLE: "release",
    Status.EXPIRED: "expire",
    Status.ARCHIVED: "archive",
    Status.DELETED: "delete",
}

TRANSITIONS: Final[Mapping[tuple[Status, Status], Rule]] = {
    (before, after): Rule(VERBS[after])
    for before, afters in {
        Status.IN_PROGRESS: (Status.AVAILABLE, Status.DELETED, Status.ARCHIVED),
        Status.AVAILABLE: (Status.IN_PROGRESS, Status.EXPIRED, Status.ARCHIVED),
        Status.EXPIRED: (Status.AVAILABLE, Status.ARCHIVED),
    }.items()
    for after in afters
}

FINAL: Final = frozenset({Status.ARCHIVED, Status.DELETED})


def parse(text: object) -> Status:
    """Read a status from what a person or client sent.

    Raises:
        InvalidInput: nothing was given, or there is no such status.
    """
    if not text:
        raise InvalidInput("No status transition provided. Specify the new status.")
    try:
        return Status(str(text))
    except ValueError:
        raise InvalidInput("Invalid status") from None


def check_transition(before: Status, after: Status) -> Rule:
    """Return the rule of the transition.

    Raises:
        WrongStatus: the table has none.
    """
    if before in FINAL:
        raise WrongStatus(f"Cannot change status for a project that has the status '{before}'.")
    rule = TRANSITIONS.get((before, after))
    if rule is None:
        raise WrongStatus(
            f"You cannot {VERBS[after]} a project that has the current status '{before}'."
        )
    return rule


def parse_days(days: object, *, default: int, most: int) -> int:
    """Read how many days something lasts: a whole number from 1 to ``most``; ``None`` means ``default``.

    Raises:
        InvalidInput: it is none.
    """
    if days is None:
        return default
    if not isinstance(days, int) or isinstance(days, bool) or days <= 0:
        raise InvalidInput("The deadline needs to be a positive integer.")
    if days > most:
        raise InvalidInput(f"The deadline needs to be less than (or equal to) {most} days.")
    return days


def deadline_after(now: datetime, days: int) -> datetime:
    """Return the last second of the day (UTC) that is ``days`` days after today."""
    last_day = now.astimezone(UTC).date() + timedelta(days=days)
    return datetime.combine(last_day, time(23, 59, 59), tzinfo=UTC)
