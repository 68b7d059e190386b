"""The stock wire: inviting, letting in and out, listing and removing people (wire contract, section 4)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler

from ddsd.access import Action, Role
from ddsd.errors import (
    AlreadyExists,
    DdsError,
    InvalidFields,
    InvalidInput,
    MissingField,
    NotFound,
    TooManyRequests,
)
from ddsd.planes.v1.call import Asked, Call, Edition, as_flag
from ddsd.planes.v1.wire import Json, gmt, status_of
from ddsd.projects import invitations, membership, pending, projects, repair
from ddsd.projects.invitations import Capacity, Granted, Invited, Request
from ddsd.projects.pending import Waiting
from ddsd.projects.tables import Project
from ddsd.users import accounts, directory, removal, standing
from ddsd.users.tables import Invite, User

_NO_ACCESS = (
    "does not have access to the specified project. Cannot remove non-existent project access."
)
_REQUIRED = "A user email is required."
_NULL = "The user email cannot be null."


class _Refused(Exception):
    """Letting somebody in was refused, which this endpoint says in a shape of its own."""

    def __init__(self, error: DdsError) -> None:
        super().__init__(error.message)
        self.error = error


@post("/user/add", status_code=200)
async def add(call: NamedDependency[Call]) -> Response[Json]:
    """Let somebody into a project, or ask them to join."""
    try:
        async with call.changing(Action.ADD_PEOPLE) as asked:
            request, project = await _request(asked)
            with _told_with_status():
                done = await invitations.let_in(asked.work, asked.caller.unlock(), request, project)
            body = _done(done, request, project)
    except _Refused as no:
        status = 403 if isinstance(no.error, AlreadyExists) else status_of(no.error)
        body = {"message": no.error.message, "status": status}
    return Response(body, status_code=int(body["status"]), media_type=MediaType.JSON)


@post("/user/access/revoke", status_code=200)
async def revoke(call: NamedDependency[Call]) -> Json:
    """Take somebody out of a project."""
    async with call.changing(Action.MANAGE_ACCESS) as asked:
        body = call.json_object()
        project = await asked.project(for_change=True)
        typed = body.get("email")
        if not typed:
            raise InvalidInput("User email missing.")
        email = _address(typed)
        person = await directory.find(asked.work, email, for_change=True)
        if person is None:
            raise NotFound(f"The user / invite with email '{typed}' {_NO_ACCESS}")
        try:
            await membership.remove(asked.work, project, person)
        except NotFound:
            kind = "invite" if isinstance(person, Invite) else "user"
            raise NotFound(f"The {kind} with email '{typed}' {_NO_ACCESS}") from None
    if isinstance(person, Invite):
        return {
            "message": f"Invited user is no longer associated with the project '{project.public_id}'."
        }
    return {"message": f"User with email {typed} no longer associated with {project.public_id}."}


@post("/proj/access", status_code=200)
async def fix(call: NamedDependency[Call]) -> Json:
    """Give somebody back the keys they have lost."""
    async with call.changing(Action.MANAGE_ACCESS) as asked:
        person = await _account_in(asked, call.json_object())
        project = await _optional_project(asked)
        lacking = await repair.fix(asked.work, asked.caller.unlock(), person, project)
        email, *_ = await accounts.emails_of(asked.work, person.id)
    if lacking:
        why = "You do not have access to this project. Please contact the responsible unit."
        return {"errors": dict.fromkeys(lacking, why)}
    return {"message": f"Project access updated for user '{email}'."}


@post("/user/activation", status_code=200)
async def activation(call: NamedDependency[Call]) -> Json:
    """Close somebody's account, or open it again."""
    async with call.changing(Action.SWITCH_ACCOUNTS) as asked:
        body = call.json_object()
        user = await _account_in(asked, body)
        match body.get("action"):
            case "deactivate" as action:
                await standing.deactivate(asked.work, user)
            case "reactivate" as action:
                await standing.activate(asked.work, user)
                await _share_again(asked, user)
            case _:
                raise InvalidInput(
                    "Please provide an action 'deactivate' or 'reactivate' for this request."
                )
        email, *_ = await accounts.emails_of(asked.work, user.id)
    who = f"{user.username} ({email}, {user.role.value})"
    return {"message": f"You successfully {action}d the account {who}!"}


