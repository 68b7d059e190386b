"""Makes the virtual environment that ddsd runs in, from wheels and nothing else: no pip, no network.

`python3 environment.py WHEELS DIRECTORY` makes it for the Python that runs it; the package for Debian makes one for the
Python of the machine it is for. Only Python's own library is used, since it runs where nothing is installed yet.
Invariant: a wheel is unpacked only if its SHA-256 is the one in the list, and the list is complete.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import platform
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

MACHINE: Final = "x86_64"
VERSIONS: Final = ("3.11", "3.12", "3.13")
"""For which Pythons there are lists of wheels, `3.11.sha256` and so on, in the format of sha256sum(1)."""
COMMANDS_OF: Final = "ddsd"
"""The one distribution whose commands are put into `bin`; the others are libraries here."""
_EXECUTABLE: Final = 0o755
_READABLE: Final = 0o644


class CannotInstall(Exception):
    """The wheels or the machine do not fit; the message says what to do."""


@dataclass(frozen=True)
class Python:
    """The interpreter that will run it: where it is on that machine, and its version as `3.11`."""

    program: str
    version: str


def this_python() -> Python:
    """Return the running interpreter, if there are wheels for it.

    Raises:
        CannotInstall: there are none.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if version not in VERSIONS or platform.machine() != MACHINE:
        raise CannotInstall(
            f"this is Python {version} on {platform.machine()}; there are wheels for Python"
            f" {', '.join(VERSIONS)} on {MACHINE}"
        )
    return Python(os.path.realpath(sys._base_executable), version)  # type: ignore[attr-defined]


def make(directory: Path, wheels: Path, python: Python, called: str | None = None) -> None:
    """Make the environment.

    Args:
        directory: where it is made; absent or empty.
        wheels: a directory with the wheels and their lists.
        python: what it is for.
        called: what `directory` will be called where it is used; without it, what it is called now.

    Raises:
        CannotInstall: a wheel is missing or is not what the list says.
    """
    listed = read_list(wheels, python.version)
    (directory / "bin").mkdir(parents=True, exist_ok=True)
    (directory / "bin" / "python").symlink_to(python.program)
    (directory / "pyvenv.cfg").write_text(
        f"home = {PurePosixPath(python.program).parent}\n"
        f"include-system-site-packages = false\nversion = {python.version}\n"
    )
    site = directory / "lib" / f"python{python.version}" / "site-packages"
    for wheel in listed:
        _unpack(wheel, site, directory)
    interpreter = f"{called or directory}/bin/python"
    for script in sorted((directory / "bin").iterdir()):
        _point_to(script, interpreter)
    for name, target in _commands(site).items():
        _write_command(directory / "bin" / name, interpreter, target)


def read_list(wheels: Path, version: str) -> list[Path]:
    """Return the wheels for a Python, each of them checked.

    Raises:
        CannotInstall: one is missing or is not what the list says.
    """
    found = []
    for line in (wheels / f"{version}.sha256").read_text(encoding="ascii").splitlines():
        digest, _, name = line.partition("  ")
        wheel = wheels / name
        if not wheel.is_file() or hashlib.sha256(wheel.read_bytes()).hexdigest() != digest:
            raise CannotInstall(f"{wheel} is missing or damaged: unpack the archive again")
        found.append(wheel)
    return found


def _unpack(wheel: Path, site: Path, directory: Path) -> None:
    """Put a wheel's files where they belong; PEP 427 says where that is."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                target = _place(PurePosixPath(entry.filename), site, directory)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(entry))
                executable = target.parent == directory / "bin" or entry.external_attr >> 16 & 0o100
                target.chmod(_EXECUTABLE if executable else _READABLE)


def _place(name: PurePosixPath, site: Path, directory: Path) -> Path:
    if name.is_absolute() or ".." in name.parts:
        raise CannotInstall(f"a wheel has a file with the name {name}")
    if not name.parts[0].endswith(".data"):
        return site / name
    roots = {
        "purelib": site,
        "platlib": site,
        "scripts": directory / "bin",
        "headers": directory / "include",
        "data": directory,
    }
    return roots[name.parts[1]].joinpath(*name.parts[2:])


def _point_to(script: Path, interpreter: str) -> None:
    if script.is_symlink():
        return
    content = script.read_bytes()
    if content.startswith(b"#!python"):
        script.write_bytes(b"#!" + interpreter.encode() + content[content.index(b"\n") :])


def _commands(site: Path) -> dict[str, str]:
    (entry_points,) = site.glob(f"{COMMANDS_OF}-*.dist-info/entry_points.txt")
    parser = configparser.ConfigParser()
    parser.read(entry_points)
    return dict(parser["console_scripts"])


def _write_command(path: Path, interpreter: str, target: str) -> None:
    module, _, function = target.partition(":")
    path.write_text(
        f"#!{interpreter} -I\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    )
    path.chmod(_EXECUTABLE)


if __name__ == "__main__":
    try:
        make(Path(sys.argv[2]), Path(sys.argv[1]), this_python())
    except CannotInstall as wrong:
        sys.exit(f"environment.py: {wrong}")
