"""Units."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.planes.admin import present
from ddsd.projects import overview
from ddsd.projects.overview import Load
from ddsd.units import units
from ddsd.work import Services, reading, transaction


@get("/units")
async def list_units(
    services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> list[wire.Unit]:
    """List every unit."""
    async with reading(services, operator) as work:
        loads = await overview.load_by_unit(work)
        return [present.unit(row, loads[row.public_id]) for row in await units.listing(work)]


@post("/units")
async def create_unit(
    data: JSONBody[wire.CreateUnit],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Unit:
    """Make a unit."""
    async with transaction(services, operator) as work:
        made = await units.create(work, **data.model_dump())
        return present.unit(units.row(made), Load())
