"""From where and to where a unit's data is moved, and what a move and the forgetting of its old copy both ask.

Invariant: nothing is removed from a bucket of the former store while the new one may be the same store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, select

from ddsd.access import System
from ddsd.errors import Conflict, NotFound, StoreRefused
from ddsd.files import copying, removal
from ddsd.files import stores as places
from ddsd.files.copying import Route
from ddsd.files.stores import Place
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.tables import Job, JobState
from ddsd.projects.status import FINAL
from ddsd.projects.tables import Project
from ddsd.storage.port import ObjectStore
from ddsd.units import stores, units
from ddsd.units.tables import Unit, UnitStore
from ddsd.work import Services, Work, reading

MOVE_UNIT: Final = "move_unit"
FORGET_FORMER_STORE: Final = "forget_former_store"
ACTIVE: Final = (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class Ways:
    """A move that was begun: the former account's row, and both stores."""

    unit_id: int
    row_id: int
    source: Place
    target: Place

    def route(self, project: Project) -> Route:
        """Return a project's way."""
        return Route(self.source.store, self.target.store, project.bucket)


async def ways_of(services: Services, public_id: str) -> Ways | None:
    """Return a unit's move; ``None``: there is none.

    Raises:
        Conflict: see :func:`require_same_configuration`.
    """
    async with reading(services, System()) as work:
        unit = await units.find(work, public_id)
        former = await stores.former(work, unit.id)
        current = await stores.current(work, unit.id)
    if former is None:
        return None
    require_same_configuration(services, former)
    source, target = await places.at(services, former), await places.at(services, current)
    return Ways(unit.id, former.id, source, target)


async def require_former(work: Work, unit: Unit) -> UnitStore:
    """Return the account that a unit's data is, or was, moved away from.

    Raises:
        NotFound: there is none.
    """
    former = await stores.former(work, unit.id)
    if former is None:
        raise NotFound(f"There is no old copy of the unit '{unit.public_id}'. See: ddsctl store ls")
    return former


def require_same_configuration(services: Services, former: UnitStore) -> None:
    """Refuse to look for an old copy at a configured store that is another one by now.

    Raises:
        Conflict: it is.
    """
    now = services.settings.store_place
    if former.configured_as and former.configured_as != now:
        raise Conflict(
            f"The unit's old copy is at the store that was configured as '{former.configured_as}', and [store] is now "
            f"'{now}': configure that one again until the copy is forgotten."
        )


async def are_left(work: Work, unit: Unit, former: UnitStore) -> bool:
    """Say whether projects of the unit name its former store."""
    left = await work.session.scalar(select(exists().where(at(unit.id, former))))
    return bool(left)


def at(unit_id: int, row: UnitStore | None) -> ColumnElement[bool]:
    """Return the condition that a project of the unit has its data at an account's store."""
    table = Project.columns()
    store_id = row.id if row is not None and row.endpoint else None
    return and_(table.unit_id == unit_id, table.store_id.is_not_distinct_from(store_id))


async def has_job(work: Work, unit: Unit, kind: str, states: Sequence[JobState] = ACTIVE) -> bool:
    """Say whether a job of a kind is there for the unit."""
    jobs = Job.columns()
    found = await work.session.scalar(
        select(
            exists().where(
                jobs.kind == kind, jobs.subject == unit.public_id, jobs.state.in_(states)
            )
        )
    )
    return bool(found)


def is_over(project: Project) -> bool:
    """Say whether a project has no data any more; see :func:`ddsd.files.reconciliation.has_data`."""
    return project.status in FINAL and project.ending is None and project.purge_after is None


async def require_two_stores(route: Route) -> None:
    """Refuse to go on when both addresses lead to one store; they may have come to do so since the move began."""
    if await copying.is_one_store(route):
        raise GiveUp(
            f"What is stored in {route.bucket} at the unit's new store is at its former one, too: they are one store. "
            "Nothing was removed. See that both addresses lead where they did when the move began."
        )


async def remove_bucket(store: ObjectStore, bucket: str) -> None:
    """Remove a bucket with all it holds; one that is gone already is fine."""
    if not await store.bucket_exists(bucket):
        return
    while keys := await removal.some_keys(store, bucket, removal.MOST_AT_ONCE):
        failures = await store.remove_objects(bucket, keys)
        if failures:
            raise StoreRefused(f"The store keeps {failures[0].key}: {failures[0].reason}")
    await removal.abort_uploads(store, bucket, None)
    await store.remove_bucket(bucket)
