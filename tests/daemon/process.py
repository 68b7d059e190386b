"""A real daemon in a process of its own, as systemd would run it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 30.0


def wait_until(happened: Callable[[], bool], what: str) -> None:
    """Look again and again until ``happened``; an assertion fails after :data:`PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Place:
    """A directory with a configuration, a key and a database for one daemon."""

    directory: Path
    port: int = field(default_factory=free_port)

    @property
    def config(self) -> Path:
        return self.directory / "ddsd.toml"

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "admin.sock"

    @property
    def database(self) -> Path:
        return self.directory / "state" / "ddsd.sqlite3"

    @property
    def key(self) -> Path:
        return self.directory / "instance.key"

    def run(
        self, *words: str, config: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a ``ddsd`` command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "ddsd", *words, *self._named(config)],
            env=_environment(environment),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )

    def start(self, module: str = "ddsd", **environment: str) -> Daemon:
        """Start the daemon; ``module`` may be a program of the tests that serves other planes."""
        log = (self.directory / "log").open("ab")
        words = ["serve"] if module == "ddsd" else []
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words, *self._named(True)],
            env=_environment(environment),
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        log.close()
        return Daemon(self, process)

    def _named(self, config: bool) -> list[str]:
        return ["--config", str(self.config)] if config else []


@dataclass
class Daemon:
    """A started process."""

    place: Place
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.place.directory / "log").read_text()

    def events(self, name: str) -> list[dict[str, object]]:
        """Return the log's lines of that name."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def requests(self, count: int) -> list[dict[str, object]]:
        """Wait for so many request lines: each is written after its answer was sent."""
        wait_until(lambda: len(self.events("request")) >= count, "the request's line")
        return self.events("request")

    def ready(self, times: int = 1) -> Daemon:
        """Wait until it serves; ``times``: how often a daemon has in this place."""
        wait_until(
            lambda: len(self.events("daemon.ready")) >= times or self.process.poll() is not None,
            "daemon.ready",
        )
        assert self.process.poll() is None, self.log
        return self

    def public(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.place.port}", timeout=PATIENCE_S)

    def admin(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.place.socket))
        return httpx.Client(base_url="http://ddsd", transport=transport, timeout=PATIENCE_S)

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        """Wait for its end."""
        return self.process.wait(PATIENCE_S)

    def memory_kib(self) -> int:
        """Return the resident set."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


def _environment(more: dict[str, str]) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DDSD_")}
    return ours | more
