"""What may be said of a project. Pure."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsd.projects import fields


@pytest.mark.parametrize("title", ["A title", "(x)_9", "Ünïcode 中文", "tab\there"])
def test_titles_are_letters_digits_blanks_and_brackets(title: str) -> None:
    assert fields.check_title(title) == []


@pytest.mark.parametrize(
    ("title", "strange"),
    [("a!", "The character '!'"), ("a!?", "The character '!?'"), ("a! b? c!", "The characters '! ?'"),
     ("a\nb", "The character '\n'"), ("a.b,c", "The characters '. ,'"), ("😀", "The character '😀'")],
)  # fmt: skip
def test_runs_of_other_characters_are_named_once_each(title: str, strange: str) -> None:
    [said] = fields.check_title(title)
    verb = "are" if "characters" in strange else "is"
    assert said == f"{strange} within '[italic]{title}[/italic]' {verb} not allowed."


@given(st.text(max_size=50))
def test_an_accepted_title_holds_nothing_strange(title: str) -> None:
    if not fields.check_title(title):
        assert re.fullmatch(r"[\w\s()]+", title)
        assert len(title.splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["Mail x@y.org, 5 °C – “so” ½ № ℃ ™ →", "two\nlines\tand tab", "日本"]
)
def test_descriptions_are_any_text(text: str) -> None:
    assert fields.check_description(text) == []


@pytest.mark.parametrize(
    ("text", "named"), [("a😀b", "😀"), ("🇸🇪", "🇸🇪"), ("✂ and 🧬", "✂🧬"), ("a\x07", "\x07")]
)
def test_descriptions_hold_no_emoji_and_no_controls(text: str, named: str) -> None:
    assert fields.check_description(text) == [f"This input is not allowed: {named}"]


@pytest.mark.parametrize("pi", ["a@b.org", "first.last+tag@sub.example.org", "å@exämple.org"])
def test_a_principal_investigator_is_an_address(pi: str) -> None:
    assert fields.check_pi(pi) == []


@pytest.mark.parametrize(
    "pi", ["", " ", "a", "a@", "@b.org", "a@b", "a b@c.org", "a@b.org, c@d.org"]
)
def test_anything_else_is_none(pi: str) -> None:
    assert fields.check_pi(pi) == ["The PI email is invalid."]


@given(st.text(max_size=300))
def test_any_text_is_answered(text: str) -> None:
    for check in (fields.check_title, fields.check_description, fields.check_pi):
        assert all(isinstance(said, str) for said in check(text))
