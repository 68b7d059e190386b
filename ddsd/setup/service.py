"""The daemon while it is being set up: run by systemd where that is there, else for the moment by us.

Invariant: what acts as the daemon runs as its user, so that what that user may not read or write is found out now.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

from ddsd.listeners import answers
from ddsd.settings import DEFAULT_PATH, Settings
from ddsd.setup.files import Account, data_places

UNIT: Final = "ddsd.service"
_OWN: Final = Path("/var/lib/ddsd")
"""Where the units may write: their StateDirectory."""
_DROP_INS: Final = tuple(
    Path(f"/etc/systemd/system/{unit}.d/setup.conf")
    for unit in (UNIT, "ddsd@.service", "ddsd-migrate.service")
)
_READY_S: Final = 60.0
_DDSD: Final = (
    sys.executable,
    "-P",
    "-m",
    "ddsd",
)  # -P: nothing is imported from where we happen to be


class Runs(StrEnum):
    """Who has the daemon running after the setup."""

    BY_SYSTEMD = "systemd"
    ALREADY = "already"
    NOT = "not"


class ServiceFailed(Exception):
    """A part of the daemon's own program failed; the message is what it said."""


def as_daemon(account: Account, variables: Mapping[str, str], *words: str) -> str:
    """Run ``ddsd WORDS`` as the daemon's user, with these variables, too; return what it printed.

    Raises:
        ServiceFailed: it exited with another status than 0.
    """
    ended = subprocess.run(
        [*_DDSD, *words],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | variables,
        cwd="/",
        user=account.other_uid,
        group=account.other_gid,
        extra_groups=account.other_groups,
    )
    if ended.returncode != 0:
        raise ServiceFailed(
            ended.stderr.strip() or f"ddsd {words[0]} exited with {ended.returncode}"
        )
    return ended.stdout.strip()


@contextmanager
def serving(
    config: Path, socket: Path, account: Account, variables: Mapping[str, str]
) -> Iterator[Runs]:
    """Have a daemon on ``socket`` while the block runs; yields whether one will be there afterwards.

    Raises:
        ServiceFailed: it does not start.
    """
    if is_the_units(config):
        _systemctl("enable", "--quiet", UNIT)
        _systemctl("restart", UNIT)
        yield Runs.BY_SYSTEMD
    elif answers(socket):
        yield Runs.ALREADY
    else:
        with (
            tempfile.TemporaryFile("w+") as log,
            _started(config, account, variables, log) as process,
        ):
            _wait_until_answered(socket, process, log)
            yield Runs.NOT


def is_the_units(config: Path) -> bool:
    """Say whether the configuration is the one that the daemon's unit reads, and we may tell systemd to start it."""
    if os.getuid() or config != DEFAULT_PATH:
        return False
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
        return False
    known = subprocess.run(["systemctl", "cat", UNIT], check=False, capture_output=True)
    return known.returncode == 0


def let_write(config: Path, settings: Settings) -> list[Path]:
    """Let the units write where the data is to be, if that is not in their own directory; return what was changed.

    Raises:
        ServiceFailed: a file cannot be written.
    """
    if not is_the_units(config):
        return []
    places = [one for one in data_places(settings) if not one.is_relative_to(_OWN)]
    lines = [f'ReadWritePaths="-{_quoted(place)}"' for place in places]
    text = "\n".join(["# Written by ddsctl setup.", "[Service]", *lines, ""]) if lines else ""
    try:
        changed = [one for one in _DROP_INS if _put(one, text)]
    except OSError as wrong:
        raise ServiceFailed(f"{wrong.filename} cannot be written: {wrong.strerror}") from wrong
    if changed:
        _systemctl("daemon-reload")
    return changed


def _quoted(place: Path) -> str:
    """Write a path as systemd.syntax(7) and the specifiers of systemd.unit(5) want it."""
    return str(place).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _put(file: Path, text: str) -> bool:
    """Let a file hold the text, or be gone if that is empty; return whether it was changed."""
    if (file.read_text(encoding="utf-8") if file.exists() else "") == text:
        return False
    if text:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    else:
        file.unlink()
    return True


def _systemctl(*words: str) -> None:
    ended = subprocess.run(["systemctl", *words], check=False, capture_output=True, text=True)
    if ended.returncode != 0:
        raise ServiceFailed(f"systemctl {' '.join(words)} failed: {ended.stderr.strip()}")


@contextmanager
def _started(
    config: Path, account: Account, variables: Mapping[str, str], log: IO[str]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*_DDSD, "serve", "--config", str(config)],
        stdout=log,
        stderr=log,
        env=os.environ | variables,
        cwd="/",
        user=account.other_uid,
        group=account.other_gid,
        extra_groups=account.other_groups,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _wait_until_answered(socket: Path, process: subprocess.Popen[bytes], log: IO[str]) -> None:
    give_up = time.monotonic() + _READY_S
    while not answers(socket):
        if process.poll() is not None or time.monotonic() > give_up:
            log.seek(0)
            raise ServiceFailed(f"the daemon does not start: {log.read().strip()}")
        time.sleep(0.05)
