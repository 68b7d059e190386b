"""Services for tests: the real ones, but a store in memory, mail that is only kept, cheap Argon2, a settable clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ddsd.clock import Clock
from ddsd.db.engine import Database
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import KdfCost
from ddsd.keys.instance import InstanceKey
from ddsd.mail.kept import KeptTransport
from ddsd.settings import Settings
from ddsd.storage.memory import MemoryStore
from ddsd.storage.port import ObjectStore
from ddsd.storage.stores import StoreAccount, Stores, StoreUser
from ddsd.work import Services
from tests.builders import SettableClock

CHEAP = KdfCost(memory_kib=8192, iterations=1, lanes=1)
INSTANCE_KEY = InstanceKey.generate()
"""One for all tests of a process, so that they can share applications (:mod:`tests.apps`)."""


class SeveralStores:
    """Stores in memory by their addresses."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.known: dict[str, MemoryStore] = {}

    def open(self, account: StoreAccount) -> ObjectStore:
        """Return the store at an address, the same for every account."""
        endpoint = account.address.endpoint
        return self.known.setdefault(endpoint, MemoryStore(clock=self._clock, endpoint=endpoint))


async def no_users(_administrator: StoreAccount, _user: StoreUser) -> None:
    """Make no user: stores in memory take everybody."""


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
        "stores": Stores(SeveralStores(clock).open, no_users),
        "post": KeptTransport(),
        "instance_key": INSTANCE_KEY,
        "deriver": Deriver(CHEAP),
        "wake_jobs": lambda: None,
    }
    return Services(**(parts | replacements))
