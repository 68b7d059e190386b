"""The admin socket of a real daemon, as other users of the machine meet it: the file's mode first, then the daemon."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from grp import getgrnam
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.daemon.conftest import write_config
from tests.daemon.process import Daemon, Place

pytestmark = pytest.mark.skipif(
    os.getuid() != 0, reason="needs root, to become other users of this machine"
)

GROUP = "daemon"
NOBODY = pwd.getpwnam("nobody")
# Run by another user, who can read neither this checkout nor its environment: standard library only.
TRY = """
import json, os, socket, sys
def tried(what):
    try:
        return what()
    except OSError as wrong:
        return type(wrong).__name__
def asked():
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
    s.sendall(b"GET /1/units HTTP/1.1\\r\\nHost: ddsd\\r\\nConnection: close\\r\\n\\r\\n")
    return s.recv(64).split()[1].decode()
place = sys.argv[2]
print(json.dumps({
    "asks": tried(asked),
    "removes it": tried(lambda: os.unlink(sys.argv[1])),
    "puts another beside it": tried(lambda: open(os.path.dirname(sys.argv[1]) + "/x", "w").name),
    "reads the key": tried(lambda: open(place + "/instance.key").name),
    "reads the database": tried(lambda: open(place + "/state/ddsd.sqlite3").name),
    "reads the state": tried(lambda: os.listdir(place + "/state")),
    "signals it": tried(lambda: os.kill(int(sys.argv[3]), 15)),
}))
"""
REFUSED = {
    "removes it": "PermissionError",
    "puts another beside it": "PermissionError",
    "reads the key": "PermissionError",
    "reads the database": "PermissionError",
    "reads the state": "PermissionError",
    "signals it": "PermissionError",
}


@pytest.fixture
def daemon(furnished: Path) -> Iterator[Daemon]:
    """A daemon whose directory everybody may enter; pytest's own are closed."""
    with TemporaryDirectory(prefix="ddsd-socket-") as directory:
        Path(directory).chmod(0o755)
        place = Place(Path(directory) / "ddsd")
        shutil.copytree(furnished, place.directory)
        place.directory.chmod(0o755)
        write_config(place)
        running = place.start(DDSD_LISTEN__ADMIN_GROUP=GROUP)
        try:
            yield running.ready()
        finally:
            running.process.kill()
            running.process.wait()


def tries(daemon: Daemon, *groups: int) -> dict[str, str]:
    """Return what came of everything that a user in these groups may try."""
    place = daemon.place
    ended = subprocess.run(
        [
            "/usr/bin/env",
            "python3",
            "-c",
            TRY,
            place.socket,
            place.directory,
            str(daemon.process.pid),
        ],
        user=NOBODY.pw_uid,
        group=NOBODY.pw_gid,
        extra_groups=groups,
        capture_output=True,
        check=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
    )
    told: dict[str, str] = json.loads(ended.stdout)
    return told


def test_a_user_outside_the_admin_group_does_not_even_come_to_the_daemon(daemon: Daemon) -> None:
    assert tries(daemon) == {"asks": "PermissionError"} | REFUSED
    assert daemon.process.poll() is None


def test_a_member_of_the_admin_group_asks_and_gets_at_nothing_else(daemon: Daemon) -> None:
    assert tries(daemon, getgrnam(GROUP).gr_gid) == {"asks": "200"} | REFUSED
    with daemon.admin() as admin:
        assert admin.get("/1/status").status_code == 200
