"""Makes the archive for machines without a network: `python packaging/bundle.py [DIRECTORY]`, by default into `dist`.

`ddsd-VERSION-bundle.tar.gz` holds the wheels for every Python, units, configuration, manual pages, completions,
documentation, `install.sh` and `uninstall.sh`, and in `SHA256SUMS` what each of them must be.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import release

SCRIPTS: Final = ("install.sh", "uninstall.sh", "environment.py")


def build(destination: Path) -> Path:
    """Make the archive; return it."""
    name = f"ddsd-{release.VERSION}-bundle"
    destination.mkdir(parents=True, exist_ok=True)
    archive = destination / f"{name}.tar.gz"
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / name
        (directory / "wheels").mkdir(parents=True)
        release.provide_wheels(directory / "wheels")
        release.provide_files(directory)
        for script in SCRIPTS:
            shutil.copy(release.ROOT / "packaging" / script, directory / script)
        (directory / "VERSION").write_text(f"{release.VERSION}\n", encoding="ascii")
        _write_sums(directory)
        release.settle(directory)
        _pack(directory, archive)
    return archive


def _write_sums(directory: Path) -> None:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    lines = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(directory)}\n"
        for path in files
    )
    (directory / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def _pack(directory: Path, archive: Path) -> None:
    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    # Wheels are compressed already: more effort gains nothing.
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=release.epoch()) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in (directory, *sorted(directory.rglob("*"))):
            tar.add(
                path, str(path.relative_to(directory.parent)), recursive=False, filter=anonymous
            )


if __name__ == "__main__":
    made = build(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
    print(f"{made}: {made.stat().st_size / 1e6:.0f} MB")  # noqa: T201
