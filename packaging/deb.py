"""Makes the package for Debian: `python packaging/deb.py [DIRECTORY [RELEASE …]]`, into `dist` if not told.

The package brings its own virtual environment under /opt/ddsd, for the Python of that release of Debian: the wheels
are unpacked, nothing is built, so any machine with `dpkg-deb` can make it.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import environment
import release
from manual import COMPLETIONS

PYTHONS: Final = {"deb12": "3.11", "deb13": "3.13"}
"""The Python of each release of Debian that there is a package for."""
DESCRIPTION: Final = """\
data delivery service for research facilities
 A unit uploads a project, releases it, and its researchers download it before a
 deadline. Data is encrypted on the sender's machine and decrypted on the
 receiver's; the dds client (PyPI dds-cli) works with it.
 .
 The package brings its own Python environment in /opt/ddsd."""
_PLACES: Final = {
    "bash": "usr/share/bash-completion/completions",
    "zsh": "usr/share/zsh/vendor-completions",
    "fish": "usr/share/fish/vendor_completions.d",
}
_SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")


def build(destination: Path, debian: str) -> Path:
    """Make the package for one release of Debian; return it."""
    destination.mkdir(parents=True, exist_ok=True)
    package = destination / f"ddsd_{release.VERSION}-1~{debian}u1_amd64.deb"
    with tempfile.TemporaryDirectory() as scratch:
        root, files = Path(scratch) / "root", Path(scratch) / "files"
        wheels = Path(scratch) / "wheels"
        for directory in (root, files, wheels):
            directory.mkdir()
        release.provide_wheels(wheels)
        release.provide_files(files)
        python = environment.Python(f"/usr/bin/python{PYTHONS[debian]}", PYTHONS[debian])
        environment.make(root / "opt/ddsd", wheels, python, "/opt/ddsd")
        _lay_out(root, files)
        _describe(root, debian)
        release.settle(root)
        _pack(root, package)
    return package


def _lay_out(root: Path, files: Path) -> None:
    for name in release.UNITS:
        _put(files / "systemd" / name, root / "usr/lib/systemd/system" / name)
    _put(files / "systemd/ddsd.sysusers", root / "usr/lib/sysusers.d/ddsd.conf")
    _put(files / "systemd/ddsd.tmpfiles", root / "usr/lib/tmpfiles.d/ddsd.conf")
    _put(files / "config/ddsd.toml", root / "usr/share/ddsd/ddsd.toml")
    for page in sorted((files / "man").iterdir()):
        place = root / f"usr/share/man/man{page.suffix[1:]}" / f"{page.name}.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(gzip.compress(page.read_bytes(), mtime=0))
    for shell, name in COMPLETIONS.items():
        _put(files / "completions" / shell / name, root / _PLACES[shell] / name)
    shutil.copytree(files / "doc", root / "usr/share/doc/ddsd")
    (root / "usr/share/doc/ddsd/LICENSE").rename(root / "usr/share/doc/ddsd/copyright")
    (root / "usr/bin").mkdir(parents=True)
    for command in ("ddsd", "ddsctl"):
        (root / "usr/bin" / command).symlink_to(f"/opt/ddsd/bin/{command}")


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _describe(root: Path, debian: str) -> None:
    """Write what dpkg reads: the control file, the scripts."""
    about = root / "DEBIAN"
    about.mkdir()
    python = PYTHONS[debian]
    kib = sum(path.lstat().st_size for path in root.rglob("*")) // 1024
    about.joinpath("control").write_text(
        f"Package: ddsd\nVersion: {release.VERSION}-1~{debian}u1\nArchitecture: amd64\n"
        f"Maintainer: the ddsd authors <root@localhost>\nInstalled-Size: {kib}\n"
        f"Depends: python{python}, systemd (>= 252), libc6 (>= 2.28)\n"
        f"Suggests: postgresql\n"
        f"Section: net\nPriority: optional\nDescription: {DESCRIPTION}\n",
        encoding="utf-8",
    )
    for name in _SCRIPTS:
        shutil.copy(release.ROOT / "packaging/debian" / name, about / name)


def _pack(root: Path, package: Path) -> None:
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z9", "--build", root, package],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(release.epoch())},
        stdout=subprocess.DEVNULL,
        check=True,
    )


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    for one in sys.argv[2:] or PYTHONS:
        made = build(where, one)
        print(f"{made}: {made.stat().st_size / 1e6:.0f} MB")  # noqa: T201
