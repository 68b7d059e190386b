"""A daemon that is killed while it ends a project: ``python -m tests.lifecycle.dying_daemon URL DIRECTORY NAME``.

It prints ``half`` once some of the project's objects are gone and their rows are not, and never ends by itself.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from ddsd.db.engine import Database
from ddsd.jobs.runner import JobRunner
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.port import RemovalFailure
from tests.builders import SettableClock
from tests.lifecycle.life import HANDLERS
from tests.services import make_services


class HalfwayStore(EmbeddedStore):
    """Removes what it is told to, says so, and does not come back."""

    async def remove_objects(self, bucket: str, keys: Iterable[str]) -> tuple[RemovalFailure, ...]:
        """Remove all but the last."""
        await super().remove_objects(bucket, list(keys)[:-1])
        sys.stdout.write("half\n")
        sys.stdout.flush()
        await asyncio.sleep(3600)
        return ()


async def _serve(url: str, directory: Path, name: str) -> None:
    store = HalfwayStore(directory=directory)
    await store.start()
    services = make_services(Database(url), SettableClock(), directory, store=store)
    await JobRunner(services, HANDLERS, daemon=name).start()
    await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
