"""The stock wire: changing a project's status, deadline and description; which are busy (wire contract, section 6)."""

from __future__ import annotations

from litestar import get, patch, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from ddsd.access import Action
from ddsd.errors import IncompatibleClient, InvalidInput
from ddsd.lifecycle import transitions, verbs
from ddsd.planes.v1 import projects as shown
from ddsd.planes.v1.call import Asked, Call, ProjectParameter, as_flag
from ddsd.planes.v1.wire import Json, gmt
from ddsd.projects import busy, details, projects, status
from ddsd.projects.status import Status, Verb
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit


@post("/proj/status", status_code=200)
async def change_status(call: NamedDependency[Call]) -> Json:
    """Release, retract, expire, archive, abort or delete a project."""
    async with call.changing(Action.CHANGE_STATUS) as asked:
        body = call.json_object()
        project = await asked.project(ProjectParameter.HELPER, for_change=True)
        await busy.require_idle(asked.work, project)
        new = status.parse(body.get("new_status"))
        aborted = as_flag(body.get("is_aborted"), default=False)
        return {
            "message": await _change(
                asked, project, new, status.verb_to(new, is_aborted=aborted), body
            )
        }


@patch("/proj/status", status_code=200)
async def extend(call: NamedDependency[Call]) -> Json:
    """Give a project a later deadline, once that is confirmed; before, tell of the project."""
    async with call.changing(Action.CHANGE_STATUS) as asked:
        body = call.json_object()
        project = await asked.project(ProjectParameter.HELPER, for_change=True)
        transitions.require_extension_left(project)
        confirmed = body.get("confirmed", False)
        if not isinstance(confirmed, bool):
            raise InvalidInput("`confirmed` is a boolean value: True or False.")
        if not confirmed:
            return await _before_extending(asked, project)
        await busy.require_idle_for_deadline(asked.work, project)
        days = body.get("new_deadline_in")
        if days is None:
            return {"message": "Nothing to update."}
        await transitions.extend(asked.work, project, days=days)
    return {
        "message": f"The project '{project.public_id}' has been given a new deadline. "
        "An e-mail notification has not been sent."
    }


@put("/proj/info")
async def describe(call: NamedDependency[Call]) -> Json:
    """Change a project's title, description or principal investigator."""
    async with call.changing(Action.DESCRIBE_PROJECT) as asked:
        body = call.json_object()
        project = await asked.project(ProjectParameter.HELPER, for_change=True)
        await details.describe_anew(asked.work, project, body)
    return {
        "message": f"{project.public_id} info was successfully updated.",
        "title": project.title,
        "description": project.description,
        "pi": project.pi,
    }


@put("/proj/busy")
async def set_busy(call: NamedDependency[Call]) -> Json:
    """Refuse what only clients of long ago ask for."""
    async with call.reading(Action.SEE_OWN_ACCOUNT):
        raise IncompatibleClient(
            "Your CLI version is trying to use functionality which is no longer in use. "
            "Upgrade your version to the latest one and run your command again."
        )


@get("/proj/busy/any")
async def busy_projects(call: NamedDependency[Call]) -> Json:
    """Tell how many projects are busy and, if asked for, which."""
    async with call.reading(Action.LIST_BUSY) as asked:
        found = await busy.listing(asked.work)
    told: Json = {"num": len(found)}
    if as_flag(call.options().get("list"), default=False):
        told["projects"] = {one.public_id: gmt(one.updated_at) for one in found}
    return told


async def _change(asked: Asked, project: Project, new: Status, verb: Verb, body: Json) -> str:
    days, send_email = body.get("deadline"), as_flag(body.get("send_email"), default=True)
    first = project.deadline if project.status is Status.IN_PROGRESS else None
    sent = await verbs.do(asked.work, project, verb, days=days, send_email=send_email)
    if project.ending is not None:
        return (
            f"The status of project {project.public_id} is being updated to {new.value}. "
            "The DDS is handling this in the background.  It may take some time to complete.."
        )
    said = f"Project {project.public_id} updated to status {new.value}."
    if verb is Verb.RELEASE:
        said += f" An e-mail notification has{'' if sent else ' not'} been sent."
        if days is not None and first is not None and project.deadline == first:
            said += f" The deadline stays {gmt(first)}, set at the first release."
    return said


async def _before_extending(asked: Asked, project: Project) -> Json:
    line = await projects.describe(asked.work, project)
    unit = await asked.work.session.get_one(Unit, project.unit_id)
    return {
        "project_info": shown.described(line, asked.caller.user.role),
        "project_status": await shown.status_of(asked, project),
        "warning": "Operation must be confirmed before proceding.",
        "default_unit_days": unit.days_in_available,
    }


ROUTES: list[HTTPRouteHandler] = [change_status, extend, describe, set_busy, busy_projects]
