"""A unit's data moved to another store, project by project, while people go on using it.

Invariant: a project's data is whole at the store that its row names. Until a project is switched it is read from the
old store; the last of it is copied while nobody can add or remove anything (``Project.moving``), and one transaction
switches it. The old copy stays until the operator has it forgotten (:mod:`ddsd.files.leaving`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import ColumnElement, and_, func, select, update

from ddsd.access import Action, Actor, System, require
from ddsd.audit import trail
from ddsd.errors import Busy, Conflict, StoreRefused
from ddsd.files import accounts, copying, grants
from ddsd.files import stores as places
from ddsd.files.accounts import Credentials
from ddsd.files.reconciliation import has_data
from ddsd.files.ways import (
    ACTIVE,
    FORGET_FORMER_STORE,
    MOVE_UNIT,
    Ways,
    are_left,
    at,
    has_job,
    is_over,
    remove_bucket,
    require_former,
    require_same_configuration,
    require_two_stores,
    ways_of,
)
from ddsd.jobs import progress, queue
from ddsd.jobs.runner import Handler
from ddsd.jobs.tables import Job, JobState
from ddsd.projects import busy
from ddsd.projects.projects import bucket_name
from ddsd.projects.tables import Project
from ddsd.storage.port import ObjectStore
from ddsd.storage.stores import StoreAccount
from ddsd.units import stores, units
from ddsd.units.tables import StoreState, Unit, UnitStore
from ddsd.work import Services, Work, reading, transaction


@dataclass(frozen=True)
class Move:
    """What is moved, from where and to where. ``job`` does it; ``None`` in a dry run."""

    unit: str
    source: str
    target: str
    projects: int
    files: int
    size_bytes: int
    warnings: tuple[str, ...]
    job: Job | None


async def begin(
    services: Services, actor: Actor, public_id: str, wanted: Credentials | None, *, dry_run: bool
) -> Move:
    """Begin to move a unit's data; its new projects go to the new store at once.

    Args:
        services: the stores and the database.
        actor: an operator.
        public_id: the unit.
        wanted: the account at the new store, with its address; it is tried out. ``None``: the configured store.
        dry_run: try the account out, tell what would be moved, and begin nothing.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit.
        InvalidFields: an address or key cannot be one.
        Conflict: it is there already, maybe by another address, or the copy of an earlier move has not been forgotten.
        StoreUnavailable, StoreRefused: the new store does not answer, or refuses the account.
    """
    require(actor, Action.OPERATE)
    async with reading(services, actor) as work:
        unit = await units.find(work, public_id)
        before = await _require_movable(work, unit, wanted)
        load = await _load(work, unit, before)
    account, said = await _tried(services, unit, wanted)
    await _require_another_store(services, unit, before, account)
    move = replace(load, target=_shown(services, account), warnings=said)
    if dry_run:
        return move
    async with transaction(services, actor) as work:
        unit = await units.find(work, public_id, for_change=True)
        await _swap(work, unit, await _require_movable(work, unit, wanted), account)
        job = await queue.enqueue(work, MOVE_UNIT, public_id)
        trail.record(work, "store.migrate", public_id, source=move.source, target=move.target)
    return replace(move, job=job)


async def begin_by_administrator(
    services: Services, actor: Actor, public_id: str, administrator: Credentials
) -> Move:
    """Begin to move a unit's data to another MinIO, whose administrator makes the unit's user there first.

    That it is another store is seen before: at the one the unit uses, its user would get another secret.

    Raises:
        Forbidden, NotFound, InvalidFields, Conflict, StoreUnavailable, StoreRefused: see :func:`begin`.
    """
    require(actor, Action.OPERATE)
    async with reading(services, actor) as work:
        unit = await units.find(work, public_id)
        before = await _require_movable(work, unit, administrator)
    account = accounts.account_of(services, unit, administrator)
    await _require_another_store(services, unit, before, account)
    made = await accounts.make_user_elsewhere(services, actor, public_id, administrator)
    return await begin(services, actor, public_id, made, dry_run=False)


async def move_unit(services: Services, public_id: str) -> None:
    """Handle the job :data:`MOVE_UNIT`: copy and switch every project that has its data at the former store.

    Raises:
        Busy: projects that something else is being done to are still there; another run goes on.
        GiveUp: the two stores are one.
        StoreUnavailable, StoreRefused: one of the stores is away, or says no. What was copied stays copied.
    """
    ways = await ways_of(services, public_id)
    if ways is None:
        return
    left = await _left(services, ways)
    total = sum(project.file_count for project in left)
    done = (await progress.reported(services, MOVE_UNIT, public_id)).done
    total, held_back = max(total + done, done), []
    for project in left:
        await _require_on_the_way(services, ways)

        async def tell(count: int, before: int = done) -> None:
            most = max(total, before + count)
            await progress.report(services, MOVE_UNIT, public_id, done=before + count, total=most)

        if await _move_project(services, project, ways, tell):
            done += project.file_count
        else:
            held_back.append(project.public_id)
    if held_back:
        raise Busy(
            f"Something else is being done to {', '.join(held_back)}: moved when that is over."
        )
    await _remove_needless_copies(services, ways)
    for project in await _moved(services, ways):
        await copying.copy_late(services, project, ways.route(project))
    await _finish(services, public_id, ways)


async def turn_back(work: Work, public_id: str, *, dry_run: bool) -> Move:
    """Move what has been moved of a unit back to where it was; its new projects go there again at once.

    For a move that cannot end, or that should not have begun. What was copied is the old copy then.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit, or no store it was moved away from.
        Busy: the move is about to end, or the old copy is being removed.
        Conflict: it was moved away from the configured store, and another one is configured now.
    """
    require(work.actor, Action.OPERATE)
    unit = await units.find(work, public_id, for_change=True)
    former, current = await require_former(work, unit), await stores.current(work, unit.id)
    require_same_configuration(work.services, former)
    if await has_job(work, unit, FORGET_FORMER_STORE):
        raise Busy(f"The old copy of the unit '{public_id}' is being removed. See: ddsctl jobs ls")
    running = await has_job(work, unit, MOVE_UNIT, (JobState.RUNNING,))
    if running and not await are_left(work, unit, former):
        raise Busy(f"The move of the unit '{public_id}' is about to end. Try again in a moment.")
    load = await _load(work, unit, current, at(unit.id, current))
    move = replace(load, target=former.endpoint or former.configured_as)
    if dry_run:
        return move
    await _swap_back(work, unit, former, current)
    await queue.enqueue_or_hasten(work, MOVE_UNIT, public_id)
    trail.record(work, "store.turn_back", public_id, source=move.source, target=move.target)
    return replace(move, job=await _job(work, unit))


async def _require_on_the_way(services: Services, ways: Ways) -> None:
    """Refuse to go on with a move that was turned back."""
    async with reading(services, System()) as work:
        await _require_unturned(work, ways)


async def _require_unturned(work: Work, ways: Ways) -> None:
    former = await stores.former(work, ways.unit_id)
    if former is None or former.id != ways.row_id:
        raise Busy("The move was turned back.")


async def _require_movable(work: Work, unit: Unit, wanted: Credentials | None) -> UnitStore | None:
    """Return the account that the unit has now, if its data may be moved to the wanted one."""
    former = await stores.former(work, unit.id)
    if former is not None:
        raise Conflict(
            f"The unit '{unit.public_id}' has an old copy at {former.endpoint or former.configured_as}. "
            f"When it is moved completely: ddsctl store forget --unit {unit.public_id}; to move it back there: "
            f"ddsctl store migrate --unit {unit.public_id} --to former"
        )
    before = await stores.current(work, unit.id)
    now = accounts.address_of(work.services, before)
    if wanted is None and before is None:
        raise Conflict(f"The unit '{unit.public_id}' uses the configured store already.")
    if wanted is not None and now is not None and wanted.endpoint == now.endpoint:
        raise Conflict(
            f"The unit '{unit.public_id}' has its data at {now.endpoint} already. "
            "To change only its account there: ddsctl store set-credentials"
        )
    return before


async def _load(
    work: Work, unit: Unit, before: UnitStore | None, *which: ColumnElement[bool]
) -> Move:
    table = Project.columns()
    counts = await work.session.execute(
        select(
            func.count(),
            func.coalesce(func.sum(table.file_count), 0),
            func.coalesce(func.sum(table.bytes_stored), 0),
        ).where(table.unit_id == unit.id, has_data(), *which)
    )
    projects, files, size_bytes = counts.one()
    source = accounts.address_of(work.services, before)
    where = source.endpoint if source else work.services.settings.store_place
    return Move(unit.public_id, where, "", projects, int(files), int(size_bytes), (), None)


async def _tried(
    services: Services, unit: Unit, wanted: Credentials | None
) -> tuple[StoreAccount | None, tuple[str, ...]]:
    if wanted is None:
        await services.store.probe()
        return None, ()
    account = accounts.account_of(services, unit, wanted)
    return account, accounts.warnings(await accounts.tried(services, unit, account), account)


async def _require_another_store(
    services: Services, unit: Unit, before: UnitStore | None, account: StoreAccount | None
) -> None:
    """Refuse a new store that is the old one by another address: forgetting the old copy would remove the only one."""
    source = (await places.at(services, before)).store
    target = services.store if account is None else await services.stores.tried(account)
    scratch = bucket_name(f"{unit.internal_ref}{0:05d}", services.clock.now())
    try:
        if await _sees(source, target, scratch):
            raise Conflict(
                f"The unit '{unit.public_id}' has its data there already: what is made at the one address is at the "
                "other. To change only its account: ddsctl store set-credentials"
            )
    finally:
        if account is not None:
            await target.stop()


async def _sees(source: ObjectStore, target: ObjectStore, scratch: str) -> bool:
    """Say whether a bucket that is made at one store is there at the other."""
    await target.ensure_bucket(scratch)
    try:
        return await source.bucket_exists(scratch)
    except (
        StoreRefused
    ):  # an account that may not look; each bucket is looked at again before it is removed
        return False
    finally:
        await target.remove_bucket(scratch)


def _shown(services: Services, account: StoreAccount | None) -> str:
    return account.address.endpoint if account else services.settings.store_place


async def _swap(
    work: Work, unit: Unit, before: UnitStore | None, account: StoreAccount | None
) -> None:
    """Let the unit's account be its former one, and the new one its current."""
    await copying.forget_all(work, unit.id)
    if before is None:
        before = _row(work, unit, StoreState.FORMER)
        before.configured_as = work.services.settings.store_place
    before.state, before.changed_at = StoreState.FORMER, work.now
    await work.session.flush()
    if account is not None:
        row = _row(work, unit, StoreState.CURRENT)
        stores.put_account(work.services, row, account)
    await work.session.flush()


