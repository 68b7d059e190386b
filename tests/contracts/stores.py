"""The stores that every promise is asked of: how each of them is started for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from ddsd.clock import SystemClock
from ddsd.storage.check import bench
from ddsd.storage.check.bench import MIB, Bench
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.iam import IamStore
from ddsd.storage.memory import MemoryStore
from ddsd.storage.minio import S3Store
from ddsd.storage.port import ObjectStore
from tests.parts.minio_server import MinioServer
from tests.parts.versitygw import VersityServer

SERVED = ("embedded", "minio", "versitygw")
"""Those that clients can reach over HTTP."""
SCRATCH = "check00000-"
"""How the names of buckets on a bench of the tests begin."""
_numbers = count(1)


def minio_store(server: MinioServer) -> S3Store:
    """Return a store on a running MinIO, not started."""
    return S3Store(
        endpoint=server.endpoint, access_key=server.access_key, secret_key=server.secret_key
    )


def versitygw_store(server: VersityServer) -> IamStore:
    """Return a store on a running versitygw, not started."""
    return IamStore(
        endpoint=server.endpoint,
        iam_endpoint=server.iam_endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
    )


async def started(kind: str, request: pytest.FixtureRequest) -> ObjectStore:
    """Return a running store of a kind; the caller stops it."""
    store: ObjectStore
    match kind:
        case "memory":
            store = MemoryStore()
        case "embedded":
            store = EmbeddedStore(directory=request.getfixturevalue("tmp_path") / "store")
        case "minio":
            store = minio_store(request.getfixturevalue("running_minio"))
        case _:
            store = versitygw_store(request.getfixturevalue("running_versitygw"))
    await store.start()
    return store


@asynccontextmanager
async def a_bench(store: ObjectStore, ca_file: Path | None = None) -> AsyncIterator[Bench]:
    """Open a bench on a store, which moves little to tell its speed."""
    async with bench.opened(
        store,
        clock=SystemClock(),
        new_name=lambda: f"{SCRATCH}{next(_numbers):06d}",
        ca_file=ca_file,
        transfer_bytes=MIB,
    ) as opened:
        yield opened
