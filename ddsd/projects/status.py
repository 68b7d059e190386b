"""The life of a project as a table (wire contract, section 6). Pure: no database, no clock.

Invariant: whatever changes a project's status is a rule of :data:`RULES`. The diagram in ``docs/lifecycle.md`` is made
from it, and so is every refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Final, assert_never

from ddsd.errors import Conflict, InvalidInput, WrongStatus

MAX_DAYS_AVAILABLE: Final = 90
MAX_DAYS_EXPIRED: Final = 30
MAX_TIMES_EXPIRED: Final = 3
MAX_EXTENSIONS: Final = 2


class Status(StrEnum):
    """Where a project is in its life."""

    IN_PROGRESS = "In Progress"
    AVAILABLE = "Available"
    EXPIRED = "Expired"
    ARCHIVED = "Archived"
    DELETED = "Deleted"


class Verb(StrEnum):
    """What is done to a project.

    ``hide`` is the archiving by deadline, which keeps the data for a while; ``restore`` takes it back until ``purge``.
    """

    RELEASE = "release"
    RETRACT = "retract"
    EXTEND = "extend"
    EXPIRE = "expire"
    ARCHIVE = "archive"
    ABORT = "abort"
    DELETE = "delete"
    HIDE = "hide"
    RESTORE = "restore"
    PURGE = "purge"


class Lasting(StrEnum):
    """Where the deadline of the new status comes from."""

    NONE = "no deadline"
    KEPT = "the deadline runs on"
    FIRST = "the deadline of the first release, or a new one if that has passed"
    AVAILABLE = "days in available"
    LONGER = "the days left and those asked for"
    EXPIRED = "days in expired"


class Effect(StrEnum):
    """What else comes of it."""

    ENDS_UPLOADS = "upload keys end"
    TELLS_RESEARCHERS = "researchers are mailed"
    TELLS_UNIT = "the unit is mailed"
    USES_ONE_UP = "counts as an expiry"
    KEEPS_DATA_FOR_A_WHILE = "data is kept for the undo window"
    REMOVES_DATA = "data and keys are removed, in the background"
    FORGETS_DESCRIPTION = "title, description, PI and researchers are forgotten"


@dataclass(frozen=True)
class Past:
    """What rules ask of a project's life so far."""

    status: Status
    ever_available: bool = False
    times_expired: int = 0
    deadline: datetime | None = None
    data_kept: bool = False


@dataclass(frozen=True)
class Guard:
    """What must be true of the past besides the status; ``refusal`` may name the ``{verb}``."""

    words: str
    holds: Callable[[Past], bool]
    refusal: str
    kind: type[Conflict] = Conflict

    def require(self, past: Past, verb: Verb) -> None:
        """Refuse unless it is so.

        Raises:
            Conflict, WrongStatus: it is not.
        """
        if not self.holds(past):
            raise self.kind(self.refusal.format(verb=verb))


NEVER_RELEASED: Final = Guard(
    "never released",
    lambda past: not past.ever_available,
    "You cannot {verb} a project that has been made available previously. "
    "Please abort the project if you wish to proceed.",
    WrongStatus,
)
RELEASES_LEFT: Final = Guard(
    f"expired less than {MAX_TIMES_EXPIRED} times",
    lambda past: past.times_expired < MAX_TIMES_EXPIRED,
    "Project availability limit: Project cannot be made Available any more times",
)
EXTENSIONS_LEFT: Final = Guard(
    f"expired or extended less than {MAX_EXTENSIONS} times",
    lambda past: past.times_expired < MAX_EXTENSIONS,
    "Project availability limit: The maximum number of changes in data availability has been reached.",
)
DATA_KEPT: Final = Guard(
    "within the undo window",
    lambda past: past.data_kept,
    "Cannot {verb} the project: its data has been removed, or is being removed.",
    WrongStatus,
)


@dataclass(frozen=True)
class Rule:
    """Where a verb leads, when it may, until when, and what else comes of it."""

    to: Status
    guard: Guard | None = None
    lasting: Lasting = Lasting.NONE
    effects: frozenset[Effect] = frozenset()