@delete("/user/delete", status_code=200)
async def delete_somebody(call: NamedDependency[Call]) -> Json:
    """Delete somebody's account, or an invite."""
    async with call.changing(Action.DELETE_PEOPLE) as asked:
        options = _whom_to_delete(call)
        if as_flag(options.get("is_invite"), default=False):
            typed = options.get("email")
            email = _address(typed, null="The email cannot be null.")
            await pending.withdraw(asked.work, email)
            return {"message": f"The invite connected to email '{typed}' has been deleted."}
        user = await directory.find_account(asked.work, _email_in(options))
        if user is None:
            raise NotFound(
                "This e-mail address is not associated with a user in the DDS, make sure it is not misspelled."
            )
        gone = await removal.delete(asked.work, user)
    who = f"{gone.username} ({gone.email}, {gone.role.value})"
    return {"message": f"You successfully deleted the account {who}!"}


@delete("/user/delete_self", status_code=200)
async def delete_self(call: NamedDependency[Call]) -> Json:
    """Mail the caller a link with which to delete their own account."""
    async with call.changing(Action.DELETE_SELF) as asked:
        mine = await projects.listing(asked.work, show_all=True)
        named = [line.project.public_id for line in mine]
        requested = await removal.request(asked.work, named)
    if requested.mailed:
        return {
            "message": "Requested account deletion initiated. An e-mail with a confirmation link "
            f"has been sent to your address {requested.email}!"
        }
    return {
        "message": f"The confirmation link has already been sent to your address {requested.email}!",
        "status": 200,
    }


@get("/users")
async def users(call: NamedDependency[Call]) -> Json:
    """List the accounts of a unit, or all."""
    async with call.reading(Action.LIST_PEOPLE) as asked:
        unit = call.options().get("unit") or None
        listed = await directory.listing(asked.work, None if unit is None else str(unit))
    people = [
        {
            "Name": one.name,
            "Username": one.username,
            "Email": one.email,
            "Role": one.role.value,
            "Active": one.active,
        }
        for one in listed.people
    ]
    told: Json = {
        "users": people,
        "keys": ["Name", "Username", "Email", "Role", "Active"],
        "empty": not people,
    }
    return told if listed.unit is None else told | {"unit": listed.unit}


@get("/user/invites")
async def invites(call: NamedDependency[Call]) -> Json:
    """List the invites that concern the caller."""
    async with call.reading(Action.LIST_INVITES) as asked:
        waiting = await pending.listing(asked.work)
    shows_units = asked.caller.user.role is Role.SUPER_ADMIN
    keys = ["Email", "Role", "Projects", "Created"]
    if shows_units:
        keys.insert(1, "Unit")
    return {"invites": [_waiting(one, shows_units) for one in waiting], "keys": keys}


@get("/user/find")
async def find(call: NamedDependency[Call]) -> Json:
    """Say whether there is an account of a name."""
    async with call.reading(Action.FIND_PEOPLE) as asked:
        options = call.json_object() if call.edition is Edition.V1 else call.options()
        username = options.get("username")
        if not username:
            raise InvalidInput("Username required to check existence of account.")
        return {"exists": await directory.is_taken(asked.work, str(username))}


@get("/user/emails")
async def emails(call: NamedDependency[Call]) -> Json:
    """Return the addresses of all who work for a unit."""
    async with call.reading(Action.FIND_PEOPLE) as asked:
        found = await directory.unit_addresses(asked.work)
    return {"emails": list(found)} if found else {"empty": True}


