"""Units."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.notices import reminders
from ddsd.planes.admin import present
from ddsd.projects import overview
from ddsd.projects.overview import Load
from ddsd.units import units
from ddsd.units.units import Wanted
from ddsd.users import directory
from ddsd.work import Services, reading, rehearsal, transaction


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
    """Make a unit, or tell what would be made."""
    begin = rehearsal if data.dry_run else transaction
    async with begin(services, operator) as work:
        made = await units.create(work, **data.model_dump(exclude={"dry_run"}))
        return present.unit(units.row(made), Load())


@get("/units/{public_id:str}")
async def show_unit(
    public_id: FromPath[str],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Unit:
    """Show one unit with what it has."""
    async with reading(services, operator) as work:
        unit = await units.find(work, public_id)
        loads = await overview.load_by_unit(work)
        told = present.unit(units.row(unit), loads[public_id], reminders.of_unit(work, unit))
        admins = await directory.count_admins(work, unit.id)
        ready = await directory.count_admins_with_password(work, unit.id)
        return told.model_copy(update={"admins": admins, "admins_ready": ready})


@post("/units/{public_id:str}", status_code=HTTP_200_OK)
async def update_unit(
    public_id: FromPath[str],
    data: JSONBody[wire.UpdateUnit],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Changed:
    """Change a unit, or tell what that would change."""
    wanted = Wanted(**data.model_dump(exclude={"dry_run"}))
    async with transaction(services, operator) as work:
        changes = await units.update(work, public_id, wanted, dry_run=data.dry_run)
    return wire.Changed(
        dry_run=data.dry_run,
        changes=[
            wire.Change(field=one.field, before=one.before, after=one.after) for one in changes
        ],
    )
