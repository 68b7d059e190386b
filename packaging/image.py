"""Lays out the root file system of the container image: what the daemon needs to run, and nothing else.

`python3 image.py ENVIRONMENT ROOT` runs where the image is built. It copies the virtual environment, the Python it was
made with, the shared libraries that these are linked with, certificates and time zones. Invariant: there is no shell in
ROOT and no package manager; each library is there under the name by which the loader asks for it, and the packages it
came from are listed for those who look for known faults in images.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

USER: Final = "ddsd"
USER_ID: Final = 10001
COMMANDS: Final = frozenset({"ddsd", "ddsctl", "rclone"})
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_ZONES: Final = Path("/usr/share/zoneinfo")
_RELEASE: Final = Path("/etc/os-release")
_READABLE: Final = 0o644
_ELF: Final = b"\x7fELF"
_LINKED: Final = re.compile(r"(?:=> |^\t)(/\S+)", re.MULTILINE)
_DLOPENED: Final = ("libgcc_s.so.1",)
"""What no program is linked with: the C library asks for it when a thread ends."""
_NEVER_IMPORTED: Final = (
    "dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "sitecustomize.py", "test",
    "tests", "tkinter", "turtledemo", "turtle.py", "venv", "config-3.*", "*.a", "_tkinter*", "nis.*", "_curses*",
    "_dbm*", "ossaudiodev*",
)  # fmt: skip
_UNUSED: Final = ("faker*", "polyfactory*", "_cffi.*", "backend_cffi.py", "tests", "SelfTest")
"""What packages bring along: made-up people for tests, zstandard's second implementation, tests of their own."""
_PROBES: Final = (
    "activate*", "Activate*", "*.c", "*.h", "*.pxd", "*.pyx", "*.sh", "pip", "pip-*", "setuptools*",
)  # fmt: skip


def lay_out(environment: Path, root: Path) -> None:
    """Fill ``root`` from this machine.

    Args:
        environment: a virtual environment, with the commands of the daemon in it; it gets the same path in ``root``.
        root: absent or empty.
    """
    _link_merged_directories(root)
    _copy_environment(environment, root)
    copied = [*_copy_python(root), CERTIFICATES, _ZONES]
    copied += _copy_libraries(root)
    _copy(CERTIFICATES, root)
    shutil.copytree(_ZONES, _in(root, _ZONES), symlinks=True)
    _copy(_RELEASE, root)
    _write_accounts(root)
    _make_directories(root)
    _list_packages(copied, root)
    for module in root.rglob("*.py"):
        module.chmod(_READABLE)


def _in(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _copy(path: Path, root: Path) -> None:
    target = _in(root, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target)


def _link_merged_directories(root: Path) -> None:
    """Let `/lib` lead to `/usr/lib` where it does so here."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        here = Path("/", name)
        if here.is_symlink():
            (root / name).symlink_to(here.readlink())
            (root / here.readlink()).mkdir(parents=True, exist_ok=True)


def _copy_environment(environment: Path, root: Path) -> None:
    target = _in(root, environment)
    left_out = shutil.ignore_patterns(*_PROBES, *_UNUSED, "bin")
    shutil.copytree(environment, target, symlinks=True, ignore=left_out)
    (target / "bin").mkdir()
    for command in sorted(environment.joinpath("bin").iterdir()):
        if command.name in COMMANDS or command.is_symlink():
            shutil.copy2(command, target / "bin" / command.name, follow_symlinks=False)


def _copy_python(root: Path) -> list[Path]:
    """Copy the interpreter and its library; return where they are."""
    program = Path(sys._base_executable)  # type: ignore[attr-defined]
    library = Path(sysconfig.get_path("stdlib"))
    for link in _links(program):
        _in(root, link).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(link, _in(root, link), follow_symlinks=False)
    shutil.copytree(
        library,
        _in(root, library),
        ignore=shutil.ignore_patterns(*_NEVER_IMPORTED, *_PROBES),
        ignore_dangling_symlinks=True,
    )
    return [program.resolve(), library / "os.py", library / "json/decoder.py"]


def _links(path: Path) -> Iterator[Path]:
    """Yield the file, and before it every symbolic link that leads to it."""
    while path.is_symlink():
        yield path
        path = path.parent / path.readlink()
    yield path


def _copy_libraries(root: Path) -> list[Path]:
    """Copy every shared library that something in ``root`` is linked with; return where they were."""
    binaries = [
        path
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and _is_linked_program(path)
    ]
    wanted = {Path(found) for path in binaries for found in _linked_with(path)}
    wanted |= {one.parent / name for one in wanted for name in _DLOPENED}
    libraries = sorted(path for path in wanted if path.exists())
    for path in libraries:
        if not _in(root, path).exists():
            _copy(path, root)
    return libraries


def _is_linked_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _ELF


def _linked_with(path: Path) -> list[str]:
    """Ask the loader; a program that is linked with nothing makes it fail, and that is no answer."""
    told = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    if "not found" in told.stdout:
        sys.exit(f"image.py: {path} lacks a library:\n{told.stdout}")
    return [
        found for found in _LINKED.findall(told.stdout) if not found.startswith(str(path.parent))
    ]


def _write_accounts(root: Path) -> None:
    etc = root / "etc"
    etc.joinpath("passwd").write_text(
        "root:x:0:0:root:/root:/nonexistent\n"
        f"{USER}:x:{USER_ID}:{USER_ID}:Data delivery service:/var/lib/ddsd:/nonexistent\n"
    )
    etc.joinpath("group").write_text(f"root:x:0:\n{USER}:x:{USER_ID}:\n")
    etc.joinpath("nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")


def _make_directories(root: Path) -> None:
    for name, mode in {
        "tmp": 0o1777,
        "run": 0o755,
        "proc": 0o755,
        "sys": 0o755,
        "dev": 0o755,
    }.items():
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(mode)
    (root / "etc/ddsd").mkdir()
    for name in ("var/lib/ddsd", "run/ddsd"):
        directory = root / name
        directory.mkdir(parents=True)
        directory.chmod(0o750)
        os.chown(directory, USER_ID, USER_ID)


def _list_packages(copied: Iterable[Path], root: Path) -> None:
    """Write what dpkg knows of the packages that files were taken from, with their licences."""
    if shutil.which("dpkg") is None:
        return
    listed = root / "var/lib/dpkg/status.d"
    listed.mkdir(parents=True)
    for package in sorted({package for path in copied for package in _packages_of(path)}):
        status = subprocess.run(
            ["dpkg-query", "--status", package], capture_output=True, text=True, check=True
        )
        name = package.partition(":")[0]
        (listed / name).write_text(status.stdout)
        licence = Path("/usr/share/doc", name, "copyright")
        if licence.exists():
            _copy(licence, root)


def _packages_of(path: Path) -> list[str]:
    """Return who brought a file; a merged directory has two names, and dpkg knows one of them."""
    for name in (path, path.resolve(), Path(str(path).removeprefix("/usr"))):
        told = subprocess.run(
            ["dpkg-query", "--search", name], capture_output=True, text=True, check=False
        )
        if told.returncode == 0:
            return told.stdout.partition(": ")[0].split(", ")
    return []


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]), Path(sys.argv[2]))
