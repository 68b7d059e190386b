"""Names and addresses: what can be used, what is the same, what only looks the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsd.errors import InvalidInput
from ddsd.users import names

JOINER, NON_JOINER = "\u200d", "\u200c"
usernames = st.from_regex(r"[A-Za-z0-9_.-]{3,30}", fullmatch=True)


@pytest.mark.parametrize("name", ["eva", "E.va-Ek_2", "x" * 30, "..."])
def test_user_names_of_the_stock_system_can_be_used(name: str) -> None:
    assert names.username_misfits(name) == []


@pytest.mark.parametrize(
    "name",
    ["", "ev", "x" * 31, "e va", "eva\n", "\x00eva", "éva", "\u0435va", f"e{JOINER}va", "ｅｖａ"],
)
def test_other_user_names_cannot(name: str) -> None:
    assert names.username_misfits(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Karl", "kar1"), ("KarI", "karl"), ("root", "r00t"), ("Modern", "modem"), ("vvera", "wera")],
)
def test_look_alikes_fold_to_the_same(one: str, other: str) -> None:
    assert names.fold(one) == names.fold(other)


@pytest.mark.parametrize(
    ("one", "other"), [("eva.ek", "eva_ek"), ("eva", "ewa"), ("user10", "user11"), ("anna", "ana")]
)
def test_names_that_can_be_told_apart_do_not(one: str, other: str) -> None:
    assert names.fold(one) != names.fold(other)


@given(usernames)
def test_folding_is_the_same_in_any_case_and_when_done_twice_and_never_longer(name: str) -> None:
    folded = names.fold(name)
    assert folded == names.fold(name.upper()) == names.fold(name.lower()) == names.fold(folded)
    assert len(folded) <= len(name)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_numbered_names_stay_apart(one: int, other: int) -> None:
    assert (names.fold(f"user{one}") == names.fold(f"user{other}")) == (one == other)


@pytest.mark.parametrize(
    "name",
    [
        "Eva Ek",
        "Åsa Öberg-Lind",
        "李小龙",
        f"می{NON_JOINER}خواهم",
        f"क्{JOINER}ष",
        "O'Neill, Jr.",
        "x" * 255,
    ],
)
def test_people_may_be_called_as_they_are(name: str) -> None:
    assert names.name_misfits(name) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "E",
        "  E  ",
        "x" * 256,
        "E\x00va",
        "E\x1b[31mva",
        "Eva\u202egnp",
        "\u200bEva",
        f"E{JOINER}va",
        f"{JOINER}{JOINER}",
        f"{NON_JOINER}می",
        f"می{NON_JOINER}",
        "E\ud800va",
    ],
)
def test_nothing_invisible_is_part_of_a_name(name: str) -> None:
    assert names.name_misfits(name)


def test_a_name_is_kept_composed_with_single_spaces() -> None:
    assert names.shown("  A\u030asa \n  Ek ") == "Åsa Ek"


@given(st.text())
def test_what_is_kept_of_a_name_is_kept_the_same_again(name: str) -> None:
    assert names.shown(names.shown(name)) == names.shown(name)
    assert names.name_misfits(names.shown(name)) == names.name_misfits(name)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Eva@Example.ORG", "eva@example.org"),
        ("e\u0301va@example.org", "éva@example.org"),
        ("eva@EXÄMPLE.org", "eva@exämple.org"),
        ("eva@xn--exmple-cua.org", "eva@exämple.org"),
        ("eva@example。org", "eva@example.org"),
    ],
)
def test_every_spelling_of_an_address_is_kept_as_one(typed: str, kept: str) -> None:
    assert names.normal_email(typed) == kept


def test_what_follows_a_plus_makes_another_address() -> None:
    assert names.normal_email("Eva+Run7@example.org") == "eva+run7@example.org"


@pytest.mark.parametrize(
    "typed",
    [
        "eva",
        "eva@localhost",
        "Eva <eva@example.org>",
        " eva@example.org",
        "eva@example.org\nBcc: x@example.org",
        "e\x00va@example.org",
        f"e{JOINER}va@example.org",
        "\u202eeva@example.org",
        "ｅva@example.org",
        "ev\u0430@example.org",  # a Cyrillic a
        "eva@ex\u0430mple.org",
        "x" * 65 + "@example.org",
        "eva@" + "a." * 125 + "org",
        "\ud800@example.org",
    ],
)
def test_what_is_no_address_or_imitates_one_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput):
        names.normal_email(typed)


@given(st.text(min_size=1, max_size=70), st.sampled_from(["example.org", "EXÄMPLE.org", "日本.jp"]))
def test_a_kept_address_is_kept_the_same_again(local: str, domain: str) -> None:
    try:
        kept = names.normal_email(f"{local}@{domain}")
    except InvalidInput:
        return
    assert names.normal_email(kept) == kept
    assert unicodedata.is_normalized("NFC", kept)
    assert len(kept) <= names.LONGEST_EMAIL
