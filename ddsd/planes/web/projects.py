"""The page that lists one's projects: what there is, until when, and whether one can open it.

A unit admin takes back from here what a deadline has archived, after a page that asks.
"""

from __future__ import annotations

from litestar import Response, post, route
from litestar.params import FromPath

from ddsd.access import Action, Role, allowed, require
from ddsd.lifecycle import undo
from ddsd.planes.web.door import Visit, entering
from ddsd.planes.web.page import SHOWING, WebRequest, go
from ddsd.projects import gate, projects
from ddsd.projects.projects import ProjectLine
from ddsd.projects.status import Status
from ddsd.projects.tables import Project


@route("/projects", http_method=SHOWING)
async def listing(request: WebRequest) -> Response[str]:
    """List the projects of whoever is logged in, newest first."""
    async with entering(request) as visit:
        lines = await projects.listing(visit.work, show_all=True)
        role = visit.caller.user.role
        return visit.page(
            "projects.html",
            lines=[(line, _shows_size(line, role)) for line in reversed(lines)],
            sees_data=role is not Role.SUPER_ADMIN,
            restores=allowed(visit.work.actor, Action.RESTORE_PROJECT),
        )


@route("/projects/{public_id:str}/restore", http_method=SHOWING)
async def ask_to_restore(request: WebRequest, public_id: FromPath[str]) -> Response[str]:
    """Say what restoring a project leads to, above the button."""
    async with entering(request) as visit:
        project = await _to_restore(visit, public_id, for_change=False)
        deadline = await undo.foresee(visit.work, project)
        return visit.page("restore_project.html", project=project, deadline=deadline)


@post("/projects/{public_id:str}/restore", status_code=200)
async def restore(request: WebRequest, public_id: FromPath[str]) -> Response[str]:
    """Take back what the project's deadline has archived."""
    async with entering(request, changing=True) as visit:
        project = await _to_restore(visit, public_id, for_change=True)
        await undo.restore(visit.work, project)
    return go("/projects")


async def _to_restore(visit: Visit, public_id: str, *, for_change: bool) -> Project:
    require(visit.work.actor, Action.RESTORE_PROJECT)
    return await gate.find(visit.work, visit.caller.member, public_id, for_change=for_change)


def _shows_size(line: ProjectLine, role: Role) -> bool:
    # To a researcher, what is not released yet is not there yet.
    return role is not Role.RESEARCHER or line.project.status is Status.AVAILABLE
