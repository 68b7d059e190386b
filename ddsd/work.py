"""One piece of work: a transaction, the moment it happens at, who does it, and the services it may use.

Every verb of the domain takes a :class:`Work` first. :func:`transaction` is the only place that commits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from ddsd.access import Actor
from ddsd.clock import Clock
from ddsd.db.engine import Database
from ddsd.keys.deriver import Deriver
from ddsd.keys.instance import InstanceKey
from ddsd.mail.port import MailTransport
from ddsd.settings import Settings
from ddsd.storage.port import ObjectStore
from ddsd.storage.stores import Stores


@dataclass(frozen=True)
class Services:
    """What the process has one of. Built in :mod:`ddsd.bootstrap` alone.

    ``store`` is the configured one, ``stores`` opens those of units; which has a project's objects:
    :mod:`ddsd.files.stores`.
    """

    settings: Settings
    clock: Clock
    database: Database
    store: ObjectStore
    stores: Stores
    post: MailTransport
    instance_key: InstanceKey
    deriver: Deriver
    wake_jobs: Callable[[], None]


@dataclass(frozen=True)
class Work:
    """A transaction in progress.

    ``now`` is one moment for the whole transaction. ``after_commit`` callables run once it is durable, and not at
    all if it is rolled back.
    """

    session: AsyncSession
    now: datetime
    actor: Actor
    services: Services
    after_commit: list[Callable[[], None]] = field(default_factory=list)


@asynccontextmanager
async def transaction(services: Services, actor: Actor) -> AsyncIterator[Work]:
    """Open a piece of work that may write; commit when the block ends, roll back if it raises.

    Raises:
        DatabaseUnavailable: the database is away.
    """
    async with services.database.writing() as session:
        work = Work(session, services.clock.now(), actor, services)
        yield work
    for then in work.after_commit:
        then()


@asynccontextmanager
async def reading(services: Services, actor: Actor) -> AsyncIterator[Work]:
    """Open a piece of work that only reads.

    Raises:
        DatabaseUnavailable: the database is away.
    """
    async with services.database.reading() as session:
        yield Work(session, services.clock.now(), actor, services)


@asynccontextmanager
async def rehearsal(services: Services, actor: Actor) -> AsyncIterator[Work]:
    """Open a piece of work of which nothing stays, nor happens after: for dry runs, which refuse what a real one would.

    Raises:
        DatabaseUnavailable: the database is away.
    """
    with suppress(_TakenBack):
        async with transaction(services, actor) as work:
            yield work
            await work.session.flush()  # what the database refuses is refused here, too
            raise _TakenBack


class _TakenBack(Exception):
    """Ends a transaction that is not to be."""
