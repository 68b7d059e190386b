"""The page that lists one's projects: what there is, until when, and whether one can open it."""

from __future__ import annotations

from litestar import Response, route

from ddsd.access import Role
from ddsd.planes.web.door import entering
from ddsd.planes.web.page import SHOWING, WebRequest
from ddsd.projects import projects
from ddsd.projects.projects import ProjectLine
from ddsd.projects.status import Status


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
        )


def _shows_size(line: ProjectLine, role: Role) -> bool:
    # To a researcher, what is not released yet is not there yet.
    return role is not Role.RESEARCHER or line.project.status is Status.AVAILABLE
