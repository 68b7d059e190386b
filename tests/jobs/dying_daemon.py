"""A daemon that is killed while it runs a job: ``python -m tests.jobs.dying_daemon URL NAME``.

It prints ``running`` once the job's handler has begun, and never ends by itself.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ddsd.db.engine import Database
from ddsd.jobs.runner import JobRunner
from ddsd.work import Services
from tests.builders import SettableClock
from tests.services import make_services


async def _say_and_wait(_services: Services, _subject: str) -> None:
    sys.stdout.write("running\n")
    sys.stdout.flush()
    await asyncio.sleep(3600)


async def _serve(url: str, name: str) -> None:
    services = make_services(Database(url), SettableClock(), Path.cwd())
    await JobRunner(services, {"archive": _say_and_wait}, daemon=name).start()
    await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2]))
