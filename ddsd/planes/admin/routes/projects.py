"""Projects, without their contents."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.planes.admin import present
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