_REMOVED: Final = frozenset({Effect.ENDS_UPLOADS, Effect.REMOVES_DATA})
_FORGOTTEN: Final = _REMOVED | {Effect.FORGETS_DESCRIPTION}

RULES: Final[Mapping[tuple[Status, Verb], Rule]] = {
    (Status.IN_PROGRESS, Verb.RELEASE): Rule(
        Status.AVAILABLE,
        lasting=Lasting.FIRST,
        effects=frozenset({Effect.ENDS_UPLOADS, Effect.TELLS_RESEARCHERS}),
    ),
    (Status.IN_PROGRESS, Verb.ARCHIVE): Rule(Status.ARCHIVED, NEVER_RELEASED, effects=_REMOVED),
    (Status.IN_PROGRESS, Verb.ABORT): Rule(Status.ARCHIVED, effects=_FORGOTTEN),
    (Status.IN_PROGRESS, Verb.DELETE): Rule(Status.DELETED, NEVER_RELEASED, effects=_FORGOTTEN),
    (Status.AVAILABLE, Verb.RETRACT): Rule(Status.IN_PROGRESS, lasting=Lasting.KEPT),
    (Status.AVAILABLE, Verb.EXTEND): Rule(
        Status.AVAILABLE, EXTENSIONS_LEFT, Lasting.LONGER, frozenset({Effect.USES_ONE_UP})
    ),
    (Status.AVAILABLE, Verb.EXPIRE): Rule(
        Status.EXPIRED, lasting=Lasting.EXPIRED, effects=frozenset({Effect.USES_ONE_UP})
    ),
    (Status.AVAILABLE, Verb.ARCHIVE): Rule(Status.ARCHIVED, effects=_REMOVED),
    (Status.AVAILABLE, Verb.ABORT): Rule(Status.ARCHIVED, effects=_FORGOTTEN),
    (Status.EXPIRED, Verb.RELEASE): Rule(
        Status.AVAILABLE,
        RELEASES_LEFT,
        Lasting.AVAILABLE,
        frozenset({Effect.TELLS_RESEARCHERS}),
    ),
    (Status.EXPIRED, Verb.ARCHIVE): Rule(Status.ARCHIVED, effects=_REMOVED),
    (Status.EXPIRED, Verb.ABORT): Rule(Status.ARCHIVED, effects=_FORGOTTEN),
    (Status.EXPIRED, Verb.HIDE): Rule(
        Status.ARCHIVED, effects=frozenset({Effect.KEEPS_DATA_FOR_A_WHILE, Effect.TELLS_UNIT})
    ),
    (Status.ARCHIVED, Verb.RESTORE): Rule(Status.EXPIRED, DATA_KEPT, Lasting.EXPIRED),
    (Status.ARCHIVED, Verb.PURGE): Rule(Status.ARCHIVED, DATA_KEPT, effects=_REMOVED),
}
"""(status, verb) → rule. What is not here is refused."""

FINAL: Final = frozenset({Status.ARCHIVED, Status.DELETED})
_LEADS_TO: Final[Mapping[Status, Verb]] = {
    Status.IN_PROGRESS: Verb.RETRACT,
    Status.AVAILABLE: Verb.RELEASE,
    Status.EXPIRED: Verb.EXPIRE,
    Status.ARCHIVED: Verb.ARCHIVE,
    Status.DELETED: Verb.DELETE,
}


@dataclass(frozen=True)
class Usual:
    """A unit's own days, for those who say nothing."""

    available: int = MAX_DAYS_AVAILABLE
    expired: int = MAX_DAYS_EXPIRED


@dataclass(frozen=True)
class Decision:
    """A change that may be made: its rule, and the deadline it leads to."""

    rule: Rule
    deadline: datetime | None


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


def verb_to(new: Status, *, is_aborted: bool = False) -> Verb:
    """Return what the stock wire asks for when it names a new status."""
    return Verb.ABORT if is_aborted and new is Status.ARCHIVED else _LEADS_TO[new]


