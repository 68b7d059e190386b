"""A project's key as the caller's own wrap, which the service cannot open; and what a deadline archived, taken back."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from ddsd.access import Action
from ddsd.contract import delivery as wire
from ddsd.errors import NotFound
from ddsd.keys import service as keys
from ddsd.lifecycle import undo
from ddsd.planes.delivery.call import Call
from ddsd.planes.delivery.describing import BEARER, REFUSED_OF_PROJECT
from ddsd.projects import gate


@get("/projects/{project:str}/key", security=BEARER, responses=REFUSED_OF_PROJECT)
async def project_key(project: FromPath[str], call: NamedDependency[Call]) -> wire.ProjectKey:
    """Return the project's private key, wrapped for the caller, to somebody who may read the data now."""
    async with call.reading(Action.OPEN_PROJECT_KEY) as asked:
        member = asked.caller.member
        found = await gate.find(asked.work, member, project)
        gate.require_key_readable(found, member)
        wrap = await keys.wrap_of(asked.work, member.user_id, found.id)
        if found.public_key is None:
            raise NotFound("The project has no key any more: its data has been removed.")
    return wire.ProjectKey(project=found.public_id, public_key=found.public_key, wrap=wrap)


@post(
    "/projects/{project:str}/restore",
    status_code=200,
    security=BEARER,
    responses=REFUSED_OF_PROJECT,
)
async def restore(project: FromPath[str], call: NamedDependency[Call]) -> wire.ProjectStatus:
    """Take back what the project's deadline has archived, while its data is kept. For admins of its unit."""
    async with call.changing(Action.RESTORE_PROJECT) as asked:
        found = await gate.find(asked.work, asked.caller.member, project, for_change=True)
        await undo.restore(asked.work, found)
        return wire.ProjectStatus(
            project=found.public_id, status=found.status.value, deadline=found.deadline
        )


ROUTES: list[HTTPRouteHandler] = [project_key, restore]
