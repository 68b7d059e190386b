"""On which days people are reminded."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from ddsd.errors import InvalidInput
from ddsd.notices import steps

DEADLINE = date(2026, 5, 31)
USUAL = (14, 7, 1)


def before(days: int) -> date:
    return DEADLINE - timedelta(days=days)


@pytest.mark.parametrize(
    ("set_before", "today_before", "due"),
    [
        (90, 15, None),
        (90, 14, 14),
        (90, 13, 14),
        (90, 7, 7),
        (90, 2, 7),
        (90, 1, 1),
        (90, 0, 1),
        (14, 14, None),  # told at the release, that day
        (14, 13, None),
        (14, 7, 7),
        (10, 8, None),
        (10, 5, 7),
        (1, 1, None),
        (1, 0, None),
        (2, 0, 1),
    ],
)
def test_the_most_urgent_step_whose_day_has_come_since_the_release(
    set_before: int, today_before: int, due: int | None
) -> None:
    found = steps.most_urgent(
        USUAL, today=before(today_before), set_on=before(set_before), deadline_day=DEADLINE
    )
    assert found == due


def test_without_days_nothing_is_ever_due() -> None:
    assert steps.most_urgent((), today=DEADLINE, set_on=before(90), deadline_day=DEADLINE) is None


@pytest.mark.parametrize(
    ("text", "days"),
    [("14,7,1", (14, 7, 1)), (" 1, 7 ,7", (7, 1)), ("", ()), ("  ", ()), ("90", (90,))],
)
def test_days_are_read_and_written(text: str, days: tuple[int, ...]) -> None:
    assert steps.parse(text) == days
    assert steps.parse(steps.write(days)) == days


@pytest.mark.parametrize("text", ["0", "91", "-1", "1,,2", "a", "7;1", "1.5", "٧", "9" * 5000])
def test_what_are_no_days_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        steps.parse(text)


@pytest.mark.parametrize(("left", "words"), [(0, "today"), (1, "tomorrow"), (7, "in 7 days")])
def test_how_far_away_it_is_is_said_in_words(left: int, words: str) -> None:
    assert steps.in_words(left) == words
