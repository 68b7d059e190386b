"""``ddsd demo --store minio``: a real MinIO from PATH, over the demo's own directory, for as long as the demo runs."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from ddsd.errors import ConfigurationError, StoreUnavailable
from ddsd.secret import SecretText
from ddsd.storage import leash
from ddsd.storage.children import Child, Program
from ddsd.storage.port import new_access_key, new_secret_key

_START_S = 30.0


@dataclass(frozen=True)
class MinioAccess:
    """Where the demo's MinIO is, and its root key."""

    endpoint: str
    access_key: str
    secret_key: SecretText


@asynccontextmanager
async def running_minio(directory: Path) -> AsyncIterator[MinioAccess]:
    """Run MinIO over ``directory``; it ends with the block, and dies with this process.

    Raises:
        ConfigurationError: there is no ``minio`` on PATH.
        StoreUnavailable: it does not come up.
    """
    binary = shutil.which("minio")
    if binary is None:
        raise ConfigurationError(
            "there is no program `minio` on PATH; install it, or use the embedded store"
        )
    port = _free_port()
    access = MinioAccess(f"http://127.0.0.1:{port}", *_root_key(directory))
    child = Child(_program(binary, directory, port, access))
    await child.start()
    try:
        await _until_ready(access.endpoint)
        yield access
    finally:
        await child.stop()


def _program(binary: str, directory: Path, port: int, access: MinioAccess) -> Program:
    data = directory / "data"
    data.mkdir(parents=True, exist_ok=True)
    server = [binary, "server", "--quiet", "--address", f"127.0.0.1:{port}"]
    return Program(
        "minio",
        [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *server, str(data)],
        cwd=directory,
        environment={
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(directory),
            "MINIO_ROOT_USER": access.access_key,
            "MINIO_ROOT_PASSWORD": access.secret_key.text(),
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        },
    )


def _root_key(directory: Path) -> tuple[str, SecretText]:
    """Return the key this directory's MinIO was made with; its service accounts are sealed under it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "root.key"
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{new_access_key()}\n{new_secret_key().text()}\n")
    access_key, secret = path.read_text(encoding="ascii").split()
    return access_key, SecretText(secret)


async def _until_ready(endpoint: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
        for _ in range(int(_START_S / 0.2)):
            try:
                if (await http.get(f"{endpoint}/minio/health/live")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.2)
    raise StoreUnavailable("MinIO did not come up within 30 seconds.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
