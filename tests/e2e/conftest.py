"""A demo for all tests of a module, and its people's stock clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conversation import LoggedIn
from tests.e2e.instance import Instance, running_demo
from tests.parts import ports


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A running demo on the stock client's port."""
    directory = tmp_path_factory.mktemp("module") / "demo"
    with ports.stock_port_alone() as port, running_demo(directory, port) as running:
        yield running


@pytest.fixture(scope="module")
def logged_in(
    demo: Instance, stock_client_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> LoggedIn:
    """Give each named person a client that is logged in, once."""
    return LoggedIn(demo, stock_client_binary, tmp_path_factory.mktemp("homes"))
