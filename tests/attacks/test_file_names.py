"""File names that would leave the folder they are downloaded to, on any system a client runs on."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsd.files.names import check_name

PIECES = st.sampled_from([*"/\\:.~C% ", "..", "C:", "\u2025", "\uff0e\uff0e", "\uff0f", "a"])
NAMES = st.lists(PIECES, min_size=1, max_size=8).map("".join)


def leaves(folder: PurePath, name: str) -> bool:
    """Say whether a path joined piece by piece, as clients do, is no longer below the folder."""
    joined = folder.joinpath(*name.split("/"))
    return folder not in joined.parents or ".." in joined.parts


@pytest.mark.parametrize("system", [PurePosixPath, PureWindowsPath])
@given(name=NAMES)
def test_a_name_that_is_taken_stays_in_its_folder(system: type[PurePath], name: str) -> None:
    if not check_name(name):
        assert not leaves(system("downloads"), name)


@pytest.mark.parametrize("name", ["C:x", "c:", "reads/C:x", "reads/C:"])
def test_a_name_that_begins_like_a_drive_is_refused(name: str) -> None:
    assert check_name(name)


@pytest.mark.parametrize("name", ["12:30.txt", "run:1/ab:c.fastq", "a.b:c"])
def test_a_colon_elsewhere_is_taken(name: str) -> None:
    assert check_name(name) == []
