"""``ddsd demo`` as a process: what a newcomer runs first."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.instance import running_demo
from tests.parts.ports import free_port

pytestmark = pytest.mark.slow


def demo(*options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end."""
    environment = {"PATH": path or "/usr/bin:/bin", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "ddsd", "demo", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
    )


def test_once_delivers_and_leaves_nothing_running_and_a_second_start_goes_on(
    tmp_path: Path,
) -> None:
    options = ("--once", "--dir", str(tmp_path / "demo"), "--port", str(free_port()))
    first, second = demo(*options), demo(*options)
    for run in (first, second):
        assert run.returncode == 0, run.stdout + run.stderr
        assert "compare every byte with the source: 5 files are the same" in run.stdout
    assert "New instance" in first.stdout
    assert "Existing instance" in second.stdout
    assert "unit100004" in second.stdout
    assert not _processes_of(tmp_path)


def test_it_says_loudly_what_it_is_and_listens_on_loopback_only(tmp_path: Path) -> None:
    with running_demo(tmp_path / "demo", free_port()) as instance:
        assert "its passwords are public" in instance.printed()
        assert instance.ctl("status")["demo"] is True
        with socket.socket() as outside:
            outside.settimeout(2)
            address = _other_address()
            if address is not None:
                assert outside.connect_ex((address, instance.port)) != 0
        assert [one["public_id"] for one in instance.ctl("unit", "ls")] == ["unit_1", "unit_2"]
        statuses = {one["status"] for one in instance.ctl("project", "ls")}
        assert statuses == {"In Progress", "Available", "Expired"}


def test_a_taken_port_is_said_plainly_and_fails(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = demo("--once", "--dir", str(tmp_path / "demo"), "--port", str(taken.getsockname()[1]))
    assert run.returncode == 1
    assert "choose another port with --port" in run.stdout
    assert "listen.port" not in run.stdout
    assert "Traceback" not in run.stdout + run.stderr


def test_a_missing_minio_is_said_plainly_and_fails(tmp_path: Path) -> None:
    run = demo("--once", "--dir", str(tmp_path / "demo"), "--store", "minio", path="/nonexistent")
    assert run.returncode == 1
    assert "no program `minio` on PATH" in run.stdout


def test_a_delivery_that_fails_makes_once_fail(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    port = str(free_port())
    assert demo("--once", "--dir", str(directory), "--port", port).returncode == 0
    for blob in (directory / "store").rglob("objects"):
        blob.rename(blob.with_name("elsewhere"))
        blob.write_text("no directory any more")
    run = demo("--once", "--dir", str(directory), "--port", port)
    assert run.returncode == 1, run.stdout
    assert "Traceback" not in run.stdout + run.stderr


def _processes_of(directory: Path) -> list[str]:
    """Return the command lines of processes that still work in a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if directory.resolve() in Path(process / "cwd").resolve().parents:
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def _other_address() -> str | None:
    """Return an address of this machine that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: UDP
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address
