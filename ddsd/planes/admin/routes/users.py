"""Accounts."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.planes.admin import present
from ddsd.projects import overview
from ddsd.users import accounts
from ddsd.work import Services, reading, transaction


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
        return [
            present.user(account, email, unit_id)
            for account, email, unit_id in await accounts.listing(work, unit)
        ]


@post("/users")
async def create_user(
    data: JSONBody[wire.CreateUser],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.NewUser:
    """Make an account, and the link its person sets the password with."""
    async with transaction(services, operator) as work:
        made = await accounts.create(
            work,
            username=data.username,
            name=data.name,
            email=data.email,
            role=present.ROLES[data.role],
            unit_public_id=data.unit,
        )
        return present.new_user(made)
