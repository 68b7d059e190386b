"""Invites."""

from __future__ import annotations

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK

from ddsd.access import Operator
from ddsd.audit import trail
from ddsd.contract import admin as wire
from ddsd.planes.admin import present
from ddsd.projects import staffing
from ddsd.users import invites
from ddsd.work import Services, reading, rehearsal, transaction


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
    """Invite a super admin, or somebody to a unit; or tell what would come of it."""
    begin = rehearsal if data.dry_run else transaction
    async with begin(services, operator) as work:
        asked = await staffing.invite(work, data.email, present.ROLES[data.role], data.unit)
        return wire.NewInvite(invite=present.invite(asked.invite), closed=list(asked.closed))


@post("/invites/expire", status_code=HTTP_200_OK)
async def expire_invites(
    data: JSONBody[wire.ExpireInvites],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.ExpiredInvites:
    """Forget the invites whose time is over; or count them."""
    begin = rehearsal if data.dry_run else transaction
    async with begin(services, operator) as work:
        count = await invites.forget_old(work)
        trail.record(work, "invite.expire", "all", count=count)
    return wire.ExpiredInvites(count=count, dry_run=data.dry_run)


@delete("/invites", status_code=HTTP_200_OK)
async def delete_invite(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    email: FromQuery[str],
) -> wire.Invite:
    """Withdraw an invite; answer what it was."""
    async with transaction(services, operator) as work:
        return present.invite(await staffing.withdraw(work, email))
