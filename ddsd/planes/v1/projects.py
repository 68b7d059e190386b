"""The stock wire: projects, their keys, their status, their people (wire contract, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from litestar import get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from ddsd.access import NOT_THIS_ROLE, Action, Role
from ddsd.errors import (
    AccessLost,
    DdsError,
    Forbidden,
    InvalidFields,
    InvalidInput,
    MissingField,
    NotFound,
)
from ddsd.keys import service as keys
from ddsd.planes.v1.call import Asked, Call, Edition, ProjectParameter, as_flag
from ddsd.planes.v1.wire import Json, gmt
from ddsd.projects import fields, gate, invitations, membership, projects
from ddsd.projects.projects import Created, ProjectFields, ProjectLine
from ddsd.projects.tables import Project
from ddsd.secret import SecretBytes
from ddsd.units.tables import Unit
from ddsd.usage import reports
from ddsd.usage.bytehours import cost

# Each is a key pair and a letter, in the one transaction that may write.
_MOST_PEOPLE: Final = 200


@post("/proj/create", status_code=200)
async def create(call: NamedDependency[Call]) -> Json:
    """Make a project and let people into it."""
    try:
        async with call.changing(Action.CREATE_PROJECT) as asked:
            body = call.json_object()
            warning = await _few_admins(asked, body)
            if warning is not None:
                return {"warning": warning}
            described, wanted = _project_fields(body), _people(body)
            made = await projects.create(asked.work, described)
            said = await _add_people(asked, made, wanted)
    except Forbidden as no:
        if call.edition is Edition.V1 and no.message == NOT_THIS_ROLE:
            raise Forbidden(
                "You do not have the required permissions to create a project."
            ) from None
        raise
    return {
        "status": 200,
        "message": f"Added new project '{made.project.title}'",
        "project_id": made.project.public_id,
        "user_addition_statuses": said,
    }


@get("/proj/list")
async def listing(call: NamedDependency[Call]) -> Json:
    """Return the caller's projects."""
    body = call.json_or_nothing()
    options = body if isinstance(body, dict) else {}
    async with call.reading(Action.LIST_PROJECTS) as asked:
        show_all = as_flag(options.get("show_all"), default=False)
        lines = await projects.listing(asked.work, show_all=show_all)
        role = asked.caller.user.role
        with_usage = as_flag(options.get("usage"), default=False)
        told_usage = role is not Role.RESEARCHER
        used = (
            await reports.of_listed(asked.work, show_all=show_all)
            if with_usage and told_usage
            else None
        )
    price = call.services.settings.usage.price_gb_month
    told: Json = {
        "project_info": [
            _in_list(line, role) | (_used_by(line, used, price) if with_usage else {})
            for line in lines
        ],
        "total_size": sum(line.project.bytes_stored for line in lines),
        "always_show": role is not Role.RESEARCHER,
    }
    if told_usage:
        total = sum((used or {}).values())
        told["total_usage"] = {"usage": total, "cost": cost(total, price)}
    return told


@get("/proj/info")
async def info(call: NamedDependency[Call]) -> Json:
    """Describe one project."""
    async with call.reading(Action.SEE_PROJECT) as asked:
        project = await asked.project(ProjectParameter.HELPER)
        line = await projects.describe(asked.work, project)
    return {"project_info": described(line, asked.caller.user.role)}


@get("/proj/public")
async def public_key(call: NamedDependency[Call]) -> Json:
    """Return the project's public key, in hex."""
    async with call.reading(Action.OPEN_PROJECT_KEY) as asked:
        project = await asked.project(ProjectParameter.HELPER)
    if project.public_key is None:
        raise NotFound("The project has no key any more: its data has been removed.")
    return {"public": project.public_key.hex().upper()}


@get("/proj/private")
async def private_key(call: NamedDependency[Call]) -> Json:
    """Return the project's private key, in hex, to somebody who holds it and may read the data now."""
    async with call.reading(Action.OPEN_PROJECT_KEY) as asked:
        project = await asked.project()
        gate.require_key_readable(project, asked.caller.member)
        private = await _open(asked, project)
    return {"private": private.reveal().hex().upper()}


@get("/proj/status")
async def read_status(call: NamedDependency[Call]) -> Json:
    """Return the project's status, with its deadline and, if asked for, its history."""
    async with call.reading(Action.SEE_PROJECT) as asked:
        return await status_of(asked, await asked.project(ProjectParameter.HELPER))


@get("/proj/users")
async def users(call: NamedDependency[Call]) -> Json:
    """Return the researchers in the project, and those invited."""
    async with call.reading(Action.SEE_PROJECT) as asked:
        project = await asked.project()
        people = await membership.participants(asked.work, project)
    return {"research_users": [_participant(one) for one in people]}


@post("/proj/upload/complete", status_code=200)
async def upload_complete(call: NamedDependency[Call]) -> Json:
    """Note that an upload has ended."""
    async with call.changing(Action.UPLOAD) as asked:
        project = await asked.project(for_change=True)
        projects.note_upload(asked.work, project)
    return {"message": "Project upload timestamp updated."}


