"""Accounts."""

from __future__ import annotations

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.planes.admin import present
from ddsd.projects import overview
from ddsd.users import accounts, email_change, removal, standing
from ddsd.users.tables import User
from ddsd.work import Services, Work, reading, rehearsal, transaction


@get("/users")
async def list_users(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    unit: FromQuery[str | None] = None,
) -> list[wire.User]:
    """List every account, or those of one unit."""
    async with reading(services, operator) as work:
        if unit is not None:
            await overview.require_unit(work, unit)
        return [present.user(one) for one in await accounts.listing(work, unit)]


@post("/users")
async def create_user(
    data: JSONBody[wire.CreateUser],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.NewUser:
    """Make an account, and the link its person sets the password with; or tell what would be made."""
    begin = rehearsal if data.dry_run else transaction
    async with begin(services, operator) as work:
        made = await accounts.create(
            work,
            username=data.username,
            name=data.name,
            email=data.email,
            role=present.ROLES[data.role],
            unit_public_id=data.unit,
        )
        shown = present.new_user(made)
        return shown.model_copy(update={"link": ""}) if data.dry_run else shown


@get("/users/{username:str}")
async def show_user(
    username: FromPath[str],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.UserDetails:
    """Show one account with what hangs on it."""
    async with reading(services, operator) as work:
        return await _details(work, await accounts.find(work, username))


@post("/users/{username:str}/activate", status_code=HTTP_200_OK)
async def activate_user(
    username: FromPath[str],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.UserDetails:
    """Let a deactivated account be used again."""
    async with transaction(services, operator) as work:
        user = await accounts.find(work, username)
        await standing.activate(work, user)
        return await _details(work, user)


@post("/users/{username:str}/deactivate", status_code=HTTP_200_OK)
async def deactivate_user(
    username: FromPath[str],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.UserDetails:
    """Close an account and end its sessions."""
    async with transaction(services, operator) as work:
        user = await accounts.find(work, username)
        await standing.deactivate(work, user)
        return await _details(work, user)


@post("/users/{username:str}/reset-2fa", status_code=HTTP_200_OK)
async def reset_second_factor(
    username: FromPath[str],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.UserDetails:
    """Make mailed codes the only second factor again."""
    async with transaction(services, operator) as work:
        user = await accounts.find(work, username)
        await standing.reset_second_factor(work, user)
        return await _details(work, user)


@post("/users/{username:str}/email", status_code=HTTP_200_OK)
async def put_email(
    username: FromPath[str],
    data: JSONBody[wire.PutEmail],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.UserDetails:
    """Give an account another address."""
    async with transaction(services, operator) as work:
        user = await accounts.find(work, username)
        await email_change.put(work, user, data.email)
        return await _details(work, user)


@post("/users/{username:str}/link")
async def new_link(
    username: FromPath[str],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.NewUser:
    """Make a new link for somebody who has not set a password yet."""
    async with transaction(services, operator) as work:
        user = await accounts.find(work, username)
        return present.new_user(await accounts.new_link(work, user))


@delete("/users/{username:str}", status_code=HTTP_200_OK)
async def delete_user(
    username: FromPath[str],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    lose_data: FromQuery[bool] = False,
) -> wire.DeletedUser:
    """Delete an account; with ``lose_data`` also the last that can open some project."""
    async with transaction(services, operator) as work:
        user = await accounts.find(work, username)
        gone = await removal.delete(work, user, confirmed=lose_data)
    return wire.DeletedUser(
        username=gone.username, email=gone.email, role=present.ROLE_WORDS[gone.role]
    )


async def _details(work: Work, user: User) -> wire.UserDetails:
    living = await standing.logins(work, user)
    return present.user_details(user, await accounts.details(work, user), len(living))
