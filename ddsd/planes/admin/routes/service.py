"""The service as a whole: how it is, and where its database is."""

from __future__ import annotations

from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.db import revision
from ddsd.notices import maintenance
from ddsd.planes.admin import condition
from ddsd.planes.admin.condition import PublicPlane, Started
from ddsd.work import Services, reading, transaction


@get("/status")
async def show_status(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    started: NamedDependency[Started],
    public: NamedDependency[PublicPlane],
) -> wire.Status:
    """Tell how the service is."""
    async with reading(services, operator) as work:
        return await condition.status(work, started, public)


@get("/store")
async def show_store(services: NamedDependency[Services]) -> wire.StoreSettings:
    """Tell how the object store is configured, and whether it answers."""
    return await condition.store(services)


@get("/db/revision")
async def show_revision(services: NamedDependency[Services]) -> wire.Revision:
    """Tell where the database is, and where this daemon needs it."""
    at = await revision.current(services.database)
    return wire.Revision(database=services.settings.database_url, current=at, head=revision.head())


@get("/maintenance")
async def show_maintenance(
    services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> wire.Maintenance:
    """Tell whether the service is closed."""
    async with reading(services, operator) as work:
        return wire.Maintenance(on=await maintenance.is_on(work))


@put("/maintenance")
async def set_maintenance(
    data: JSONBody[wire.SetMaintenance],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Maintenance:
    """Close the service, or open it again."""
    async with transaction(services, operator) as work:
        await maintenance.turn(work, on=data.on)
    return wire.Maintenance(on=data.on)
