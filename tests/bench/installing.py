"""From a bare Debian to the first delivery: the commands of docs/install.md, typed by a program with a stopwatch.

What a person needs for reading and typing comes on top.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from tests.appliance import debian, guide
from tests.appliance.conftest import deliver, give, make_package, new_machine
from tests.appliance.debian import Machine
from tests.bench.memory import held_mib

PROGRAM = "/opt/ddsd/bin/ddsd"

WAYS = {
    "package, in one go": ("deb.py", "The Debian package", "In one go"),
    "package, by hand": ("deb.py", "The Debian package", "The first start"),
    "bundle, in one go": ("bundle.py", "The bundle", "In one go"),
    "bundle, by hand": ("bundle.py", "The bundle", "The first start"),
}
"""What is made, and the headings of the page that are followed."""


class Packages:
    """The packages, made when they are first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: dict[str, Path] = {}

    def by(self, script: str) -> Path:
        """Return what a program in ``packaging`` makes."""
        if script not in self._made:
            arguments = ("deb12",) if script == "deb.py" else ()
            self._made[script] = make_package(script, self._directory / script, *arguments)
        return self._made[script]


def measure(way: str, packages: Packages, directory: Path) -> dict[str, float]:
    """Go one way on a machine of its own."""
    script, *headings = WAYS[way]
    package = packages.by(script)
    figures = {"commands": float(sum(len(guide.commands(one)) for one in headings))}
    with new_machine(debian.base(), directory / "machine") as machine:
        give(machine, package)
        begun = time.perf_counter()
        for heading in headings:
            figures[_said(heading)] = _took(partial(machine.script, guide.script(heading)))
        figures["people, and a delivery of theirs (s)"] = _took(
            partial(deliver, machine, directory / "delivered")
        )
        figures["from the file to the delivery (s)"] = time.perf_counter() - begun
        figures["after the delivery (MiB, PSS)"] = _held_mib(machine)
        machine.script("systemctl restart ddsd")
        figures["start, until it serves (s)"] = _start_s(machine)
        figures["idle after it (MiB, PSS)"] = _held_mib(machine)
    return figures


def _said(heading: str) -> str:
    what = (
        "install" if heading.startswith("The ") and "start" not in heading else "set up and start"
    )
    return f"{what} (s)"


def _took(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _start_s(machine: Machine) -> float:
    """Return how long systemd waited until the daemon said that it serves."""
    begun, ready = (
        int(machine.shown("ddsd", f"{name}TimestampMonotonic"))
        for name in ("ExecMainStart", "ActiveEnter")
    )
    return (ready - begun) / 1_000_000


def _held_mib(machine: Machine) -> float:
    """Return what the service's processes hold; a page that they share counts once in all."""
    inside = psutil.Process(machine.leader).children(recursive=True)
    (daemon,) = (one for one in inside if one.cmdline()[-2:] == [PROGRAM, "serve"])
    return held_mib(daemon.pid)
