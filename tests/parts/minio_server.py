"""A real MinIO for the tests: one process over a temporary directory on a free loopback port.

The program is ``$DDSD_TEST_MINIO`` or ``minio`` on PATH; without one the tests that need it are
skipped by name.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddsd.secret import SecretText

_READY_S = 60.0


class MinioServer:
    """One running MinIO; ``endpoint``, ``access_key`` and ``secret_key`` are its root account."""

    region = "us-east-1"

    def __init__(self, program: Path, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._port, self._console_port = _free_ports()
        self.access_key = "testroot" + secrets.token_hex(4)
        self.secret_key = SecretText(secrets.token_hex(16))

    @property
    def endpoint(self) -> str:
        """The address of its S3 API."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Run it and return when it says that it is healthy."""
        environment = {
            "PATH": os.defpath,
            "HOME": str(self._directory),
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key.text(),
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        addresses = (
            f"--address=127.0.0.1:{self._port}",
            f"--console-address=127.0.0.1:{self._console_port}",
        )
        with (self._directory / "minio.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._program),
                    "server",
                    "--quiet",
                    *addresses,
                    str(self._directory / "data"),
                ],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_healthy()

    def stop(self) -> None:
        """End it by its process id."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait_until_healthy(self) -> None:
        give_up = time.monotonic() + _READY_S
        while not self._healthy():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > give_up:
                log = (self._directory / "minio.log").read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"MinIO did not start: {log}")
            time.sleep(0.1)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/minio/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def minio_program() -> Path | None:
    """Return the MinIO binary that the tests may use, if there is one."""
    named = os.environ.get("DDSD_TEST_MINIO") or shutil.which("minio")
    return Path(named) if named and Path(named).exists() else None


def minio_server(directory: Path) -> Iterator[MinioServer]:
    """Yield a running MinIO over ``directory``, or skip: the body of a session fixture."""
    program = minio_program()
    if program is None:
        absent = "no MinIO: set DDSD_TEST_MINIO to its binary, or put minio on PATH"
        if os.environ.get("DDSD_REQUIRE_PARTS"):
            pytest.fail(absent)
        pytest.skip(absent)
    server = MinioServer(program, directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]
