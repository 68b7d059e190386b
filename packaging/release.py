"""What the bundle and the package for Debian are made of: the wheels, the files beside them, one time stamp.

Invariant: the same commit and the same locked wheels give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import manual
from environment import VERSIONS

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = ROOT / "packaging" / "requirements.txt"
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSION: Final = str(PROJECT["version"])
# The newest C library that is asked for is Debian 10's, RHEL 8's: glibc 2.28.
_PLATFORMS: Final = (
    "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64",
)  # fmt: skip
_OF_WINDOWS: Final = "sys_platform == 'win32'"
_REQUIREMENT: Final = re.compile(r"^[a-z0-9].*?(?:\n +--hash=.*)+", re.MULTILINE)
_PIP: Final = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")

OPERATORS: Final = "ddsd-operators"
UNITS: Final = ("ddsd.service", "ddsd@.service", "ddsd-migrate.service")
DOCUMENTS: Final = ("README.md", "CHANGELOG.md", "LICENSE")


def epoch() -> int:
    """Return the one time that all files get: `SOURCE_DATE_EPOCH`, or when the commit was made."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    told = subprocess.run(
        ["git", "-C", ROOT, "log", "-1", "--format=%ct"],
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        sys.exit("this is no checkout: set SOURCE_DATE_EPOCH to the time the files shall have")
    return int(told.stdout)


def provide_wheels(directory: Path) -> Path:
    """Fill a directory with all locked wheels for every Python, the daemon's own, and their lists.

    Wheels that were fetched before are kept outside the checkout, by the hash of the lock.
    """
    kept = _kept(hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16])
    for version in VERSIONS:
        if not (kept / version).is_dir():
            _fetch(version, kept)
    own = _build_own(directory)
    for version in VERSIONS:
        wheels = sorted([*(kept / version).glob("*.whl"), own], key=lambda one: one.name)
        for wheel in wheels:
            if not (directory / wheel.name).exists():
                shutil.copyfile(wheel, directory / wheel.name)
        lines = (f"{_digest(wheel)}  {wheel.name}\n" for wheel in wheels)
        (directory / f"{version}.sha256").write_text("".join(lines), encoding="ascii")
    return directory


def _kept(lock: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ddsd" / f"wheels-{lock}"


def _fetch(version: str, kept: Path) -> None:
    """Fetch what the lock names for one Python; every file's hash is in the lock."""
    partial = kept / f"{version}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    requirements = partial / "requirements.txt"
    requirements.write_text("\n".join(_for_linux(LOCK.read_text(encoding="utf-8"))))
    platforms = [word for one in _PLATFORMS for word in ("--platform", one)]
    subprocess.run(
        [
            *_PIP, "download", "--only-binary=:all:", "--no-deps", "--require-hashes",
            "--implementation=cp", f"--python-version={version}", *platforms,
            "--dest", partial, "--requirement", requirements,
        ],
        check=True,
    )  # fmt: skip
    requirements.unlink()
    partial.rename(kept / version)


def _for_linux(lock: str) -> Iterator[str]:
    """Yield the requirements of a universal lock that Linux has.

    pip judges markers by the Python that runs it, not by the one it fetches for: so no marker may tell Pythons apart.
    """
    for requirement in _REQUIREMENT.findall(lock):
        if "python_version" in requirement or "python_full_version" in requirement:
            sys.exit(f"the lock tells Pythons apart: {requirement.partition(' ')[0]}")
        if _OF_WINDOWS not in requirement:
            yield requirement


def _build_own(directory: Path) -> Path:
    """Build the daemon's own wheel into the directory."""
    subprocess.run(
        [
            *_PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation",
            "--wheel-dir", directory, ROOT,
        ],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch())},
        check=True,
    )  # fmt: skip
    return directory / f"ddsd-{VERSION}-py3-none-any.whl"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def provide_files(directory: Path) -> None:
    """Lay out what is installed beside the wheels: `systemd`, `config`, `man`, `completions`, `doc`."""
    shutil.copytree(ROOT / "systemd", directory / "systemd")
    shutil.copytree(ROOT / "config", directory / "config")
    reference = directory / "config" / "ddsd.toml"
    reference.write_text(_for_a_service(reference.read_text(encoding="utf-8")), encoding="utf-8")
    manual.write(directory)
    shutil.copytree(ROOT / "docs", directory / "doc" / "docs")
    shutil.copytree(ROOT / "config", directory / "doc" / "config")
    for name in DOCUMENTS:
        shutil.copyfile(ROOT / name, directory / "doc" / name)


def _for_a_service(reference: str) -> str:
    """Return the reference configuration with the group that sysusers makes for operators."""
    before = 'admin_group = ""'
    if reference.count(before) != 1:
        sys.exit(f"config/ddsd.toml must have the line {before} once")
    return reference.replace(before, f'admin_group = "{OPERATORS}"')


def settle(directory: Path) -> None:
    """Give everything below a directory the one time stamp, and modes that no umask has a part in."""
    stamp = epoch()
    for path in sorted([directory, *directory.rglob("*")], reverse=True):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
        os.utime(path, (stamp, stamp), follow_symlinks=False)
