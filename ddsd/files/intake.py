"""Registrations that arrive at the same time are committed together: one transaction, one flush to disk.

Invariant: nobody is told that a file is registered before the transaction that holds it is durable.

Why: clients register every file by a call of its own, several at a time, and a commit costs milliseconds on an
ordinary disk. One by one (SQLite has one writer, PostgreSQL one lock per project) they would wait for each other's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final
from weakref import WeakKeyDictionary

from ddsd.access import Action, Member, System, require
from ddsd.db.engine import Database
from ddsd.errors import DdsError
from ddsd.files import registration
from ddsd.files.registration import NewFile, Upload
from ddsd.projects import quota
from ddsd.projects.tables import Project
from ddsd.work import Services, transaction

_MOST_TOGETHER: Final = 100
_FOR_OTHERS_S: Final = 0.005


@dataclass(frozen=True)
class _Waiting:
    upload: Upload
    verdict: asyncio.Future[DdsError | None]


@dataclass
class _Queue:
    waiting: list[_Waiting] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    taken_last: int = 0

    async def take(self) -> list[_Waiting]:
        """Take who waits, and those who were answered together a moment ago: they are about to come back."""
        if self.taken_last > 1 and len(self.waiting) < self.taken_last:
            await asyncio.sleep(_FOR_OTHERS_S)
        together = self.waiting[:_MOST_TOGETHER]
        del self.waiting[:_MOST_TOGETHER]
        self.taken_last = len(together)
        return together


_QUEUES: Final[WeakKeyDictionary[Database, _Queue]] = WeakKeyDictionary()


async def add(services: Services, member: Member, project: Project, new: NewFile) -> None:
    """Register a file, in a transaction of its own or together with others; it is durable on return.

    That the project is the member's is checked by the caller, before; its status is checked again.

    Raises:
        Forbidden: the member may not upload.
        WrongStatus, AlreadyExists, Conflict, QuotaExceeded, InvalidInput: see :func:`ddsd.files.registration.add`.
        DatabaseUnavailable: the database is away.
    """
    require(member, Action.UPLOAD)
    queue = _QUEUES.setdefault(services.database, _Queue())
    verdict: asyncio.Future[DdsError | None] = asyncio.get_running_loop().create_future()
    queue.waiting.append(_Waiting(Upload(project.id, new, member), verdict))
    async with queue.turn:
        if not verdict.done():
            together = await queue.take()
            # Whoever waits here may be cancelled; what is done for the others goes on.
            await asyncio.shield(_commit(services, together))
    refusal = await verdict
    if refusal is not None:
        raise refusal


async def _commit(services: Services, together: Sequence[_Waiting]) -> None:
    """Register all of them in one transaction, then tell each; if it fails, it fails for all."""
    try:
        refusals = await _register(services, [one.upload for one in together])
    except BaseException as wrong:
        for one in together:
            if not one.verdict.done():
                one.verdict.set_exception(wrong)
                one.verdict.exception()  # whoever was cancelled will not fetch it
        if not isinstance(wrong, Exception):
            raise
        return
    for one, refusal in zip(together, refusals, strict=True):
        if not one.verdict.done():
            one.verdict.set_result(refusal)


async def _register(services: Services, uploads: Sequence[Upload]) -> list[DdsError | None]:
    """Go through the projects in the order of their ids, so that no two daemons wait for each other."""
    refusals: dict[int, DdsError | None] = {}
    numbered = sorted(enumerate(uploads), key=lambda one: one[1].project_id)
    async with transaction(services, System()) as work:
        await quota.hold(work, [one.member.unit_id for one in uploads if one.member is not None])
        for project_id, group in groupby(numbered, key=lambda one: one[1].project_id):
            numbers, members = zip(*group, strict=True)
            verdicts = await registration.add_all(work, project_id, members)
            refusals.update(zip(numbers, verdicts, strict=True))
    return [refusals[number] for number in range(len(uploads))]