def find_rule(before: Status, verb: Verb) -> Rule:
    """Return the rule of the verb in this status; its guard is not asked.

    Raises:
        WrongStatus: the table has none.
    """
    rule = RULES.get((before, verb))
    if rule is not None:
        return rule
    if verb is Verb.EXTEND:
        raise WrongStatus(
            "You can only extend the deadline for a project that has the status 'Available'."
        )
    if before in FINAL:
        raise WrongStatus(f"Cannot change status for a project that has the status '{before}'.")
    raise WrongStatus(f"You cannot {verb} a project that has the current status '{before}'.")


def decide(
    past: Past, verb: Verb, now: datetime, days: object = None, usual: Usual | None = None
) -> Decision:
    """Return what comes of ``verb`` now.

    Args:
        past: the project so far.
        verb: what is to be done.
        now: aware.
        days: how long the new status lasts, as it was sent; ``None``: the unit's own.
        usual: the unit's own days.

    Raises:
        WrongStatus: not in this status, or not with this past.
        InvalidInput: ``days`` cannot be used.
        Conflict: too often.
    """
    rule = find_rule(past.status, verb)
    deadline = _deadline(rule.lasting, past, now, days, usual or Usual())
    if rule.guard is not None:
        rule.guard.require(past, verb)
    return Decision(rule, deadline)


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


def longer(left: int, days: object, *, default: int) -> int:
    """Return how many days a project is available if ``days`` are added to those left.

    Args:
        left: whole days until the deadline.
        days: how many more, as they were sent: a whole number from 1 to ``default``.
        default: the unit's days in available.

    Raises:
        InvalidInput: ``days`` cannot be used, or the sum is over 90.
    """
    if not isinstance(days, int) or isinstance(days, bool):
        raise InvalidInput("The deadline attribute passed should be of type Int (i.e a number).")
    if days <= 0:
        raise InvalidInput("The deadline needs to be a positive integer.")
    if days > default:
        raise InvalidInput(
            f"You requested the deadline to be extended {days} days. The number of days has to be "
            f"lower than the default deadline extension number of {default} days"
        )
    if left + days > MAX_DAYS_AVAILABLE:
        raise InvalidInput(
            f"You requested the deadline to be extended with {days} days (from {left}), giving a new "
            f"total deadline of {left + days} days. The new deadline needs to be less than "
            f"(or equal to) {MAX_DAYS_AVAILABLE} days."
        )
    return left + days


def days_left(now: datetime, deadline: datetime | None) -> int:
    """Return the whole days until ``deadline``, the end of a day; 0 when it has passed or there is none.

    Days are compared, not moments: a deadline's last second has fractions that are after it.
    """
    if deadline is None:
        return 0
    return max(0, (deadline.astimezone(UTC).date() - now.astimezone(UTC).date()).days)


def deadline_after(now: datetime, days: int) -> datetime:
    """Return the last second of the day (UTC) that is ``days`` days after today."""
    last_day = now.astimezone(UTC).date() + timedelta(days=days)
    return datetime.combine(last_day, time(23, 59, 59), tzinfo=UTC)


def _deadline(
    lasting: Lasting, past: Past, now: datetime, days: object, usual: Usual
) -> datetime | None:
    match lasting:
        case Lasting.NONE:
            return None
        case Lasting.KEPT:
            return past.deadline
        case Lasting.FIRST | Lasting.AVAILABLE:
            lasts = parse_days(days, default=usual.available, most=MAX_DAYS_AVAILABLE)
            runs_on = past.deadline is not None and past.deadline > now
            if lasting is Lasting.FIRST and runs_on:
                return past.deadline
            return deadline_after(now, lasts)
        case Lasting.LONGER:
            left = days_left(now, past.deadline)
            return deadline_after(now, longer(left, days, default=usual.available))
        case Lasting.EXPIRED:
            lasts = parse_days(days, default=usual.expired, most=MAX_DAYS_EXPIRED)
            return deadline_after(now, lasts)
        case _:
            assert_never(lasting)
