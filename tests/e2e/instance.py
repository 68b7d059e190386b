"""A demo instance as a real process on the stock client's port, and its operator's command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from ddsctl.app import app

READY_SECONDS = 90.0
STOP_SECONDS = 40.0


@dataclass(frozen=True)
class Instance:
    """A running demo: its process, where its state is, and what it has printed."""

    process: subprocess.Popen[bytes]
    directory: Path
    output: Path
    port: int

    def ctl(self, *arguments: str) -> Any:
        """Run ``ddsctl --json ARGUMENTS`` as the operator, in this process; return what it printed."""
        words = ["--socket", str(self.directory / "admin.sock"), *arguments, "--json"]
        ended = CliRunner().invoke(app, words)
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    def code_of(self, username: str) -> str:
        """Return the one-time code last mailed to one of the demo's accounts."""
        address = f"{username}@demo.example"
        letters = [one for one in self.ctl("mail", "ls") if one["recipient"] == address]
        newest = max(one["id"] for one in letters if "One-Time" in one["subject"])
        text = self.ctl("mail", "show", str(newest))["text"]
        return next(word for word in str(text).split() if len(word) == 8 and word.isdigit())

    def printed(self) -> str:
        """Return everything the demo has printed so far."""
        return self.output.read_text(encoding="utf-8")


@contextmanager
def running_demo(
    directory: Path, port: int, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Instance]:
    """Start ``ddsd demo`` and wait until its own delivery is over; stop it as an operator would."""
    output = directory.parent / f"{directory.name}.out"
    command = [sys.executable, "-m", "ddsd", "demo", "--dir", str(directory), "--port", str(port)]
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [*command, *options],
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {}), "COLUMNS": "200"},
        )
    instance = Instance(process, directory, output, port)
    try:
        _wait_for_invitation(instance)
        yield instance
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0, instance.printed()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_for_invitation(instance: Instance) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while "Stop with Ctrl-C" not in instance.printed():
        assert instance.process.poll() is None, instance.printed()
        assert time.monotonic() < deadline, instance.printed()
        time.sleep(0.2)


def answers(port: int) -> bool:
    """Say whether anything serves HTTP on the port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False
