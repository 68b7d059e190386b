"""The operator's check of a store: a job that performs the checks one by one and writes down what came of each.

Invariant: what is written is of one run, the last one, as far as it came. Interrupted, it begins anew, and removes what
the earlier try left at the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select

from ddsd.access import Action, System, require
from ddsd.audit import trail
from ddsd.errors import StoreRefused, StoreUnavailable
from ddsd.files import stores
from ddsd.files.tables import StoreCheckResult
from ddsd.jobs import progress, queue
from ddsd.jobs.runner import Handler
from ddsd.jobs.schedule import EVERYTHING
from ddsd.jobs.tables import Job
from ddsd.projects.projects import bucket_name
from ddsd.storage.check import bench as benches
from ddsd.storage.check.bench import MIB
from ddsd.storage.check.catalogue import ANSWERS, CHECKS
from ddsd.storage.check.outcome import Check, Outcome, Verdict, perform
from ddsd.storage.port import ObjectStore
from ddsd.units import stores as accounts
from ddsd.units import units
from ddsd.units.units import spelled
from ddsd.work import Services, Work, reading, transaction

CHECK_STORE: Final = "check_store"
_BY_NAME: Final[Mapping[str, Check]] = {check.name: check for check in CHECKS}
_NO_PROJECT: Final = "00000"
"""Projects are numbered from one: no project has this number, but the store lets its bucket be made."""
_CONFIGURED: Final = "ddsd-check"
_TRANSFER_BYTES: Final = 128 * MIB


@dataclass(frozen=True)
class _Subject:
    """A store to check, and how the names of its scratch buckets begin."""

    store: ObjectStore
    beginning: str


async def begin(work: Work, unit: str | None) -> Job:
    """Enqueue a check of a unit's store, or of the configured one.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit.
        Busy: it is queued or running already.
    """
    require(work.actor, Action.OPERATE)
    if unit is not None:
        await units.find(work, unit)
    subject = unit or EVERYTHING
    job = await queue.enqueue(work, CHECK_STORE, subject)
    await _forget_results(work, subject)
    trail.record(work, "store.check", subject)
    return job


async def results(work: Work, unit: str | None) -> Sequence[tuple[Check, StoreCheckResult]]:
    """Return what came of the last check of a unit's store, or of the configured one, as far as it is.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit.
    """
    require(work.actor, Action.OPERATE)
    if unit is not None:
        await units.find(work, unit)
    table = StoreCheckResult.columns()
    found = await work.session.scalars(
        select(StoreCheckResult)
        .where(table.subject == (unit or EVERYTHING))
        .order_by(table.position)
    )
    return [(_BY_NAME[row.name], row) for row in found if row.name in _BY_NAME]


async def check_store(services: Services, subject: str) -> None:
    """Handle the job :data:`CHECK_STORE`: perform every check; none when the store does not answer."""
    await _forget(services, subject)
    checked = await _subject(services, subject)
    async with benches.opened(
        checked.store,
        clock=services.clock,
        new_name=_names(services, checked.beginning),
        ca_file=services.settings.store.ca_file,
        transfer_bytes=_TRANSFER_BYTES,
    ) as bench:
        for position, check in enumerate(CHECKS, start=1):
            outcome = await perform(check, bench)
            await _keep(services, subject, position, outcome)
            await progress.report(services, CHECK_STORE, subject, done=position, total=len(CHECKS))
            if check is ANSWERS:
                if outcome.verdict is not Verdict.PASSED:
                    return
                await _sweep(checked)


async def _subject(services: Services, subject: str) -> _Subject:
    if subject == EVERYTHING:
        return _Subject(stores.configured(services).store, _CONFIGURED + _NO_PROJECT)
    async with reading(services, System()) as work:
        unit = await units.find(work, subject)
        account = await accounts.current(work, unit.id)
    place = await stores.at(services, account)
    return _Subject(place.store, spelled(unit.internal_ref) + _NO_PROJECT)


def _names(services: Services, beginning: str) -> Callable[[], str]:
    """Return what makes names of the form that a unit's account may make buckets of."""
    return lambda: bucket_name(beginning, services.clock.now())


async def _sweep(checked: _Subject) -> None:
    try:
        await benches.sweep(checked.store, f"{checked.beginning}-")
    except (StoreRefused, StoreUnavailable):
        return  # the checks that follow tell why


async def _keep(services: Services, subject: str, position: int, outcome: Outcome) -> None:
    async with transaction(services, System()) as work:
        work.session.add(
            StoreCheckResult(
                subject=subject,
                name=outcome.check.name,
                position=position,
                verdict=outcome.verdict,
                seen=outcome.seen,
                seconds=outcome.seconds,
                checked_at=work.now,
            )
        )


async def _forget(services: Services, subject: str) -> None:
    async with transaction(services, System()) as work:
        await _forget_results(work, subject)


async def _forget_results(work: Work, subject: str) -> None:
    table = StoreCheckResult.columns()
    await work.session.execute(delete(StoreCheckResult).where(table.subject == subject))


HANDLERS: Final[Mapping[str, Handler]] = {CHECK_STORE: check_store}
