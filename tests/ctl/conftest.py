"""ddsctl against a served admin plane."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ddsctl.app import app
from tests.admin.serving import AdminPlane, services_for, serving


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> object:
        """What it printed, parsed."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Ctl:
    """ddsctl, told which socket to use."""

    socket: Path

    def __call__(self, *words: str) -> Ended:
        """Run it in this process."""
        ended = CliRunner().invoke(app, ["--socket", str(self.socket), *words])
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return Ended(ended.exit_code, ended.stdout, ended.stderr)

    def process(self, *words: str, **environment: str) -> Ended:
        """Run it as a process of its own."""
        ended = subprocess.run(
            [sys.executable, "-m", "ddsctl", *words],
            env=os.environ | {"DDSCTL_SOCKET": str(self.socket)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def plane(tmp_path: Path, sqlite_template: Path) -> Iterator[AdminPlane]:
    with serving(tmp_path / "admin.sock", services_for(tmp_path, sqlite_template)) as served:
        yield served


@pytest.fixture
def ctl(plane: AdminPlane) -> Ctl:
    return Ctl(plane.socket)


@pytest.fixture
def ctl_alone(tmp_path: Path) -> Ctl:
    """ddsctl without a daemon."""
    return Ctl(tmp_path / "admin.sock")
