"""What other users of the machine see of the state directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.process import Daemon, Place


@pytest.fixture(autouse=True)
def careless_umask() -> Iterator[None]:
    """Start programs as a shell usually does."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(directory: Path) -> list[str]:
    """Return the names of files and directories that others could read or write, if they could get there."""
    modes = {path: path.lstat().st_mode for path in [directory, *directory.rglob("*")]}
    return sorted(
        f"{path.name} {stat.filemode(mode)}"
        for path, mode in modes.items()
        if mode & 0o006 and not stat.S_ISLNK(mode)
    )


def test_nothing_in_the_state_directory_is_for_others(
    place: Place, start: Callable[..., Daemon]
) -> None:
    state = place.directory / "fresh"
    fresh = {
        "DDSD_INSTANCE__STATE_DIR": str(state),
        "DDSD_STORE__KIND": "embedded",
        "DDSD_STORE__ENDPOINT": "",
    }
    assert place.run("migrate", config=True, **fresh).returncode == 0
    start(**fresh).ready()
    assert {path.name for path in state.iterdir()} >= {"ddsd.sqlite3", "ddsd.sqlite3-wal", "store"}
    assert open_to_others(state) == []