async def _swap_back(work: Work, unit: Unit, former: UnitStore, current: UnitStore | None) -> None:
    """Let the unit's former account be its current one again, and the current one its former."""
    await copying.forget_all(work, unit.id)
    former.state = StoreState.REPLACED
    await work.session.flush()
    if current is None:
        current = _row(work, unit, StoreState.FORMER)
        current.configured_as = work.services.settings.store_place
    current.state, current.changed_at = StoreState.FORMER, work.now
    await work.session.flush()
    if former.configured_as:
        await work.session.delete(former)
    else:
        former.state, former.changed_at = StoreState.CURRENT, work.now
    await work.session.flush()


def _row(work: Work, unit: Unit, state: StoreState) -> UnitStore:
    row = UnitStore(unit_id=unit.id, state=state, created_at=work.now, changed_at=work.now)
    work.session.add(row)
    return row


def _at_source(ways: Ways) -> ColumnElement[bool]:
    table = Project.columns()
    return and_(
        table.unit_id == ways.unit_id, table.store_id.is_not_distinct_from(ways.source.store_id)
    )


async def _left(services: Services, ways: Ways) -> Sequence[Project]:
    async with reading(services, System()) as work:
        found = await work.session.scalars(
            select(Project).where(_at_source(ways), has_data()).order_by(Project.columns().id)
        )
        return found.all()


