"""Invites."""

from __future__ import annotations

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.planes.admin import present
from ddsd.projects import staffing
from ddsd.work import Services, reading, transaction


@get("/invites")
async def list_invites(
    services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> list[wire.Invite]:
    """List every invite that waits, without its link."""
    async with reading(services, operator) as work:
        return [present.invite(one) for one in await staffing.pending(work)]


@post("/invites")
async def create_invite(
    data: JSONBody[wire.CreateInvite],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.NewInvite:
    """Invite a super admin, or somebody to a unit."""
    async with transaction(services, operator) as work:
        asked = await staffing.invite(work, data.email, present.ROLES[data.role], data.unit)
    return wire.NewInvite(invite=present.invite(asked.invite), closed=list(asked.closed))


@delete("/invites", status_code=HTTP_200_OK)
async def delete_invite(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    email: FromQuery[str],
) -> wire.Invite:
    """Withdraw an invite; answer what it was."""
    async with transaction(services, operator) as work:
        return present.invite(await staffing.withdraw(work, email))
