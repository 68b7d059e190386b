"""Services for tests: the real ones, but a store in memory, mail that is only kept, cheap Argon2, a settable clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ddsd.db.engine import Database
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import KdfCost
from ddsd.keys.instance import InstanceKey
from ddsd.mail.kept import KeptTransport
from ddsd.settings import Settings
from ddsd.storage.memory import MemoryStore
from ddsd.work import Services
from tests.builders import SettableClock

CHEAP = KdfCost(memory_kib=8192, iterations=1, lanes=1)
INSTANCE_KEY = InstanceKey.generate()
"""One for all tests of a process, so that they can share applications (:mod:`tests.apps`)."""


def make_services(
    database: Database, clock: SettableClock, state_dir: Path, **replacements: Any
) -> Services:
    """Return services on this database; name a field to replace it."""
    settings = Settings.model_validate({"instance": {"state_dir": state_dir}})
    parts: dict[str, Any] = {
        "settings": settings,
        "clock": clock,
        "database": database,
        "store": MemoryStore(clock=clock),
        "post": KeptTransport(),
        "instance_key": INSTANCE_KEY,
        "deriver": Deriver(CHEAP),
        "wake_jobs": lambda: None,
    }
    return Services(**(parts | replacements))
