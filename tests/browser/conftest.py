"""A demo to click through, and the people who do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.instance import Instance, running_demo
from tests.parts.browser import Chromium, Window
from tests.parts.browser import chromium as chromium
from tests.parts.ports import free_port


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A demo that all tests here share: each makes its own people."""
    with running_demo(tmp_path_factory.mktemp("browser") / "demo", free_port()) as running:
        yield running


@pytest.fixture
def origin(demo: Instance) -> str:
    """Where the demo's own links lead."""
    return f"http://127.0.0.1:{demo.port}"


@pytest.fixture
def window(chromium: Chromium, origin: str) -> Iterator[Window]:
    """A window on the demo; nothing may go wrong in it until the test ends."""
    with chromium.window(origin) as opened:
        yield opened
        assert opened.trouble == []
