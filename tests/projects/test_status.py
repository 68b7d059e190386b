"""The state machine, held against the wire contract's list and against a model of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ddsd.errors import InvalidInput, WrongStatus
from ddsd.projects import status
from ddsd.projects.status import FINAL, TRANSITIONS, Status

P, V, E, A, D = (
    Status.IN_PROGRESS,
    Status.AVAILABLE,
    Status.EXPIRED,
    Status.ARCHIVED,
    Status.DELETED,
)
# Wire contract, section 6.
ALLOWED = {
    (P, V): "release",
    (P, D): "delete",
    (P, A): "archive",
    (V, P): "retract",
    (V, E): "expire",
    (V, A): "archive",
    (E, V): "release",
    (E, A): "archive",
}
PAIRS = [(before, after) for before in Status for after in Status]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_the_table_is_the_contracts(before: Status, after: Status) -> None:
    if (before, after) in ALLOWED:
        assert status.check_transition(before, after).verb == ALLOWED[before, after]
        return
    with pytest.raises(WrongStatus) as refused:
        status.check_transition(before, after)
    verbs = {P: "retract", V: "release", E: "expire", A: "archive", D: "delete"}
    if before in {A, D}:
        said = f"Cannot change status for a project that has the status '{before.value}'."
    else:
        said = f"You cannot {verbs[after]} a project that has the current status '{before.value}'."
    assert refused.value.message == said


def test_nothing_leads_out_of_the_end() -> None:
    assert frozenset({A, D}) == FINAL
    assert not [before for before, _ in TRANSITIONS if before in FINAL]


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


def test_a_leap_day_is_a_day() -> None:
    now = datetime(2028, 2, 28, 12, tzinfo=UTC)
    assert status.deadline_after(now, 1).date() == date(2028, 2, 29)
    assert status.deadline_after(now, 2).date() == date(2028, 3, 1)


class Walk(RuleBasedStateMachine):
    """Any way through the table, against the contract's list."""

    def __init__(self) -> None:
        super().__init__()
        self.now = P

    @rule(after=st.sampled_from(Status))
    def try_to_enter(self, after: Status) -> None:
        try:
            status.check_transition(self.now, after)
        except WrongStatus:
            assert (self.now, after) not in ALLOWED
        else:
            assert (self.now, after) in ALLOWED
            self.now = after

    @invariant()
    def the_end_is_the_end(self) -> None:
        if self.now in FINAL:
            for after in Status:
                with pytest.raises(WrongStatus):
                    status.check_transition(self.now, after)


test_any_walk_follows_the_contract = Walk.TestCase
