"""On which databases the delivery API is tested."""

from __future__ import annotations

import pytest

from tests.thorough import KINDS_ABOVE


@pytest.fixture(params=KINDS_ABOVE)
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of database the test runs on this time; modules in which requests race say both."""
    return str(request.param)
