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
from collections.abc import Iterator
from pathlib import Path

import urllib3
from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException
from minio.minioadmin import MinioAdmin

from ddsd.secret import SecretText
from tests.parts import absent

_READY_S = 60.0


class MinioServer:
    """One running MinIO; ``endpoint``, ``access_key`` and ``secret_key`` are its root account.

    ``certificates`` is a directory with ``public.crt`` and ``private.key``, and makes it speak TLS.
    """

    region = "us-east-1"

    def __init__(self, program: Path, directory: Path, certificates: Path | None = None) -> None:
        self._program = program
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._certificates = certificates
        self._port, self._console_port = _free_ports()
        self.access_key = "testroot" + secrets.token_hex(4)
        self.secret_key = SecretText(secrets.token_hex(16))

    @property
    def endpoint(self) -> str:
        """The address of its S3 API."""
        scheme = "https" if self._certificates else "http"
        return f"{scheme}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Run it and return when it answers a signed request."""
        environment = {
            "PATH": os.defpath,
            "HOME": str(self.directory),
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key.text(),
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        addresses = (
            f"--address=127.0.0.1:{self._port}",
            f"--console-address=127.0.0.1:{self._console_port}",
        )
        certificates = (f"--certs-dir={self._certificates}",) if self._certificates else ()
        flags = ("--quiet", *addresses, *certificates)
        with (self.directory / "minio.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), "server", *flags, str(self.directory / "data")],
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
                log = (self.directory / "minio.log").read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"MinIO did not start: {log}")
            time.sleep(0.1)

    def _healthy(self) -> bool:
        """Ask it for buckets and for policies: its health page says yes while its accounts are still being read."""
        http = urllib3.PoolManager(
            timeout=2,
            retries=False,
            ca_certs=str(self._certificates / "public.crt") if self._certificates else None,
        )
        address, secure = f"127.0.0.1:{self._port}", self._certificates is not None
        key = (self.access_key, self.secret_key.text())
        client = Minio(address, *key, secure=secure, region=self.region, http_client=http)
        admin = MinioAdmin(
            endpoint=address, credentials=StaticProvider(*key), secure=secure, http_client=http
        )
        try:
            client.list_buckets()
            admin.policy_list()
        except (MinioException, MinioAdminException, urllib3.exceptions.HTTPError):
            return False
        return True


def minio_program() -> Path | None:
    """Return the MinIO binary that the tests may use, if there is one."""
    named = os.environ.get("DDSD_TEST_MINIO") or shutil.which("minio")
    return Path(named) if named and Path(named).exists() else None


def minio_server(directory: Path, certificates: Path | None = None) -> Iterator[MinioServer]:
    """Yield a running MinIO over ``directory``, or skip: the body of a session fixture."""
    program = minio_program()
    if program is None:
        absent("MinIO", "set DDSD_TEST_MINIO to its binary, or put minio on PATH")
    server = MinioServer(program, directory, certificates)
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