async def _move_project(
    services: Services, project: Project, ways: Ways, told: copying.Told
) -> bool:
    """Copy a project and switch it; False if something else is being done to it."""
    route = ways.route(project)
    await route.target.ensure_bucket(route.bucket)
    await require_two_stores(route)
    size_bytes = await copying.copy_new(services, project, route, told)
    try:
        async with _closed(services, project, ways):
            size_bytes += await copying.copy_new(services, project, route, told)
            await copying.settle(route)
            await _switch(services, project, ways, size_bytes)
    except Busy:
        return False
    return True


@asynccontextmanager
async def _closed(services: Services, project: Project, ways: Ways) -> AsyncIterator[None]:
    """Let nothing be added to the project or removed from it until the block ends.

    Raises:
        Busy: something else is being done to it, or it is there no more.
        GiveUp: an upload key of it cannot be withdrawn.
    """
    keys = await _close(services, project, ways)
    try:
        for key in keys:
            await grants.revoke_store_key(services, key)
        yield
    finally:
        async with transaction(services, System()) as work:
            await work.session.execute(
                update(Project).where(Project.columns().id == project.id).values(moving=False)
            )


async def _close(services: Services, project: Project, ways: Ways) -> Sequence[str]:
    """Note that the project is being moved; return its upload keys, handed out no more, as subjects of jobs."""
    async with transaction(services, System()) as work:
        now = await work.session.get_one(
            Project, project.id, with_for_update=True, populate_existing=True
        )
        if is_over(now) or now.store_id != ways.source.store_id:
            raise Busy("The project has no data there any more.")
        if not now.moving:  # it is if a daemon died here
            await busy.require_idle(work, now)
        now.moving = True
        return await grants.retire_uploads(work, now)


