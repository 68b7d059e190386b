"""Messages of the day."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.errors import WrongStatus
from ddsd.notices import mailing, motd
from ddsd.planes.admin import present
from ddsd.work import Services, Work, reading, transaction


@get("/motds")
async def list_motds(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    every: FromQuery[bool] = False,
) -> list[wire.Motd]:
    """List the messages shown now, or all there ever were, newest first."""
    async with reading(services, operator) as work:
        found = await (motd.listing(work) if every else motd.active(work))
        return [present.motd(one) for one in found]


@post("/motds")
async def add_motd(
    data: JSONBody[wire.AddMotd],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Motd:
    """Show a message from now on."""
    async with transaction(services, operator) as work:
        return present.motd(await motd.add(work, data.message))


@post("/motds/{motd_id:int}/deactivate")
async def deactivate_motd(
    motd_id: FromPath[int],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Motd:
    """Show a message no more."""
    async with transaction(services, operator) as work:
        return present.motd(await motd.deactivate(work, motd_id))


@post("/motds/{motd_id:int}/send")
async def send_motd(
    motd_id: FromPath[int],
    data: JSONBody[wire.SendMotd],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Mailing:
    """Begin to mail a message, or only count to whom."""
    async with transaction(services, operator) as work:
        await _require_shown(work, motd_id)
        people = await mailing.count_waiting(work, motd_id, unit_only=data.unit_only)
        if not data.dry_run:
            await mailing.send(work, motd_id, data.unit_only)
    return wire.Mailing(id=motd_id, unit_only=data.unit_only, people=people)


async def _require_shown(work: Work, motd_id: int) -> None:
    """Say what to do about a message that is shown no more; the stock wire's words do not."""
    found = await motd.find(work, motd_id)
    if found is not None and not found.active:
        raise WrongStatus(
            f"Message {motd_id} is deactivated: add it again with ddsctl motd add, and send that."
        )
