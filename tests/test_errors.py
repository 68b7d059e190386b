"""The tree of refusals: codes are stable and unique, facts stay facts."""

from __future__ import annotations

import inspect

import pytest

from ddsd import errors
from ddsd.errors import DdsError

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, DdsError) and kind.__module__ == errors.__name__
]


def test_every_kind_has_a_code_of_its_own() -> None:
    assert all("code" in vars(kind) for kind in KINDS)
    assert len({kind.code for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_code_is_a_name(kind: type[DdsError]) -> None:
    assert kind.code.replace("_", "").isalpha()
    assert kind.code == kind.code.lower()


def test_facts_travel_beside_the_message() -> None:
    busy = errors.Busy("wait", kind="send_mail", subject="1")
    assert (str(busy), busy.message, dict(busy.facts)) == (
        "wait",
        "wait",
        {"kind": "send_mail", "subject": "1"},
    )


def test_field_errors_are_readable_as_text() -> None:
    wrong = errors.InvalidFields({"title": ["too short", "too dull"], "pi": ["no address"]})
    assert wrong.message == "title: too short too dull; pi: no address"


def test_too_many_requests_says_for_how_long() -> None:
    assert errors.TooManyRequests("slow down", retry_after_s=60).facts == {"retry_after_s": 60}
