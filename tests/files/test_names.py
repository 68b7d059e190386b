"""Which names of files are refused, and how a name leads to its folders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsd.files.names import check_key, check_name, folder_of, normal_folder, with_ancestors

GOOD = [
    "a",
    "a/b/c.txt",
    ".hidden/…",
    "..a/b..",
    "a b/ c",
    "100%_[x]*?.txt",
    "é",
    "e\u0301",
    "😀",
    "-rf",
    "x" * 255,
    "ä" * 127,
    "/".join(["d" * 255] * 8)[:2048],
    "/".join(["d"] * 128),
]
BAD = [
    "",
    "/",
    "/etc/passwd",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "../a",
    "./a",
    "a/.",
    "C:\\x",
    "a\\b",
    "a\x00",
    "a\nb",
    "a\x7f",
    "a\x9b1m",
    "\ud800",
    "x" * 256,
    "ä" * 128,
    "x" * 300 + "/y",
    "/".join(["d" * 200] * 11),
    "/".join(["d"] * 129),
]


@pytest.mark.parametrize("name", GOOD)
def test_a_relative_path_is_a_name(name: str) -> None:
    assert check_name(name) == []


@pytest.mark.parametrize("name", BAD)
def test_a_path_that_leads_elsewhere_or_cannot_be_stored_is_no_name(name: str) -> None:
    assert check_name(name) != []


@pytest.mark.parametrize(
    "key", ["", "/a", "a//b", "a/../b", "a\\b", "a\n", "\ud800", "k" * 1025, "ä" * 513]
)
def test_a_key_that_is_no_printable_relative_path_is_refused(key: str) -> None:
    assert check_key(key) != []


@pytest.mark.parametrize(
    ("asked", "folder"),
    [(None, "."), ("", "."), (".", "."), ("/", "."), ("./", "."), ("a/", "a"), ("./a/b//", "a/b")],
)
def test_a_folder_may_be_spelled_in_several_ways(asked: str | None, folder: str) -> None:
    assert normal_folder(asked) == folder


@given(st.lists(st.text("ab%_.é", min_size=1, max_size=4), min_size=1, max_size=6).map("/".join))
def test_what_is_accepted_is_below_each_of_its_folders(name: str) -> None:
    if check_name(name):
        return
    chain = with_ancestors(folder_of(name))
    assert chain[0] == "."
    assert chain[-1] == folder_of(name)
    assert all(name.startswith(f"{folder}/") for folder in chain[1:])
    assert len(chain) == len(name.split("/"))
