"""Projects, without their contents."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.dossier import advice, dossier
from ddsd.planes.admin import dossiers, present
from ddsd.projects import overview
from ddsd.work import Services, reading


@get("/projects")
async def list_projects(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    unit: FromQuery[str | None] = None,
) -> list[wire.Project]:
    """List every project, or those of one unit."""
    async with reading(services, operator) as work:
        return [present.project(row) for row in await overview.listing(work, unit)]


@get("/projects/{public_id:str}")
async def show_project(
    public_id: FromPath[str],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.ProjectDetails:
    """Show everything that is known of one project."""
    async with reading(services, operator) as work:
        read = await dossier.read(work, public_id)
        return dossiers.details(read, advice.advise(read))
