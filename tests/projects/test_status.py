"""The state machine, held against the wire contract's list and against a model of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ddsd.errors import Conflict, InvalidInput, WrongStatus
from ddsd.projects import diagram, status
from ddsd.projects.status import FINAL, RULES, Effect, Past, Status, Verb
from tests.builders import NOON

P, V, E, A, D = (
    Status.IN_PROGRESS,
    Status.AVAILABLE,
    Status.EXPIRED,
    Status.ARCHIVED,
    Status.DELETED,
)
# Wire contract, section 6, and the undo window, which is ours.
LEADS = {
    (P, Verb.RELEASE): V,
    (P, Verb.ARCHIVE): A,
    (P, Verb.ABORT): A,
    (P, Verb.DELETE): D,
    (V, Verb.RETRACT): P,
    (V, Verb.EXTEND): V,
    (V, Verb.EXPIRE): E,
    (V, Verb.ARCHIVE): A,
    (V, Verb.ABORT): A,
    (E, Verb.RELEASE): V,
    (E, Verb.ARCHIVE): A,
    (E, Verb.ABORT): A,
    (E, Verb.HIDE): A,
    (A, Verb.RESTORE): E,
    (A, Verb.PURGE): A,
}
PAIRS = [(before, verb) for before in Status for verb in Verb]
PAST = Past(P, data_kept=True)


@pytest.mark.parametrize(("before", "verb"), PAIRS)
def test_the_table_is_the_contracts(before: Status, verb: Verb) -> None:
    if (before, verb) in LEADS:
        assert status.find_rule(before, verb).to is LEADS[before, verb]
        return
    with pytest.raises(WrongStatus) as refused:
        status.find_rule(before, verb)
    if verb is Verb.EXTEND:
        said = "You can only extend the deadline for a project that has the status 'Available'."
    elif before in {A, D}:
        said = f"Cannot change status for a project that has the status '{before.value}'."
    else:
        said = f"You cannot {verb} a project that has the current status '{before.value}'."
    assert refused.value.message == said


def test_out_of_the_end_leads_only_what_is_within_the_undo_window() -> None:
    assert frozenset({A, D}) == FINAL
    out = [(before, verb) for before, verb in RULES if before in FINAL]
    assert out == [(A, Verb.RESTORE), (A, Verb.PURGE)]
    for before, verb in out:
        with pytest.raises(WrongStatus):
            status.decide(replace(PAST, status=before, data_kept=False), verb, NOON)


@pytest.mark.parametrize("verb", [Verb.ARCHIVE, Verb.DELETE])
def test_what_was_available_is_neither_archived_nor_deleted_in_progress(verb: Verb) -> None:
    released = replace(PAST, ever_available=True)
    with pytest.raises(WrongStatus) as refused:
        status.decide(released, verb, NOON)
    assert refused.value.message == (
        f"You cannot {verb} a project that has been made available previously. "
        "Please abort the project if you wish to proceed."
    )
    assert status.decide(released, Verb.ABORT, NOON).rule.to is A


@pytest.mark.parametrize("times", range(5))
def test_a_project_is_released_until_its_third_expiry_and_extended_until_its_second(
    times: int,
) -> None:
    expired = Past(E, ever_available=True, times_expired=times)
    available = Past(V, ever_available=True, times_expired=times, deadline=NOON)
    for past, verb, most, said in (
        (expired, Verb.RELEASE, 3, "Project cannot be made Available any more times"),
        (
            available,
            Verb.EXTEND,
            2,
            "The maximum number of changes in data availability has been reached.",
        ),
    ):
        if times < most:
            assert status.decide(past, verb, NOON, 5).rule.to is V
            continue
        with pytest.raises(Conflict) as refused:
            status.decide(past, verb, NOON, 5)
        assert refused.value.message == f"Project availability limit: {said}"


@pytest.mark.parametrize("text", ["", None, 0, False, [], {}])
def test_no_status_is_said_to_be_none(text: object) -> None:
    with pytest.raises(InvalidInput, match="No status transition provided"):
        status.parse(text)


@given(st.one_of(st.text(min_size=1), st.integers(min_value=1), st.lists(st.text(), min_size=1)))
def test_whatever_is_no_status_is_invalid(text: object) -> None:
    if text in {one.value for one in Status} if isinstance(text, str) else False:
        return
    with pytest.raises(InvalidInput, match="Invalid status"):
        status.parse(text)


@given(st.integers(), st.integers(min_value=1, max_value=90))
def test_days_are_taken_within_bounds_only(days: int, most: int) -> None:
    if 1 <= days <= most:
        assert status.parse_days(days, default=7, most=most) == days
    else:
        with pytest.raises(InvalidInput):
            status.parse_days(days, default=7, most=most)


def test_no_days_are_the_default_ones_even_beyond_the_bound() -> None:
    assert status.parse_days(None, default=120, most=90) == 120


# Wire contract, section 6: left, asked for, the unit's default, what is said.
EXTENSIONS = [
    (10, 5, 90, ""),
    (0, 90, 90, ""),
    (10, 80, 90, ""),
    (10, "5", 90, "The deadline attribute passed should be of type Int (i.e a number)."),
    (10, 1.5, 90, "The deadline attribute passed should be of type Int (i.e a number)."),
    (10, True, 90, "The deadline attribute passed should be of type Int (i.e a number)."),
    (10, 0, 90, "The deadline needs to be a positive integer."),
    (10, -1, 90, "The deadline needs to be a positive integer."),
    (
        10,
        91,
        90,
        "You requested the deadline to be extended 91 days. The number of days has to be lower than the default "
        "deadline extension number of 90 days",
    ),
    (
        10,
        31,
        30,
        "You requested the deadline to be extended 31 days. The number of days has to be lower than the default "
        "deadline extension number of 30 days",
    ),
    (
        10,
        85,
        90,
        "You requested the deadline to be extended with 85 days (from 10), giving a new total deadline of 95 days. "
        "The new deadline needs to be less than (or equal to) 90 days.",
    ),
]


@pytest.mark.parametrize(("left", "days", "default", "said"), EXTENSIONS)
def test_an_extension_stays_within_the_contracts_bounds(
    left: int, days: object, default: int, said: str
) -> None:
    if not said:
        assert isinstance(days, int)
        assert status.longer(left, days, default=default) == left + days
        return
    with pytest.raises(InvalidInput) as refused:
        status.longer(left, days, default=default)
    assert refused.value.message == said


MOMENTS = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.integers(min_value=-12, max_value=14).map(lambda h: timezone(timedelta(hours=h))),
)


@given(MOMENTS, st.integers(min_value=1, max_value=90))
def test_a_deadline_is_the_last_second_of_a_day_in_utc(now: datetime, days: int) -> None:
    deadline = status.deadline_after(now, days)
    assert deadline.utcoffset() == timedelta(0)
    assert (deadline.hour, deadline.minute, deadline.second) == (23, 59, 59)
    assert (deadline.date() - now.astimezone(UTC).date()).days == days
    assert timedelta(days=days) <= deadline - now + timedelta(seconds=1)
    assert deadline - now < timedelta(days=days + 1)


@given(MOMENTS, st.integers(min_value=1, max_value=80), st.integers(min_value=1, max_value=10))
def test_an_extension_adds_whole_days_to_the_deadline(now: datetime, days: int, more: int) -> None:
    deadline = status.deadline_after(now, days)
    past = Past(V, ever_available=True, deadline=deadline)
    longer = status.decide(past, Verb.EXTEND, now, more).deadline
    assert longer == deadline + timedelta(days=more)


def test_a_deadline_that_has_passed_leaves_no_days() -> None:
    assert status.days_left(NOON, NOON - timedelta(days=3)) == 0
    assert status.days_left(NOON, None) == 0


def test_a_leap_day_is_a_day() -> None:
    now = datetime(2028, 2, 28, 12, tzinfo=UTC)
    assert status.deadline_after(now, 1).date() == date(2028, 2, 29)
    assert status.deadline_after(now, 2).date() == date(2028, 3, 1)


class Walk(RuleBasedStateMachine):
    """Any way through the table, against what the contract says of a project's life in prose."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.past = Past(P)
        self.history = [P]
        self.expiries = 0

    @rule(hours=st.integers(min_value=0, max_value=24 * 40))
    def let_pass(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(verb=st.sampled_from(Verb), days=st.integers(min_value=1, max_value=30))
    def attempt(self, verb: Verb, days: int) -> None:
        may = (self.past.status, verb) in LEADS and not self.guarded(verb)
        try:
            decided = status.decide(self.past, verb, self.now, days)
        except InvalidInput:
            assert verb is Verb.EXTEND
            assert status.days_left(self.now, self.past.deadline) + days > 90
            return
        except Conflict:
            assert not may
            return
        assert may
        self.enter(verb, decided)

    def guarded(self, verb: Verb) -> bool:
        """Say whether the past stands in the way."""
        released = V in self.history
        match verb:
            case Verb.DELETE:
                return released
            case Verb.ARCHIVE:
                return released and self.past.status is P
            case Verb.EXTEND:
                return self.expiries >= 2
            case Verb.RELEASE:
                return self.past.status is E and self.expiries >= 3
            case Verb.RESTORE | Verb.PURGE:
                return not self.past.data_kept
            case _:
                return False

    def enter(self, verb: Verb, decided: status.Decision) -> None:
        after = decided.rule.to
        self.expiries += verb in {Verb.EXPIRE, Verb.EXTEND}
        self.history.append(after)
        self.past = Past(
            status=after,
            ever_available=self.past.ever_available or after is V,
            times_expired=self.past.times_expired + (Effect.USES_ONE_UP in decided.rule.effects),
            deadline=decided.deadline,
            data_kept=verb is Verb.HIDE,
        )

    @invariant()
    def a_deadline_is_where_one_is_due_and_no_further_than_ninety_days(self) -> None:
        deadline = self.past.deadline
        assert (deadline is not None) == (
            self.past.status in {V, E} or (self.past.status is P and V in self.history)
        )
        assert deadline is None or deadline < self.now + timedelta(days=91)

    @invariant()
    def nobody_is_released_a_fifth_time_from_expiry(self) -> None:
        assert self.past.times_expired == self.expiries <= 3 + (self.past.status is E)


test_any_walk_follows_the_contract = Walk.TestCase


@pytest.mark.parametrize("new", Status)
def test_the_stock_wire_names_where_it_leads(new: Status) -> None:
    verbs = {P: "retract", V: "release", E: "expire", A: "archive", D: "delete"}
    assert status.verb_to(new) == verbs[new]
    assert status.verb_to(new, is_aborted=True) == ("abort" if new is A else verbs[new])


def test_the_documentation_has_the_table_as_it_is() -> None:
    page = Path(__file__).parents[2] / "docs/lifecycle.md"
    text = page.read_text(encoding="utf-8")
    begin, end = text.index(diagram.BEGIN), text.index(diagram.END) + len(diagram.END)
    assert text[begin:end] == diagram.section(), "run: python -m ddsd.projects.diagram"
