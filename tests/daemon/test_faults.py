"""What goes wrong around a running daemon: each is one clear message or a 503, and nothing is damaged."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from ddsd import bootstrap
from ddsd.errors import ConfigurationError
from ddsd.settings import Settings, read_secret
from tests.ctl.conftest import Ctl
from tests.ctl.test_commands import CREATE_GENOMICS
from tests.daemon.process import REPOSITORY, Daemon, Place, wait_until
from tests.daemon.test_serve import as_root, nobody
from tests.parts import absent

Start = Callable[..., Daemon]
ODD = "tests.daemon.odd_planes"


class SmallDisk:
    """A daemon whose state is on a disk of its own, in a namespace of its own."""

    def __init__(self, place: Place, *, read_only: bool, size: str = "4m") -> None:
        state = place.database.parent
        kept = state.with_name("kept")
        state.rename(kept)
        state.mkdir()
        here = shlex.quote(str(state))
        serve = shlex.join([sys.executable, "-m", "ddsd", "serve", "--config", str(place.config)])
        steps = (
            f"mount -t tmpfs -o size={size} tmpfs {here}",
            f"cp -a {shlex.quote(str(kept))}/. {here}",
            f"mount -o remount,ro {here}" if read_only else "true",
            f"exec {serve}",
        )
        with (place.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-ec", " && ".join(steps)],
                cwd=REPOSITORY,
                env={k: v for k, v in os.environ.items() if not k.startswith("DDSD_")},
                stderr=log,
            )
        self.daemon = Daemon(place, process)
        self._state = state

    @property
    def filler(self) -> Path:
        """A file on that disk, as seen from outside."""
        return Path(f"/proc/{self.daemon.process.pid}/root{self._state}/filler")

    def objects(self) -> int:
        """Count the files of the embedded store, finished or not."""
        objects = self.filler.parent / "store" / "objects"
        return sum(one.is_file() for one in objects.rglob("*"))

    def fill(self) -> None:
        with self.filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)


def can_mount() -> bool:
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        check=False,
        capture_output=True,
    )
    return os.getuid() == 0 and tried.returncode == 0


@pytest.fixture
def small_disk(place: Place) -> Iterator[Callable[..., SmallDisk]]:
    if not can_mount():
        absent("a small disk", "only root may mount one")
    begun: list[SmallDisk] = []

    def begin(*, read_only: bool = False) -> SmallDisk:
        begun.append(SmallDisk(place, read_only=read_only))
        return begun[-1]

    yield begin
    for disk in begun:
        disk.daemon.process.kill()
        disk.daemon.process.wait()


def test_a_full_disk_is_said_and_mended_without_a_restart(
    small_disk: Callable[..., SmallDisk], place: Place
) -> None:
    disk = small_disk()
    daemon = disk.daemon.ready()
    disk.fill()
    refused = Ctl(place.socket)(*CREATE_GENOMICS)
    assert refused.code == 69, refused.err
    assert "disk" in refused.err
    with daemon.public() as public:
        asked = public.get("/api/v1/user/encrypted_token", auth=("nobody", "Wrong-horse-1"))
        assert asked.status_code in {
            400,
            403,
            503,
        }  # without a version it is refused before anything is counted
        asked = public.get(
            "/api/v1/user/encrypted_token",
            auth=("nobody", "Wrong-horse-1"),
            headers={"X-CLI-Version": "2.15.1"},
        )
        assert asked.status_code == 503
        assert public.get("/status").status_code == 200
    disk.filler.unlink()
    made = Ctl(place.socket)(*CREATE_GENOMICS)
    assert made.code == 0, made.err
    assert "Traceback" not in daemon.log
    daemon.tell(signal.SIGTERM)
    assert daemon.exit_code() == 0


def test_a_disk_that_cannot_be_written_to_is_named_at_the_start(
    small_disk: Callable[..., SmallDisk], place: Place
) -> None:
    daemon = small_disk(read_only=True).daemon
    assert daemon.exit_code() in {1, 78}
    assert "instance.state_dir" in daemon.log
    assert "Traceback" not in daemon.log


def test_a_configuration_that_was_cut_off_is_named_and_nothing_is_started(place: Place) -> None:
    place.config.write_text(place.config.read_text()[:-20])
    refused = place.run("serve")
    assert refused.returncode == 78
    assert str(place.config) in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not place.socket.exists()


@as_root
def test_a_secret_of_somebody_else_is_named_with_the_cure() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        key = Path(directory) / "instance.key"
        key.touch(0o600)
        with nobody(), pytest.raises(ConfigurationError, match="group be the daemon's, with mode"):
            read_secret("instance.key_file", key, {})


@as_root
def test_a_state_directory_of_somebody_else_is_named_with_the_cure() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        settings = Settings.model_validate({"instance": {"state_dir": directory, "demo": True}})
        cure = f"instance.state_dir: {directory} may not be written to by nobody.*chown -R nobody"
        with nobody(), pytest.raises(ConfigurationError, match=cure):
            bootstrap.check(settings)


def test_a_daemon_that_is_stopping_is_away_for_new_calls_and_finishes_what_runs(
    place: Place, start: Start
) -> None:
    daemon = start(ODD).ready()
    with daemon.admin() as admin, ThreadPoolExecutor(1) as thread:
        pending = thread.submit(admin.get, "/slow")
        wait_until(lambda: bool(daemon.events("slow.begun")), "the slow request")
        daemon.tell(signal.SIGTERM)
        wait_until(lambda: bool(daemon.events("daemon.draining")), "the drain")
        told = []

        def is_away() -> bool:
            """Say whether it listens no more: until then a call may be served, or taken and broken off."""
            refused = Ctl(place.socket)("status")
            told.append(refused.code)
            return "still starting or stopping" in refused.err

        wait_until(is_away, "the socket to be closed")
        assert set(told) <= {0, 69}
        assert told[-1] == 69
        assert pending.result().json() == {"answer": "at last"}
    assert daemon.exit_code() == 0


def test_a_daemon_that_is_starting_is_away_and_never_half_there(place: Place, start: Start) -> None:
    daemon = start()
    codes = set()
    while not daemon.events("daemon.ready"):
        codes.add(Ctl(place.socket)("status").code)
        assert daemon.process.poll() is None, daemon.log
    assert codes <= {0, 69}
    assert Ctl(place.socket)("status").code == 0


def test_a_storm_of_hangups_loses_no_request(start: Start) -> None:
    daemon = start().ready()
    with daemon.public() as public, ThreadPoolExecutor(4) as threads:
        answers = threads.map(lambda _: public.get("/status").status_code, range(100))
        for _ in range(100):
            daemon.tell(signal.SIGHUP)
        assert set(answers) == {200}
    daemon.tell(signal.SIGTERM)
    daemon.tell(signal.SIGHUP)
    assert daemon.exit_code() == 0
    assert "Traceback" not in daemon.log


def test_a_hangup_that_comes_before_it_listens_for_it_does_not_end_it(start: Start) -> None:
    daemon = start()
    status = Path(f"/proc/{daemon.process.pid}/status")

    def is_deaf() -> bool:
        ignored = status.read_text().partition("SigIgn:\t")[2].split()[0]
        return bool(int(ignored, 16) & 1 << (signal.SIGHUP - 1))

    wait_until(is_deaf, "it to be deaf to hangups")
    while not daemon.events("daemon.ready"):
        daemon.tell(signal.SIGHUP)
        assert daemon.process.poll() is None
    daemon.tell(signal.SIGTERM)
    assert daemon.exit_code() == 0


def test_a_daemon_without_a_descriptor_left_is_away_until_there_are_some(
    place: Place, start: Start
) -> None:
    daemon = start().ready()
    most = len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir())) + 8
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as strangers:
        for _ in range(30):
            strangers.enter_context(socket.create_connection(("127.0.0.1", place.port)))
        refused = Ctl(place.socket)("status")
        assert refused.code == 69, refused.out
        lines = len(daemon.log.splitlines())
    wait_until(lambda: Ctl(place.socket)("status").code == 0, "it to recover")
    assert lines < 100
    daemon.tell(signal.SIGTERM)
    assert daemon.exit_code() == 0
    assert "Traceback" not in daemon.log
