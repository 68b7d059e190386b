"""The old copy of a unit that was moved: removed for good, or only forgotten.

Invariant: what only the old copy has is copied before it is removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import delete, select

from ddsd.access import Action, System, require
from ddsd.audit import trail
from ddsd.errors import Busy
from ddsd.files import copying
from ddsd.files.tables import StoreKey
from ddsd.files.ways import (
    FORGET_FORMER_STORE,
    MOVE_UNIT,
    Ways,
    are_left,
    has_job,
    is_over,
    remove_bucket,
    require_former,
    require_two_stores,
    ways_of,
)
from ddsd.jobs import progress, queue
from ddsd.jobs.runner import Handler
from ddsd.jobs.tables import Job, JobState
from ddsd.projects.tables import Project
from ddsd.units import units
from ddsd.units.tables import Unit, UnitStore
from ddsd.work import Services, Work, reading, transaction


async def leave(work: Work, public_id: str, *, dry_run: bool) -> str:
    """Forget a unit's old copy, and the account, without removing anything there; return where it is.

    For a store that is no more, or whose data is to stay. Keys that were made there are not withdrawn.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit, or no old copy.
        Busy: the unit is still being moved, or the old copy is being removed at this moment.
    """
    require(work.actor, Action.OPERATE)
    unit = await units.find(work, public_id, for_change=True)
    former = await _require_moved(work, unit)
    if await has_job(work, unit, FORGET_FORMER_STORE, (JobState.RUNNING,)):
        raise Busy(f"The old copy of the unit '{public_id}' is being removed. See: ddsctl jobs ls")
    where = former.endpoint or former.configured_as
    if not dry_run:
        await _forget_row(work, unit.id, former.id)
        trail.record(work, "store.leave", public_id, source=where)
    return where


async def begin_forgetting(work: Work, public_id: str, *, dry_run: bool) -> tuple[str, Job | None]:
    """Begin to remove a unit's old copy; return where that is, and the job.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit, or no old copy.
        Busy: the unit is still being moved.
    """
    require(work.actor, Action.OPERATE)
    unit = await units.find(work, public_id, for_change=True)
    former = await _require_moved(work, unit)
    where = former.endpoint or former.configured_as
    if dry_run:
        return where, None
    job = await queue.enqueue(work, FORGET_FORMER_STORE, public_id)
    trail.record(work, "store.forget", public_id, source=where)
    return where, job


async def forget_former_store(services: Services, public_id: str) -> None:
    """Handle the job :data:`FORGET_FORMER_STORE`: remove the unit's buckets from its former store, and the account.

    What uploads that ended late have left there is copied first.

    Raises:
        GiveUp: the two stores are one; nothing was removed.
        StoreUnavailable, StoreRefused: one of the stores is away, or says no.
    """
    ways = await ways_of(services, public_id)
    if ways is None:
        return
    async with reading(services, System()) as work:
        table = Project.columns()
        found = await work.session.scalars(
            select(Project).where(table.unit_id == ways.unit_id).order_by(table.id)
        )
        everything = found.all()
    for done, project in enumerate(everything):
        total = len(everything)
        await progress.report(services, FORGET_FORMER_STORE, public_id, done=done, total=total)
        await _forget_project(services, project, ways)
    await _forget_account(services, public_id, ways)


async def _require_moved(work: Work, unit: Unit) -> UnitStore:
    """Return the unit's former account, if none of its data is left there and no move is under way."""
    former = await require_former(work, unit)
    if await are_left(work, unit, former) or await has_job(work, unit, MOVE_UNIT):
        raise Busy(f"The unit '{unit.public_id}' is still being moved. See: ddsctl jobs ls")
    return former


async def _forget_project(services: Services, project: Project, ways: Ways) -> None:
    """Remove what the former store has of a project."""
    route = ways.route(project)
    if not await route.source.bucket_exists(route.bucket):
        return
    if not is_over(project):
        await route.target.ensure_bucket(route.bucket)
        await require_two_stores(route)
        await copying.copy_late(services, project, route)
    await remove_bucket(route.source, route.bucket)


async def _forget_account(services: Services, public_id: str, ways: Ways) -> None:
    """Withdraw the keys that the former account made, and forget it."""
    table = StoreKey.columns()
    if ways.source.store_id is not None:
        async with reading(services, System()) as work:
            keys = await work.session.scalars(
                select(table.access_key).where(table.store_id == ways.source.store_id)
            )
            left = keys.all()
        for access_key in left:
            await ways.source.store.revoke_key(access_key)
    async with transaction(services, System()) as work:
        await _forget_row(work, ways.unit_id, ways.row_id)
        trail.record(work, "store.forgotten", public_id, source=ways.source.identity)


async def _forget_row(work: Work, unit_id: int, row_id: int) -> None:
    await copying.forget_all(work, unit_id)
    await work.session.execute(delete(StoreKey).where(StoreKey.columns().store_id == row_id))
    await work.session.execute(delete(UnitStore).where(UnitStore.columns().id == row_id))


HANDLERS: Final[Mapping[str, Handler]] = {FORGET_FORMER_STORE: forget_former_store}
