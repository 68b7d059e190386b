"""What happens to projects, by an operator's hand and by their deadlines. Nothing of it opens one."""

from __future__ import annotations

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from ddsd.access import Operator
from ddsd.audit import trail
from ddsd.contract import admin as wire
from ddsd.lifecycle import deadlines, endings, undo, verbs
from ddsd.planes.admin import present
from ddsd.projects import overview
from ddsd.units.tables import Unit
from ddsd.work import Services, reading, rehearsal, transaction


@post("/projects/{public_id:str}/status", status_code=200)
async def change_project(
    public_id: FromPath[str],
    data: JSONBody[wire.ChangeProject],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.ChangedProject:
    """Change a project's status or deadline."""
    begin = rehearsal if data.dry_run else transaction
    async with begin(services, operator) as work:
        project = await endings.locked(work, public_id)
        mailed = await verbs.do(
            work, project, present.VERBS[data.verb], days=data.days, send_email=data.send_email
        )
        unit = await work.session.get_one(Unit, project.unit_id)
        shown = present.project(overview.row(project, unit.public_id))
    return wire.ChangedProject(project=shown, mailed=mailed, dry_run=data.dry_run)


@get("/lifecycle/due")
async def list_due(
    services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> list[wire.Due]:
    """List what the night would do now, and what it would not."""
    async with reading(services, operator) as work:
        return [present.due(one) for one in await deadlines.due(work)]


@post("/lifecycle/run", status_code=200)
async def run_night(
    services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> wire.NightRun:
    """Follow the deadlines now, in the background."""
    async with transaction(services, operator) as work:
        job = await deadlines.run_now(work)
        trail.record(work, "lifecycle.run", "all", started=job is not None)
    return wire.NightRun(started=job is not None, job=job.id if job else None)


@put("/units/{public_id:str}/undo-days")
async def set_undo_days(
    public_id: FromPath[str],
    data: JSONBody[wire.SetUndoDays],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.UndoDays:
    """Say how long a unit's projects can be restored."""
    begin = rehearsal if data.dry_run else transaction
    async with begin(services, operator) as work:
        unit = await undo.configure(work, public_id, data.days)
        return wire.UndoDays(unit=unit.public_id, days=unit.undo_days, dry_run=data.dry_run)
