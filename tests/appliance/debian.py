"""A real Debian with a real systemd: made by debootstrap once, laid under each test, booted by systemd-nspawn.

The base is kept outside the checkout, in a directory that says what is in it. A machine writes into a layer of its own
and sees no network but its loopback. Invariant: what was mounted and booted is gone when the test is over.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from tests.parts.ports import exclusive

SUITE: Final = "bookworm"
NEWER: Final = "trixie"
PACKAGES: Final = ("systemd", "systemd-sysv", "dbus", "python3")
FOR_IMAGES: Final = ("ca-certificates", "python3-venv", "tzdata")
FOR_CONTAINERS: Final = ("aardvark-dns", "crun", "netavark", "nftables", "openssl", "podman")
_ALL: Final = ("--target", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
_ENVIRONMENT: Final = (
    "env", "-i", "--chdir=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8",
    "HOME=/root", "DEBIAN_FRONTEND=noninteractive",
)  # fmt: skip
_PATIENCE_S: Final = 90.0
_LINES: Final = 40


def why_not() -> str:
    """Say what this machine lacks to boot another one; nothing if it lacks nothing."""
    if os.geteuid():
        return "only root may boot containers"
    missing = [one for one in ("debootstrap", "systemd-nspawn", "nsenter") if not shutil.which(one)]
    return f"not on PATH: {', '.join(missing)}" if missing else ""


def base(suite: str = SUITE) -> Path:
    """Return a Debian with the packages of all machines, and nothing of ours."""
    return _kept("debian", PACKAGES, partial(_bootstrap, suite), suite)


def with_postgresql() -> Path:
    """Return a Debian with PostgreSQL besides."""
    return _kept("postgresql", ("postgresql",), lambda root: _add(root, "postgresql"))


def with_nginx() -> Path:
    """Return a Debian with the web server that stands before ddsd and its store, and with clocks that can be wrong."""
    packages = ("nginx", "libfaketime")
    return _kept("nginx", packages, lambda root: _add(root, *packages))


def for_images() -> Path:
    """Return a Debian to build images on, with all they are built with."""
    return _kept("image", FOR_IMAGES, lambda root: _add(root, *FOR_IMAGES))


def for_containers() -> Path:
    """Return the newer Debian with podman, which makes units of quadlets there."""
    return _kept(
        "podman", FOR_CONTAINERS, lambda root: _add(root, *FOR_CONTAINERS, suite=NEWER), NEWER
    )


def _kept(
    name: str, packages: Sequence[str], make: Callable[[Path], None], suite: str = SUITE
) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddsd"
    cache.mkdir(parents=True, exist_ok=True)
    content = hashlib.sha256(" ".join((suite, *PACKAGES, *packages)).encode()).hexdigest()[:8]
    root = cache / f"{name}-{suite}-{content}"
    with exclusive(cache / f"{root.name}.lock"):
        if not root.is_dir():
            partial = cache / f"{root.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            make(partial)
            partial.rename(root)
    return root


def _bootstrap(suite: str, root: Path) -> None:
    include = f"--include={','.join(PACKAGES)}"
    _succeed(["debootstrap", "--variant=minbase", include, suite, str(root)])
    for archive in root.glob("var/cache/apt/archives/*.deb"):
        archive.unlink()


def _add(root: Path, *packages: str, suite: str = SUITE) -> None:
    _succeed(["cp", "--archive", "--reflink=auto", str(base(suite)), str(root)])
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    for words in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *packages],
        ["apt-get", "clean"],
    ):
        _succeed(["chroot", str(root), *_ENVIRONMENT, *words])
    (root / "usr/sbin/policy-rc.d").unlink()


def _succeed(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@contextmanager
def layer(below: Path, directory: Path) -> Iterator[Path]:
    """Yield a root that looks like ``below`` and can be written to; what is written goes with the directory."""
    root, upper, work = (directory / name for name in ("root", "upper", "work"))
    for one in (root, upper, work):
        one.mkdir(parents=True)
    options = f"lowerdir={below},upperdir={upper},workdir={work}"
    mounted = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(root)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:  # this directory is on a file system that cannot be an upper layer
        root.rmdir()
        _succeed(["cp", "--archive", "--reflink=auto", str(below), str(root)])
    # What a crash would leave half done is of no interest here, and syncing thousands of files takes a minute.
    (root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
    try:
        yield root
    finally:
        if not mounted.returncode:
            _succeed(["umount", str(root)])
        shutil.rmtree(directory)


def enter(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a root that is not booted, without a network."""
    alone = ("--quiet", "--register=no", "--keep-unit", "--private-network", "--pipe")
    return subprocess.run(
        ["systemd-nspawn", *alone, "-D", root, *_ENVIRONMENT, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True)
class Machine:
    """A booted machine: its root as seen from outside before it was booted, its systemd's process ID out here."""

    root: Path
    leader: int

    def try_to(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in it as root, to its end."""
        return subprocess.run(
            [*self._inside(_ALL), *_ENVIRONMENT, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S * 3,
        )

    def run(self, *words: str, stdin: str = "") -> str:
        """Run a command in it that must succeed; return what it printed."""
        done = self.try_to(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}\n{self.lately()}"
        return done.stdout

    def script(self, lines: str) -> str:
        """Run lines of shell in it, up to the first that fails; all must succeed. Return what they printed."""
        return self.run("sh", "-ec", f"cd /root; exec 2>&1\n{lines}")

    def journal(self, unit: str = "ddsd*") -> str:
        """Return what a unit and systemd have said of it."""
        return self.try_to("journalctl", "--no-pager", "--output=short", "--unit", unit).stdout

    def lately(self) -> str:
        """Return the end of what the service's units have said."""
        return "\n".join(self.journal().splitlines()[-_LINES:])

    def shown(self, unit: str, name: str) -> str:
        """Return one of a unit's properties."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def outside(self, path: str) -> Path:
        """Return where a path of it is out here, with what is mounted inside."""
        return Path(f"/proc/{self.leader}/root") / path.removeprefix("/")

    def beside(self, *words: str) -> list[str]:
        """Return the command that runs a program of this machine on the network of that one."""
        return [*self._inside(("--target", "--net")), *words]

    def power_off(self) -> None:
        """Let it go down, as for a reboot; return when it is."""
        self.try_to("systemctl", "poweroff")
        deadline = time.monotonic() + _PATIENCE_S
        while psutil.pid_exists(self.leader):
            assert time.monotonic() < deadline, "it does not go down"
            time.sleep(0.05)

    def until(self, unit: str, name: str, wanted: str) -> None:
        """Return when a unit's property has become what is wanted; a regular expression."""
        deadline = time.monotonic() + _PATIENCE_S
        while not re.fullmatch(wanted, value := self.shown(unit, name)):
            assert time.monotonic() < deadline, f"{name}={value}, not {wanted}\n{self.lately()}"
            time.sleep(0.1)

    def _inside(self, namespaces: Sequence[str]) -> list[str]:
        target, *others = namespaces
        inside = ["nsenter", target, str(self.leader), *others]
        return [*inside, "--root"] if "--mount" in others else inside


@contextmanager
def booted(
    root: Path, *binds: Path, options: Sequence[str] = (), unified: bool = False
) -> Iterator[Machine]:
    """Boot a root, with directories of this machine to read from at the same paths; power it off at the end.

    ``options``: more of systemd-nspawn. ``unified``: version 2 of control groups, also where this machine has both.
    """
    log = root.parent / "console"
    with _control_groups() as apart, log.open("wb") as console:
        container = subprocess.Popen(
            [
                *apart, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network",
                "--resolv-conf=off", "--timezone=off", "--link-journal=no",
                *(f"--bind-ro={one}" for one in binds), *options, "-D", root, "--boot",
            ],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            env={**os.environ, **({"UNIFIED_CGROUP_HIERARCHY": "1"} if unified else {})},
        )  # fmt: skip
        try:
            machine = Machine(root, _leader(container.pid, log))
            machine.try_to("systemctl", "is-system-running", "--wait")
            yield machine
            machine.try_to("systemctl", "poweroff")
            container.wait(_PATIENCE_S)
        finally:
            if container.poll() is None:
                for one in psutil.Process(container.pid).children():  # it would outlive nspawn
                    one.kill()
                container.kill()
                container.wait()


@contextmanager
def _control_groups() -> Iterator[list[str]]:
    """Yield what goes before a command that is to run in control groups of its own.

    Machines that share them take each other's services for their own: stopping one would wait for the other.
    """
    name = f"ddsd-machine-{uuid.uuid4().hex[:8]}"
    groups = [hierarchy / name for hierarchy in _hierarchies()]
    try:
        for group in groups:
            group.mkdir()
        join = "".join(f"echo $$ >{group}/cgroup.procs; " for group in groups)
        yield ["sh", "-ec", f'{join}exec "$@"', "sh"]
    finally:
        for group in groups:
            for directory, _, _ in os.walk(group, topdown=False):
                with suppress(OSError):  # what was killed may take a moment
                    Path(directory).rmdir()


def _hierarchies() -> list[Path]:
    """Return where the control groups are that systemd uses."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [
        Path(place)
        for _, place, kind, options, *_ in mounts
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options)
    ]


def _leader(container: int, log: Path) -> int:
    """Return the process that is number 1 in there, as soon as its systemd answers."""
    children = Path(f"/proc/{container}/task/{container}/children")
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        status = psutil.Process(container).status()
        assert status != psutil.STATUS_ZOMBIE, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        for child in map(int, children.read_text().split()):
            if Path(f"/proc/{child}/root/run/systemd/private").exists():
                return child
        time.sleep(0.05)
