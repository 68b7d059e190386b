"""A real versitygw for the tests: its S3 gateway over a temporary directory, and the IAM service that knows its users.

The program is ``$DDSD_TEST_VERSITYGW`` or ``versitygw`` on PATH; without one the tests that need it are
skipped by name.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ddsd.secret import SecretText
from tests.parts import absent
from tests.parts.ports import free_port

_READY_S = 60.0
_HEALTH = "/healthz"


class VersityServer:
    """One running versitygw; ``access_key`` and ``secret_key`` are its root account, at both services."""

    region = "us-east-1"

    def __init__(self, program: Path, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._port, self._iam_port = free_port(), free_port()
        self._running: list[subprocess.Popen[bytes]] = []
        # A socket's path may have 108 bytes, and pytest's directories are deep.
        self._sockets = tempfile.TemporaryDirectory(prefix="versity-")
        self.access_key = "testroot" + secrets.token_hex(6)
        self.secret_key = SecretText(secrets.token_hex(16))

    @property
    def endpoint(self) -> str:
        """The address of its S3 API."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def iam_endpoint(self) -> str:
        """The address of its IAM API."""
        return f"http://127.0.0.1:{self._iam_port}"

    def start(self) -> None:
        """Run both services and return when they answer. The users of an earlier start are still there."""
        for name in ("data", "iam"):
            (self._directory / name).mkdir(exist_ok=True)
        between = str(Path(self._sockets.name) / "iam.sock")
        iam = ["iam", "--dir", str(self._directory / "iam"), "--private-ports", between]
        self._run("iam", self._iam_port, [], iam)
        gateway = ["posix", str(self._directory / "data")]
        self._run("gateway", self._port, ["--iam-standalone-endpoint", between], gateway)

    def stop(self) -> None:
        """End both by their process ids."""
        running, self._running = self._running, []
        for process in reversed(running):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End both for good."""
        self.stop()
        self._sockets.cleanup()

    def _run(self, name: str, port: int, flags: list[str], command: list[str]) -> None:
        address = f"127.0.0.1:{port}"
        log = self._directory / f"{name}.log"
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [str(self._program), "--health", _HEALTH, "-p", address, *flags, *command],
                env={
                    "PATH": os.defpath,
                    "ROOT_ACCESS_KEY": self.access_key,
                    "ROOT_SECRET_KEY": self.secret_key.text(),
                },
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)
        give_up = time.monotonic() + _READY_S
        while not _answers(f"http://{address}{_HEALTH}"):
            if process.poll() is not None or time.monotonic() > give_up:
                self.stop()
                raise RuntimeError(f"versitygw did not start: {log.read_text(errors='replace')}")
            time.sleep(0.05)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def versitygw_program() -> Path | None:
    """Return the versitygw binary that the tests may use, if there is one."""
    named = os.environ.get("DDSD_TEST_VERSITYGW") or shutil.which("versitygw")
    return Path(named) if named and Path(named).exists() else None


def versitygw_server(directory: Path) -> Iterator[VersityServer]:
    """Yield a running versitygw over ``directory``, or skip: the body of a module's fixture."""
    program = versitygw_program()
    if program is None:
        absent("versitygw", "set DDSD_TEST_VERSITYGW to its binary, or put versitygw on PATH")
    server = VersityServer(program, directory)
    server.start()
    try:
        yield server
    finally:
        server.close()
