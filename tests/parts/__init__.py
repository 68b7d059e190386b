"""Real parts the tests run against: servers and programs that are not ours.

Invariant: a part that is not on this machine is reported through `absent`, and nowhere else is it
decided whether that skips a test or fails it.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

REQUIRE_PARTS = "DDSD_REQUIRE_PARTS"


def absent(part: str, reason: str) -> NoReturn:
    """Skip the asking test because ``part`` is missing; fail it when `DDSD_REQUIRE_PARTS` is 1.

    ``reason`` says what was looked for and where, so that the reader can provide it.
    """
    message = f"{part} is not here: {reason}"
    if os.environ.get(REQUIRE_PARTS) == "1":
        pytest.fail(f"{message} ({REQUIRE_PARTS}=1)", pytrace=False)
    pytest.skip(message)
