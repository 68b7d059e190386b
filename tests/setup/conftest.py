"""Places where nothing is set up yet, and the command that does it."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ddsd.__main__ import CONFIGURATION
from ddsd.errors import ConfigurationError
from ddsd.setup.run import setup_command
from tests.daemon.process import REPOSITORY
from tests.parts.minio_server import MinioServer, minio_server
from tests.parts.ports import free_port

PATIENCE_S = 120.0
US = pwd.getpwuid(os.getuid()).pw_name


@dataclass(frozen=True)
class Ended:
    """How a setup ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Bare:
    """A directory in place of ``/etc/ddsd``, ``/var/lib/ddsd`` and ``/run/ddsd``, and a free port."""

    directory: Path
    port: int

    @property
    def config(self) -> Path:
        return self.directory / "etc" / "ddsd.toml"

    @property
    def key(self) -> Path:
        return self.directory / "etc" / "instance.key"

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "admin.sock"

    def words(self, *more: str, **answers: object) -> list[str]:
        """Return the command with answers to what every test must say; ``section__key=value`` adds others."""
        usual: dict[str, object] = {
            "instance__state_dir": self.directory / "state",
            "listen__admin_socket": self.socket,
            "listen__port": self.port,
        }
        settings = [
            word
            for key, value in (usual | answers).items()
            for word in ("--set", f"{key.replace('__', '.')}={value}")
        ]
        own = ["--config", str(self.config), "--user", US]
        return [sys.executable, "-m", "ddsctl", "setup", *own, *settings, *more]

    def set_up(self, *more: str, **answers: object) -> Ended:
        """Set up without questions."""
        ended = subprocess.run(
            self.words("--non-interactive", *more, **answers),
            cwd=REPOSITORY,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def told(self, *more: str, **answers: object) -> Ended:
        """Set up without questions in this process: for what ends before another one is needed."""
        return self.asked("--non-interactive", *more, **answers)

    def asked(self, *more: str, **answers: object) -> Ended:
        """Set up in this process, where nobody is at the terminal."""
        alone = typer.Typer()
        alone.command()(setup_command)
        words = self.words(*more, **answers)
        ended = CliRunner().invoke(alone, words[words.index("setup") + 1 :])
        match ended.exception:
            case ConfigurationError(message=message):
                return Ended(CONFIGURATION, ended.stdout, message)
            case None | SystemExit():
                return Ended(ended.exit_code, ended.stdout, ended.stderr)
            case other:
                raise other

    def daemon(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "ddsd", "serve", "--config", str(self.config)],
            cwd=REPOSITORY,
            env=environment(),
            stderr=subprocess.DEVNULL,
        )

    def ctl(self, *words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "ddsctl", "--socket", str(self.socket), *words, "--json"],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)


def environment() -> dict[str, str]:
    """Return an operator's environment; what runs as the daemon does so from another directory than this one."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DDSD_")}
    return ours | {"PYTHONPATH": str(REPOSITORY)}


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    return Bare(tmp_path / "site", free_port())


@pytest.fixture(scope="package")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    yield from minio_server(tmp_path_factory.mktemp("minio"))