async def status_of(asked: Asked, project: Project) -> Json:
    """Return a project's status as ``proj/status`` tells of it."""
    told: Json = {"current_status": project.status.value}
    if project.deadline is not None:
        told["current_deadline"] = gmt(project.deadline)
    if as_flag(asked.call.options().get("history"), default=False):
        told["history"] = [
            [entry.status.value, gmt(entry.at)]
            for entry in await projects.history(asked.work, project)
        ]
    return told


async def _few_admins(asked: Asked, body: Json) -> str | None:
    force = body.get("force", False)
    if not isinstance(force, bool):
        raise InvalidInput("`force` is a boolean value: True or False.")
    unit_id = asked.caller.user.unit_id or 0
    warning = await projects.warn_of_few_admins(asked.work, unit_id)
    return None if force else warning


def _project_fields(body: Json) -> ProjectFields:
    required = {
        "title": "Title is required.",
        "description": "A project description is required.",
        "pi": "A principal investigator is required.",
    }
    for field, complaint in required.items():
        if body.get(field) is None:
            raise MissingField(field, complaint)
    wrong = {
        field: complaints
        for field, check in (
            ("title", fields.check_title),
            ("description", fields.check_description),
            ("pi", fields.check_pi),
        )
        if (complaints := _check_text(body[field], check))
    }
    non_sensitive = body.get("non_sensitive", False)
    if not isinstance(non_sensitive, bool):
        wrong["non_sensitive"] = ["Not a valid boolean."]
    if wrong:
        raise InvalidFields(wrong)
    return ProjectFields(body["title"], body["description"], body["pi"], non_sensitive)


def _check_text(value: object, check: Any) -> list[str]:
    return check(value) if isinstance(value, str) else ["Not a valid string."]


def _people(body: Json) -> list[object]:
    wanted = body.get("users_to_add")
    if wanted is None:
        return []
    if not isinstance(wanted, list):
        raise InvalidInput("`users_to_add` is a list of people: {'email': …, 'role': …}.")
    if len(wanted) > _MOST_PEOPLE:
        raise InvalidInput(
            f"At most {_MOST_PEOPLE} people can be added at once. Make the project, then add the others to it."
        )
    return wanted


async def _add_people(asked: Asked, made: Created, wanted: list[object]) -> list[str]:
    """Let each person in, or say why not; a failed addition leaves the project and the others."""
    said = []
    for one in wanted:
        person = one if isinstance(one, dict) else {}
        email, role = person.get("email"), person.get("role")
        try:
            async with asked.work.session.begin_nested():
                said.append(await invitations.add_or_invite(asked.work, made, email, role))
        except InvalidFields as wrong:
            said.append(f"Error for '{email}': {wrong.fields}")
        except DdsError as no:
            said.append(no.message)
    return said


async def _open(asked: Asked, project: Project) -> SecretBytes:
    user = asked.caller.user
    try:
        return await keys.open_for(
            asked.work, asked.caller.unlock(), user.id, project.id, project.public_id
        )
    except AccessLost:
        unit = await asked.work.session.get_one(Unit, project.unit_id)
        raise AccessLost(
            "You have lost access to this project. This is likely due to a password reset, in which case you have "
            "lost access to all active projects. In order to regain access to this project, please contact "
            f"{unit.external_display_name} ({unit.contact_email}) and ask them to run 'dds project access fix'."
        ) from None


def _in_list(line: ProjectLine, role: Role) -> Json:
    project = line.project
    return {
        "Project ID": project.public_id,
        "Title": project.title,
        "PI": project.pi,
        "Status": project.status.value,
        "Last updated": gmt(project.updated_at),
        "Created by": line.unit if role is Role.RESEARCHER else line.creator,
        "Size": project.bytes_stored,
        "Access": line.has_access,
    }


def _used_by(line: ProjectLine, used: Mapping[str, float] | None, price: float) -> Json:
    """Return byte-hours and cost; nothing for a researcher, whose client wants the keys to be able to sort by them."""
    if used is None:
        return {"Usage": None, "Cost": None}
    amount = used.get(line.project.public_id, 0.0)
    return {"Usage": amount, "Cost": cost(amount, price)}


def described(line: ProjectLine, role: Role) -> Json:
    """Return one project as ``proj/info`` tells of it."""
    project = line.project
    return {
        "Project ID": project.public_id,
        "Created by": line.unit if role is Role.RESEARCHER else line.creator,
        "Status": project.status.value,
        "Last updated": gmt(project.updated_at),
        "Size": project.bytes_stored,
        "Title": project.title,
        "Description": project.description,
        "PI": project.pi,
    }


def _participant(one: membership.Participant) -> Json:
    capacity = "Owner" if one.owner else "Researcher"
    if one.username is None:
        return {
            "User Name": "NA (Pending)",
            "Primary email": f"{one.email} (Pending)",
            "Role": f"{capacity} (Pending)",
        }
    return {"User Name": one.username, "Primary email": one.email, "Role": capacity}


ROUTES: list[HTTPRouteHandler] = [
    create,
    listing,
    info,
    public_key,
    private_key,
    read_status,
    users,
    upload_complete,
]
