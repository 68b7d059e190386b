"""Podman's own generator, which makes units of systemd from the files in config/quadlet."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.appliance.conftest import CHECKOUT
from tests.parts import absent

DIRECTORY: Final = CHECKOUT / "config" / "quadlet"
PROGRAM: Final = "DDSD_TEST_QUADLET"
_INSTALLED: Final = Path("/usr/libexec/podman/quadlet")

ALONE: Final = (DIRECTORY,)
"""Where the files of the daemon alone are."""
WITH_PARTS: Final = (DIRECTORY, DIRECTORY / "with-minio-and-postgresql")
"""Where the files are with MinIO and PostgreSQL beside it."""


def generated(places: Sequence[Path]) -> tuple[Mapping[str, str], str]:
    """Return the units that files become, by name without `.service`, and what the generator complains of."""
    program = Path(os.environ.get(PROGRAM) or _INSTALLED)
    if not program.exists():
        absent("podman's quadlet generator", f"no {program}; podman 5 has it, or set {PROGRAM}")
    with tempfile.TemporaryDirectory() as scratch:
        for place in places:
            _lay_out(place, Path(scratch))
        done = subprocess.run(
            [program, "--dryrun"],
            env={**os.environ, "QUADLET_UNIT_DIRS": scratch},
            capture_output=True,
            text=True,
            check=False,
        )
    complaints = "".join(
        line for line in done.stderr.splitlines(True) if ": Loading source " not in line
    )
    parts = re.split(r"^---(.+)\.service---$", done.stdout, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True)), complaints


def commands(places: Sequence[Path]) -> Mapping[str, list[str]]:
    """Return what each unit starts, without the program, in words."""
    units, _ = generated(places)
    return {
        name: shlex.split(found[1])[1:]
        for name, unit in units.items()
        if (found := re.search(r"^ExecStart=(.+)$", unit, re.MULTILINE))
    }


def _lay_out(place: Path, scratch: Path) -> None:
    for path in place.iterdir():
        if path.is_file():
            shutil.copyfile(path, scratch / path.name)
        elif path.suffix == ".d":
            shutil.copytree(path, scratch / path.name)