async def _switch(services: Services, project: Project, ways: Ways, size_bytes: int) -> None:
    async with transaction(services, System()) as work:
        current = await _current_for_good(work, ways)
        await work.session.execute(
            update(Project)
            .where(Project.columns().id == project.id)
            .values(store_id=current, moving=False)
        )
        trail.record(
            work,
            "store.move_project",
            project.public_id,
            bytes=size_bytes,
            source=ways.source.identity,
            target=ways.target.identity,
        )


async def _current_for_good(work: Work, ways: Ways) -> int | None:
    """Return the number of the unit's current account; nobody gives the unit another one meanwhile."""
    await work.session.get_one(Unit, ways.unit_id, with_for_update={"key_share": True})
    return await stores.current_id(work, ways.unit_id)


async def _remove_needless_copies(services: Services, ways: Ways) -> None:
    """Remove what was copied of projects that were over before they were switched."""
    async with reading(services, System()) as work:
        found = await work.session.scalars(select(Project).where(_at_source(ways), ~has_data()))
        over = found.all()
    for project in over:
        await remove_bucket(ways.target.store, project.bucket)


async def _moved(services: Services, ways: Ways) -> Sequence[Project]:
    """Return the unit's projects that have their data at the new store."""
    table = Project.columns()
    async with reading(services, System()) as work:
        found = await work.session.scalars(
            select(Project)
            .where(
                table.unit_id == ways.unit_id,
                table.store_id.is_not_distinct_from(ways.target.store_id),
                has_data(),
            )
            .order_by(table.id)
        )
        return found.all()


async def _finish(services: Services, public_id: str, ways: Ways) -> None:
    """Let the projects that are over name the new store, too: the former one is to be forgotten."""
    async with transaction(services, System()) as work:
        current = await _current_for_good(work, ways)
        await _require_unturned(work, ways)
        await work.session.execute(
            update(Project)
            .where(_at_source(ways), ~has_data())
            .values(store_id=current)
            .execution_options(synchronize_session=False)
        )
        trail.record(work, "store.migrated", public_id, target=ways.target.identity)


async def _job(work: Work, unit: Unit) -> Job:
    """Return the job that moves the unit."""
    jobs = Job.columns()
    found = await work.session.scalars(
        select(Job).where(
            jobs.kind == MOVE_UNIT, jobs.subject == unit.public_id, jobs.state.in_(ACTIVE)
        )
    )
    return found.one()


HANDLERS: Final[Mapping[str, Handler]] = {
    MOVE_UNIT: move_unit,
}
