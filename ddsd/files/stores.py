"""Where a project's objects are: the one place that says which store is asked for them.

Invariant: it is looked up for every use, so that nobody goes on at a store that a unit has left, and a second daemon
notices at its next call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import select

from ddsd.access import System
from ddsd.projects.tables import Project
from ddsd.settings import Settings
from ddsd.storage.port import ObjectStore
from ddsd.units import stores
from ddsd.units.tables import StoreState, UnitStore
from ddsd.work import Services, reading


@dataclass(frozen=True)
class Place:
    """A store, and whose keys are used there.

    ``store_id`` is the unit's account, ``None`` the configured one. ``identity`` names the account: keys that another
    one made are not used. ``operators_keys`` are ids of keys that this service did not make. ``replaced``: the unit has
    another account now.
    """

    store_id: int | None
    identity: str
    store: ObjectStore
    operators_keys: frozenset[str]
    replaced: bool = False


async def of(services: Services, project: Project) -> ObjectStore:
    """Return the store that has a project's objects now."""
    return (await place_of(services, project)).store


async def place_of(services: Services, project: Project) -> Place:
    """Return the store that has a project's objects now, and whose keys are used there."""
    query = (
        select(UnitStore)
        .join(Project, Project.columns().store_id == UnitStore.columns().id)
        .where(Project.columns().id == project.id)
    )
    async with reading(services, System()) as work:
        row = (await work.session.execute(query)).scalar_one_or_none()
    return await at(services, row)


async def numbered(services: Services, store_id: int | None) -> Place | None:
    """Return the store of an account by its number; ``None`` if it is forgotten."""
    if store_id is None:
        return configured(services)
    async with reading(services, System()) as work:
        row = await work.session.get(UnitStore, store_id)
    return None if row is None else await at(services, row)


async def at(services: Services, row: UnitStore | None) -> Place:
    """Return the store of an account; ``None``: the configured one."""
    if row is None or not row.endpoint:
        return configured(services)
    account = stores.account(services, row)
    keys = {account.access_key}
    if account.read_only is not None:
        keys.add(account.read_only.access_key)
    store = await services.stores.of(row.id, account)
    replaced = row.state is StoreState.REPLACED
    return Place(row.id, account.identity, store, frozenset(keys), replaced)


def configured(services: Services) -> Place:
    """Return the store that the configuration names."""
    return Place(
        None,
        services.settings.store_identity,
        services.store,
        _configured_keys(services.settings),
    )


async def in_use(services: Services) -> AsyncIterator[Place]:
    """Yield the configured store, then those where units' new projects go."""
    yield configured(services)
    async with reading(services, System()) as work:
        rows = await stores.listing(work)
    for row in rows:
        if row.store.state is StoreState.CURRENT:
            yield await at(services, row.store)


def _configured_keys(settings: Settings) -> frozenset[str]:
    section = settings.store
    return frozenset({section.access_key, section.read_only_access_key} - {""})
