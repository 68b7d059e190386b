"""A MinIO for what stands before one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.minio_server import MinioServer, minio_server


@pytest.fixture(scope="package")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    yield from minio_server(tmp_path_factory.mktemp("minio"))
