"""Two people who log in at the same moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 120
AT_ONCE = """
from concurrent.futures import ThreadPoolExecutor
from ddsd.keys.primitives import argon2id

def derive(number: int) -> bytes:
    return argon2id(b"password", salt=b"s" * 16, memory_kib=8192, iterations=1, lanes=4)

with ThreadPoolExecutor(4) as threads:
    print(len(set(threads.map(derive, range(200)))))
"""


def test_passwords_are_derived_at_the_same_time_without_waiting_for_each_other_for_ever() -> None:
    # A process of its own: threads that hang in OpenSSL cannot be ended.
    found = subprocess.run(
        [sys.executable, "-c", AT_ONCE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert found.stdout.strip() == "1"
