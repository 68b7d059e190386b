"""A daemon that is killed while it runs a job: ``python -m tests.jobs.dying_daemon URL NAME``.

It prints ``running`` once the job's handler has begun, and never ends by itself.
"""

from __future__ import annotations

import asyncio
import sys

from ddsd.clock import SystemClock
from ddsd.db.engine import Database
from ddsd.jobs.runner import JobRunner
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import KdfCost
from ddsd.keys.instance import InstanceKey
from ddsd.mail.kept import KeptTransport
from ddsd.secret import SecretText
from ddsd.storage.minio import S3Store
from ddsd.work import Services
from tests.mail.builders import settings


async def _say_and_wait(_services: Services, _subject: str) -> None:
    sys.stdout.write("running\n")
    sys.stdout.flush()
    await asyncio.sleep(3600)


async def _serve(url: str, name: str) -> None:
    store = S3Store(
        endpoint="http://127.0.0.1:9", access_key="x" * 16, secret_key=SecretText("y" * 16)
    )
    services = Services(
        settings=settings(),
        clock=SystemClock(),
        database=Database(url),
        store=store,
        post=KeptTransport(),
        instance_key=InstanceKey.generate(),
        deriver=Deriver(KdfCost(8192, 1, 1), parallel=1),
        wake_jobs=sys.stdout.flush,
    )
    await JobRunner(services, {"archive": _say_and_wait}, daemon=name).start()
    await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2]))