async def _request(asked: Asked) -> tuple[Request, Project | None]:
    body = asked.call.json_object()
    capacity = invitations.parse_capacity(body.get("role"))
    # Whoever is to work for a unit: it is locked first, as everybody does, then its projects.
    project = await _optional_project(asked, for_change=capacity.in_projects)
    email, unit = body.get("email"), body.get("unit")
    if not email or not isinstance(email, str):
        raise InvalidInput("Email address required to add or invite.")
    if email.count("@") != 1:
        raise InvalidInput("The email address is not valid. It must have exactly one @-sign.")
    request = Request(
        accounts.normal_email(email),
        capacity,
        unit=None if unit is None else str(unit),
        send_email=as_flag(body.get("send_email"), default=True),
    )
    return request, project


@contextmanager
def _told_with_status() -> Iterator[None]:
    """Mark refusals whose body repeats the status: not those of the unit, the known without project, or too many."""
    try:
        yield
    except DdsError as no:
        if "field" in no.facts or isinstance(no, TooManyRequests):
            raise
        raise _Refused(no) from None


def _done(done: Granted | Invited, request: Request, project: Project | None) -> Json:
    if isinstance(done, Invited):
        return _invited(done, request)
    as_what = "Project Owner" if request.capacity is Capacity.PROJECT_OWNER else "Researcher"
    where = project.public_id if project else ""
    return {
        "status": 200,
        "message": f"{membership.name_of(done.person)} was given access to the Project {where} as a {as_what}. "
        f"An e-mail notification has{'' if done.mailed else ' not'} been sent.",
    }


def _invited(done: Invited, request: Request) -> Json:
    why = "specified project." if request.capacity.in_projects else "project(s)"
    told: Json = {
        "email": request.email,
        "errors": dict.fromkeys(done.unshared, f"You do not have access to the {why}"),
    }
    if done.invite is None:
        return told | {
            "message": "The user could not be added to the project(s). The invite did not succeed.",
            "status": 400,
        }
    return told | {
        "message": f"{membership.name_of(done.invite)} was successful.",
        "status": 200,
    }


async def _optional_project(asked: Asked, *, for_change: bool = True) -> Project | None:
    return await asked.project(for_change=for_change) if asked.call.query("project") else None


async def _share_again(asked: Asked, user: User) -> None:
    """Let somebody who is back have what the caller holds, as far as that goes."""
    if asked.caller.member.is_unit_user and user.public_key is not None:
        await repair.fix(asked.work, asked.caller.unlock(), user, None)


async def _account_in(asked: Asked, body: Json) -> User:
    if "email" not in body:
        raise InvalidInput("User email missing.")
    user = await directory.find_account(asked.work, _email_in(body))
    if user is None:
        raise NotFound("User not found.")
    return user


def _whom_to_delete(call: Call) -> Json:
    if call.edition is Edition.V3:
        return {"email": None} | call.options()
    body = call.json_or_nothing()
    if not isinstance(body, dict):
        raise InvalidInput("Invalid input type.")
    return body


def _email_in(options: Json) -> str:
    if "email" not in options:
        raise MissingField("email", _REQUIRED)
    return _address(options["email"])


def _address(typed: object, *, null: str = _NULL) -> str:
    """Return an address as it is compared.

    Raises:
        MissingField: it is null.
        InvalidFields: it is none.
    """
    if typed is None:
        raise MissingField("email", null)
    try:
        return accounts.normal_email(typed if isinstance(typed, str) else "")
    except InvalidInput:
        raise InvalidFields({"email": ["Not a valid email address."]}) from None


def _waiting(one: Waiting, shows_units: bool) -> Json:
    told: Json = {
        "Email": one.email,
        "Role": Capacity.PROJECT_OWNER.value if one.owner else one.role.value,
        "Projects": "----" if one.role is Role.SUPER_ADMIN else list(one.projects),
        "Created": gmt(one.created_at),
    }
    return told | {"Unit": one.unit or ""} if shows_units else told


ROUTES: list[HTTPRouteHandler] = [
    add,
    revoke,
    fix,
    activation,
    delete_somebody,
    delete_self,
    users,
    invites,
    find,
    emails,
]
