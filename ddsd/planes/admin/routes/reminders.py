"""Reminders of deadlines."""

from __future__ import annotations

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.notices import reminders
from ddsd.planes.admin import present
from ddsd.work import Services, reading, transaction


@get("/reminders/due")
async def list_due(
    services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> list[wire.DueReminder]:
    """Tell what the next run would write; nothing is written."""
    async with reading(services, operator) as work:
        return [present.due_reminder(one) for one in await reminders.due(work)]


@post("/reminders/send")
async def send_due(
    services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> list[wire.DueReminder]:
    """Let a job write what is due now; tell what that is."""
    async with transaction(services, operator) as work:
        found = [present.due_reminder(one) for one in await reminders.due(work)]
        await reminders.begin(work)
    return found


@get("/reminders/units")
async def list_units(
    services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> list[wire.UnitReminders]:
    """List when each unit's researchers are reminded."""
    async with reading(services, operator) as work:
        return [present.unit_reminders(one) for one in await reminders.listing(work)]


@put("/reminders/units/{public_id:str}")
async def configure_unit(
    public_id: FromPath[str],
    data: JSONBody[wire.SetReminders],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.UnitReminders:
    """Say when a unit's researchers are reminded."""
    async with transaction(services, operator) as work:
        return present.unit_reminders(await reminders.configure(work, public_id, data.days))
