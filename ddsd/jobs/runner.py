"""Runs the queue's jobs in this process, a few at a time.

Invariant: a job that was enqueued is run to its end at least once, whatever happens to the daemon meanwhile, and by
no two daemons at a time. A handler must therefore be idempotent: it may be interrupted anywhere and run again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import structlog

from ddsd.access import System
from ddsd.errors import DatabaseUnavailable, DdsError
from ddsd.jobs import claims
from ddsd.jobs.claims import Claim
from ddsd.jobs.queue import GiveUp
from ddsd.work import Services, reading, transaction

Handler = Callable[[Services, str], Awaitable[None]]

_LIFE_BYTES: Final = 8
_LAST_WORDS_S: Final = 5.0
_log = structlog.get_logger()


@dataclass(frozen=True)
class Pace:
    """How the runner keeps time.

    Args:
        poll_s: seconds between two looks at the queue when nobody wakes the runner.
        at_a_time: jobs that run at once.
        heartbeat_s: seconds between two signs of life of a running job.
        dead_after: a job without one for so long is another daemon's to take over. Must be several heartbeats, and
            more than the daemons' clocks differ by.
        attempts: tries before a job has failed, where ``attempts_of`` does not name its kind. A hundred take four
            days, so that a weekend without the object store is outlived.
        attempts_of: the same for single kinds.
        stop_within_s: seconds that running jobs have to end when the daemon stops.
    """

    poll_s: float = 5.0
    at_a_time: int = 4
    heartbeat_s: float = 20.0
    dead_after: timedelta = timedelta(minutes=2)
    attempts: int = 100
    attempts_of: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    stop_within_s: float = 20.0

    def most(self, kind: str) -> int:
        """Return how many tries a job of ``kind`` has."""
        return self.attempts_of.get(kind, self.attempts)


class JobRunner:
    """Claims due jobs and runs them.

    Args:
        services: what handlers get.
        handlers: by kind. Jobs of other kinds are left alone: another version's daemon may know them.
        pace: how it keeps time.
        daemon: this daemon's name, the same over restarts and no other daemon's; ``None``: from the settings.
    """

    def __init__(
        self,
        services: Services,
        handlers: Mapping[str, Handler],
        *,
        pace: Pace | None = None,
        daemon: str | None = None,
    ) -> None:
        self._services = services
        self._handlers = dict(handlers)
        self._kinds = frozenset(handlers)
        self._pace = pace or Pace()
        self._daemon = daemon or claims.daemon_name(services.settings)
        self._life = f"{self._daemon}/{secrets.token_hex(_LIFE_BYTES)}"
        self._woken = asyncio.Event()
        self._stopping = False
        self._looking: asyncio.Task[None] | None = None
        self._running: dict[asyncio.Task[None], int] = {}
        self._handling: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take over what an earlier life of this daemon left running, and begin.

        Raises:
            DatabaseUnavailable: the database is away.
        """
        await self._take_over()
        self._looking = asyncio.create_task(self._look_again_and_again(), name="jobs")

    def wake(self) -> None:
        """Look at the queue now. To be called on the runner's own event loop."""
        self._woken.set()

    async def stop(self) -> None:
        """Claim nothing more, let running jobs end, and hand back those that do not end in time."""
        self._stopping = True
        self.wake()
        if self._looking is not None:
            await self._looking
        if self._running:
            await asyncio.wait(self._running, timeout=self._pace.stop_within_s)
        for handling in self._handling:
            handling.cancel()
        if self._running:
            _, stuck = await asyncio.wait(self._running, timeout=_LAST_WORDS_S)
            for task in stuck:
                _log.error("job.does_not_end", job=task.get_name())

    async def _look_again_and_again(self) -> None:
        loop = asyncio.get_running_loop()
        take_over_at = loop.time() + self._pace.dead_after.total_seconds()
        away = False
        while not self._stopping:
            self._woken.clear()
            try:
                if loop.time() >= take_over_at:
                    take_over_at = loop.time() + self._pace.dead_after.total_seconds()
                    await self._take_over()
                await self._begin_due_jobs()
                if away:
                    _log.info("jobs.database_back")
                away = False
            except DatabaseUnavailable:
                if not away:
                    _log.warning("jobs.database_away")
                away = True
            except Exception:  # noqa: BLE001  # the queue must outlive whatever one look at it meets
                _log.exception("jobs.look_failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._pace.poll_s)

    async def _take_over(self) -> None:
        pace = self._pace
        running = frozenset(self._running.values())
        async with transaction(self._services, System()) as work:
            freed = await claims.take_over(work, self._life, running, pace.dead_after, pace.most)
        if freed:
            _log.warning("jobs.taken_over", count=freed)

    async def _begin_due_jobs(self) -> None:
        while not self._stopping and len(self._running) < self._pace.at_a_time:
            async with reading(self._services, System()) as work:
                job_id = await claims.next_due(work, self._kinds)
            if job_id is None:
                return
            async with transaction(self._services, System()) as work:
                claim = await claims.claim(work, job_id, self._life)
            if claim is not None:
                self._begin(claim)

    def _begin(self, claim: Claim) -> None:
        running = asyncio.create_task(self._run(claim), name=f"{claim.kind} {claim.subject}")
        self._running[running] = claim.job_id
        running.add_done_callback(self._ended)

    def _ended(self, running: asyncio.Task[None]) -> None:
        del self._running[running]
        self.wake()
        if not running.cancelled() and (wrong := running.exception()) is not None:
            _log.error("job.abandoned", job=running.get_name(), exc_info=wrong)

    async def _run(self, claim: Claim) -> None:
        handling = asyncio.create_task(self._handle(claim))
        self._handling.add(handling)
        try:
            await self._keep_alive_until_done(claim, handling)
            await self._record(claim, handling)
        except DatabaseUnavailable:
            # The row still says that we run it; without heartbeats it will be taken over and run again.
            _log.error("job.end_not_recorded", kind=claim.kind, subject=claim.subject)
        finally:
            self._handling.discard(handling)
            handling.cancel()

    async def _handle(self, claim: Claim) -> None:
        with structlog.contextvars.bound_contextvars(job=claim.job_id, job_kind=claim.kind):
            await self._handlers[claim.kind](self._services, claim.subject)

    async def _keep_alive_until_done(self, claim: Claim, handling: asyncio.Task[None]) -> None:
        """Renew the claim; interrupt the handler once somebody else may have taken the job over."""
        loop = asyncio.get_running_loop()
        # One heartbeat early: a take-over begins only when we have let go.
        lasts_s = self._pace.dead_after.total_seconds() - self._pace.heartbeat_s
        alive_at = loop.time()
        while not (await asyncio.wait({handling}, timeout=self._pace.heartbeat_s))[0]:
            renewed = await self._renew(claim)
            alive_at = loop.time() if renewed else alive_at
            if renewed is False or loop.time() - alive_at > lasts_s:
                _log.error("job.lost", kind=claim.kind, subject=claim.subject)
                handling.cancel()

    async def _renew(self, claim: Claim) -> bool | None:
        """Return whether the job is still ours; ``None`` if the database does not say."""
        try:
            async with transaction(self._services, System()) as work:
                return await claims.renew(work, claim)
        except DatabaseUnavailable:
            return None

    async def _record(self, claim: Claim, handling: asyncio.Task[None]) -> None:
        wrong = _failure(handling)
        async with transaction(self._services, System()) as work:
            match wrong:
                case None:
                    await claims.finish(work, claim)
                case _ if handling.cancelled() and self._stopping:
                    await claims.hand_back(work, claim)
                case GiveUp():
                    await claims.fail(work, claim, _words(wrong))
                case _ if claim.attempt >= self._pace.most(claim.kind):
                    await claims.fail(work, claim, _words(wrong))
                case _:
                    await claims.put_off(work, claim, _words(wrong))
        _log_end(claim, wrong)


def _failure(handling: asyncio.Task[None]) -> BaseException | None:
    if handling.cancelled():
        return asyncio.CancelledError("interrupted")
    return handling.exception()


def _words(wrong: BaseException) -> str:
    match wrong:
        case DdsError():
            return wrong.message
        case GiveUp():
            return str(wrong)
        case _:
            return f"{type(wrong).__name__}: {wrong}"


def _log_end(claim: Claim, wrong: BaseException | None) -> None:
    log = _log.bind(kind=claim.kind, subject=claim.subject, attempt=claim.attempt)
    if wrong is None:
        log.info("job.done")
    elif isinstance(wrong, (DdsError, GiveUp)):
        log.warning("job.failed", why=_words(wrong))
    else:
        log.error("job.failed", why=_words(wrong), exc_info=wrong)
