"""The check of a store: begun here, performed as a job, told as far as it is."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.files import store_check
from ddsd.planes.admin import present
from ddsd.work import Services, reading, transaction


@post("/store/checks")
async def check_store(
    data: JSONBody[wire.CheckStore],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Job:
    """Begin to check a unit's store, or the configured one."""
    async with transaction(services, operator) as work:
        return present.job(await store_check.begin(work, data.unit))


@get("/store/checks")
async def list_store_checks(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    unit: FromQuery[str | None] = None,
) -> list[wire.StoreCheck]:
    """List what came of the last check, as far as it is."""
    async with reading(services, operator) as work:
        found = await store_check.results(work, unit)
        return [present.store_check(check, result) for check, result in found]
