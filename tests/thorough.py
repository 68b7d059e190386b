"""How much is tested: what fits into the ten minutes of ``make test``, or all that ``.ci/run`` wants.

``DDSD_TEST_THOROUGH=1`` makes more of the same: both databases where one tells nearly as much, and longer random walks.
No test is left out without it.
"""

from __future__ import annotations

import os
from typing import Final, TypeVar

Amount = TypeVar("Amount")

THOROUGH: Final = os.environ.get("DDSD_TEST_THOROUGH", "0") != "0"
KINDS: Final = ("sqlite", "postgresql")


def usual(little: Amount, thorough: Amount) -> Amount:
    """Return how much there is of something in this run."""
    return thorough if THOROUGH else little


KINDS_ABOVE: Final = usual(KINDS[:1], KINDS)
"""The databases under what stands above the slices (planes, processes); the slices are tested on both always."""
