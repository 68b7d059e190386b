"""Podman with a storage of its own, for the containers of one module of tests.

A program called `podman` is put on PATH that adds what this machine asks for (where things are kept, limits that fit,
and no network while an image is built), so that commands of the documentation run as they stand. Invariant: with
the storage everything goes that was made in it: containers, volumes, secrets, networks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.appliance.customers import Site

NAME: Final = "ddsd"
IMAGE: Final = "localhost/ddsd:latest"
BASE: Final = "localhost/debian:bookworm-slim"
"""What the Containerfile calls `debian:bookworm-slim`: images of this machine are looked for first."""
_PATIENCE_S: Final = 900
_WRAPPER: Final = """\
#!/bin/sh
command="$1"
shift
case "$command" in
build) set -- --network none --ulimit nofile=1024:4096 --ulimit nproc=1000:2000 "$@" ;;
run) set -- --ulimit nofile=1024:4096 --ulimit nproc=1000:2000 "$@" ;;
esac
exec {podman} --root {directory}/storage --runroot {directory}/run --runtime runc --cgroup-manager cgroupfs \
--events-backend file --network-config-dir {directory}/networks "$command" "$@"
"""


@dataclass(frozen=True)
class Podman:
    """Where it keeps everything, and where commands are run."""

    directory: Path

    @property
    def workplace(self) -> Path:
        """Return the directory that commands run in."""
        return self.directory / "work"

    def try_to(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of podman to its end."""
        return self._run(["podman", *words])

    def run(self, *words: str) -> str:
        """Run a command of podman that must succeed; return what it printed on standard output."""
        done = self.try_to(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def script(self, lines: str) -> str:
        """Run lines of shell, up to the first that fails; all must succeed. Return what they printed."""
        done = self._run(["sh", "-ec", lines])
        assert done.returncode == 0, f"{lines}\n{done.stdout}{done.stderr}\n{self.log()}"
        return done.stdout

    def log(self) -> str:
        """Return what the daemon has logged."""
        done = self.try_to("logs", NAME)
        return done.stdout + done.stderr

    def inspect(self, kind: str, name: str) -> Any:
        """Return all that podman knows of an image or a container."""
        return json.loads(self.run(kind, "inspect", name))[0]

    def clear(self) -> None:
        """Remove what a test has made; images stay."""
        self.try_to("rm", "--all", "--force", "--volumes")
        for kind in ("volume", "secret"):
            self.try_to(kind, "rm", "--all")
        self.try_to("network", "rm", "--force", NAME)

    def resident_mib(self) -> int:
        """Return what the daemon and its children hold in memory, shared pages counted for each."""
        pid = self.inspect("container", NAME)["State"]["Pid"]
        daemon = psutil.Process(pid)
        family = [daemon, *daemon.children(recursive=True)]
        return int(sum(one.memory_info().rss for one in family) // 1024**2)

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        path = f"{self.directory / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command,
            cwd=self.workplace,
            env={**os.environ, "PATH": path, "TMPDIR": str(self.directory / "tmp")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )


@dataclass(frozen=True)
class ContainerSite(Site):
    """A daemon in a container; its operator comes by `podman exec`."""

    podman: Podman = Podman(Path())

    def ctl(self, *arguments: str) -> Any:
        """Run ``ddsctl ARGUMENTS --json`` in the container; return what it printed."""
        return json.loads(self.podman.run("exec", NAME, "ddsctl", *arguments, "--json"))


def why_not() -> str:
    """Say what this machine lacks to run containers; nothing if it lacks nothing."""
    missing = [one for one in ("podman", "runc") if not shutil.which(one)]
    return f"not on PATH: {', '.join(missing)}" if missing else ""


@contextmanager
def of_its_own(base: Path) -> Iterator[Podman]:
    """Yield a podman whose only image is made of ``base``, a root file system."""
    # Not where temporary files go: that may be memory, and this is a gigabyte.
    directory = Path(tempfile.mkdtemp(prefix="ddsd-podman-", dir="/var/tmp"))
    podman = Podman(directory)
    try:
        for name in ("bin", "tmp", "work", "networks"):
            (directory / name).mkdir()
        _write_program(
            directory / "bin/podman",
            _WRAPPER.format(podman=shutil.which("podman"), directory=directory),
        )
        _write_program(directory / "bin/python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        podman.script(f"tar -C {base} --exclude=./dev -c . | podman import - {BASE}")
        yield podman
    finally:
        podman.clear()
        _unmount_below(directory)
        shutil.rmtree(directory)


def _write_program(path: Path, content: str) -> None:
    path.write_text(content)
    path.chmod(0o755)


def _unmount_below(directory: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in sorted((one for one in mounts if one.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", place], check=True)
