"""Registrations that arrive at the same time are committed together: one transaction, one flush to disk.

Invariant: nobody is told that a file is registered before the transaction that holds it is durable.

Why: clients register every file by a call of its own, several at a time, and a commit costs milliseconds on an
ordinary disk. One by one (SQLite has one writer, PostgreSQL one lock per project) they would wait for each other's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final
from weakref import WeakKeyDictionary

from sqlalchemy.exc import SQLAlchemyError

from ddsd.access import Action, Nobody, System, require
from ddsd.db.engine import Database
from ddsd.files import registration
from ddsd.files.registration import Upload
from ddsd.projects import quota
from ddsd.projects.admission import Admission
from ddsd.work import Services, Work, transaction

Claim = Callable[[Admission], Awaitable[Upload]]
"""Finds out, in the transaction that is to hold the file, who registers it and where; raises if they may not.

It only reads: what it raises concerns this file alone."""

_MOST_TOGETHER: Final = 100
_FOR_OTHERS_S: Final = 0.005


@dataclass(frozen=True)
class _Waiting:
    claim: Claim
    verdict: asyncio.Future[Upload | Exception]


@dataclass
class _Queue:
    waiting: list[_Waiting] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    taken_last: int = 0
    all_back: asyncio.Event = field(default_factory=asyncio.Event)

    def join(self, one: _Waiting) -> None:
        """Wait to be taken."""
        self.waiting.append(one)
        if len(self.waiting) >= self.taken_last:
            self.all_back.set()

    async def take(self) -> list[_Waiting]:
        """Take who waits, and those who were answered together a moment ago: they are about to come back."""
        if self.taken_last > 1:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.all_back.wait(), _FOR_OTHERS_S)
        together = self.waiting[:_MOST_TOGETHER]
        del self.waiting[:_MOST_TOGETHER]
        self.taken_last = len(together)
        if len(self.waiting) < self.taken_last:
            self.all_back.clear()
        return together


_QUEUES: Final[WeakKeyDictionary[Database, _Queue]] = WeakKeyDictionary()


async def add(services: Services, claim: Claim) -> Upload:
    """Register a file, in a transaction of its own or together with others; it is durable on return.

    Raises:
        Forbidden: the member may not upload.
        WrongStatus, AlreadyExists, Conflict, QuotaExceeded, InvalidInput: see :func:`ddsd.files.registration.add`.
        DatabaseUnavailable: the database is away.
        Exception: what the claim raises.
    """
    queue = _QUEUES.setdefault(services.database, _Queue())
    one = _Waiting(claim, asyncio.get_running_loop().create_future())
    queue.join(one)
    async with queue.turn:
        if not one.verdict.done():
            together = await queue.take()
            # Whoever waits here may be cancelled; what is done for the others goes on.
            await asyncio.shield(_commit(services, together))
    verdict = await one.verdict
    if isinstance(verdict, Exception):
        raise verdict
    return verdict


async def _commit(services: Services, together: Sequence[_Waiting]) -> None:
    """Register all of them in one transaction, then tell each; if it fails, it fails for all."""
    try:
        async with transaction(services, System()) as work:
            admission = Admission(work)
            verdicts = [await _hear(one.claim, admission) for one in together]
            await _register(work, verdicts)
    except BaseException as wrong:
        for one in together:
            if not one.verdict.done():
                one.verdict.set_exception(wrong)
                one.verdict.exception()  # whoever was cancelled will not fetch it
        if not isinstance(wrong, Exception):
            raise
        return
    for one, verdict in zip(together, verdicts, strict=True):
        if not one.verdict.done():
            one.verdict.set_result(verdict)


async def _hear(claim: Claim, admission: Admission) -> Upload | Exception:
    """Return what is to be registered, or why not; only a fault of the database concerns the others, too."""
    try:
        upload = await claim(admission)
        require(upload.member or Nobody(), Action.UPLOAD)
    except SQLAlchemyError:
        raise
    except Exception as wrong:  # noqa: BLE001 - a fault in one claim is told to that one alone
        return wrong
    return upload


async def _register(work: Work, verdicts: list[Upload | Exception]) -> None:
    """Register the uploads; put in place of each that is refused why.

    The projects' turns come in the order of their ids, so that no two daemons wait for each other.
    """
    wanted = [(at, one) for at, one in enumerate(verdicts) if isinstance(one, Upload)]
    await quota.hold(work, [one.member.unit_id for _, one in wanted if one.member is not None])
    for project_id, group in groupby(sorted(wanted, key=_project), key=_project):
        places, uploads = zip(*group, strict=True)
        refusals = await registration.add_all(work, project_id, uploads)
        for at, refusal in zip(places, refusals, strict=True):
            if refusal is not None:
                verdicts[at] = refusal


def _project(numbered: tuple[int, Upload]) -> int:
    return numbered[1].project_id
