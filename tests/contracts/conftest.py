"""The real servers of the contracts, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.minio_server import MinioServer, minio_server
from tests.parts.versitygw import VersityServer, versitygw_server


@pytest.fixture(scope="session")
def running_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A real MinIO."""
    yield from minio_server(tmp_path_factory.mktemp("minio"))


@pytest.fixture(scope="session")
def running_versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VersityServer]:
    """A real versitygw."""
    yield from versitygw_server(tmp_path_factory.mktemp("versitygw"))
