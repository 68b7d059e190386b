"""A served admin plane, and a client that speaks to it byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.admin.serving import AdminPlane, services_for, serving


@pytest.fixture
def plane(tmp_path: Path, sqlite_template: Path) -> Iterator[AdminPlane]:
    with serving(tmp_path / "admin.sock", services_for(tmp_path, sqlite_template)) as served:
        yield served


@pytest.fixture
def http(plane: AdminPlane) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=str(plane.socket))
    with httpx.Client(transport=transport, base_url="http://ddsd/1", timeout=60) as client:
        yield client
