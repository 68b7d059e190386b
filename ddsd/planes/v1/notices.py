"""The stock wire: messages of the day, maintenance, and the units there are (wire contract, section 4)."""

from __future__ import annotations

from typing import Final

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from ddsd.access import Action, Nobody
from ddsd.errors import InvalidInput
from ddsd.notices import mailing, maintenance, motd
from ddsd.planes.v1.call import Call
from ddsd.planes.v1.wire import Json, minute
from ddsd.projects import overview
from ddsd.projects.overview import Load
from ddsd.units import stores, units
from ddsd.units.tables import StoreState
from ddsd.units.units import UnitRow
from ddsd.work import reading

_UNIT_KEYS: Final = [
    "Name",
    "Public ID",
    "External Display Name",
    "Days In Available",
    "Days In Expired",
    "Safespring Endpoint",
    "Contact Email",
    "Size",
]


@get("/motd")
async def motds(call: NamedDependency[Call]) -> Json:
    """Return the messages shown now; open to everybody, also during maintenance."""
    async with reading(call.services, Nobody()) as work:
        shown = await motd.active(work)
    if not shown:
        return {"message": "There are no active MOTDs."}
    return {
        "motds": [
            {"MOTD ID": one.id, "Message": one.message, "Created": minute(one.created_at)}
            for one in shown
        ],
        "keys": ["MOTD ID", "Message", "Created"],
    }


@post("/motd", status_code=200)
async def add_motd(call: NamedDependency[Call]) -> Json:
    """Show a message from now on."""
    async with call.changing(Action.INFORM_ALL) as asked:
        await motd.add(asked.work, call.json_object().get("message"))
    return {"message": "The MOTD was successfully added to the database."}


@put("/motd")
async def deactivate_motd(call: NamedDependency[Call]) -> Json:
    """Show a message no more."""
    async with call.changing(Action.INFORM_ALL) as asked:
        await motd.deactivate(asked.work, call.json_object().get("motd_id"))
    return {"message": "The MOTD was successfully deactivated in the database."}


@post("/motd/send", status_code=200)
async def send_motd(call: NamedDependency[Call]) -> Json:
    """Begin to mail a message to everybody."""
    async with call.changing(Action.INFORM_ALL) as asked:
        body = call.json_object()
        unit_only = body.get("unit_only", False)
        sent = await mailing.send(asked.work, body.get("motd_id"), unit_only)
    whom = "unit personnel" if unit_only else "all users"
    return {"message": f"MOTD #{sent.id} is scheduled for delivery to {whom}"}


@get("/maintenance")
async def show_maintenance(call: NamedDependency[Call]) -> Json:
    """Tell whether the service is closed."""
    async with call.reading(Action.CLOSE_SERVICE) as asked:
        closed = await maintenance.is_on(asked.work)
    return {"message": f"Maintenance mode is set to: {'ON' if closed else 'OFF'}"}


@put("/maintenance")
async def set_maintenance(call: NamedDependency[Call]) -> Json:
    """Close the service for all but super admins, or open it again."""
    async with call.changing(Action.CLOSE_SERVICE) as asked:
        state = call.json_object().get("state")
        if not state:
            raise InvalidInput("Please, specify an argument: on or off")
        if state not in ("on", "off"):
            raise InvalidInput("Please, specify the correct argument: on or off")
        await maintenance.turn(asked.work, on=state == "on")
    return {"message": f"Maintenance set to: {state.upper()}"}


@get("/unit/info/all")
async def list_units(call: NamedDependency[Call]) -> Json:
    """List every unit, with what it has in the store."""
    async with call.reading(Action.LIST_UNITS) as asked:
        rows = await units.listing(asked.work)
        loads = await overview.load_by_unit(asked.work)
        own = {
            one.unit: one.store.public_endpoint
            for one in await stores.listing(asked.work)
            if one.store.state is StoreState.CURRENT
        }
    usual = call.services.store.public_endpoint
    return {
        "units": [_unit(row, loads[row.public_id], own.get(row.public_id, usual)) for row in rows],
        "keys": _UNIT_KEYS,
    }


def _unit(row: UnitRow, load: Load, endpoint: str) -> Json:
    return {
        "Name": row.name,
        "Public ID": row.public_id,
        "External Display Name": row.external_display_name,
        "Contact Email": row.contact_email,
        "Safespring Endpoint": endpoint,
        "Days In Available": row.days_in_available,
        "Days In Expired": row.days_in_expired,
        "Size": load.bytes_stored,
    }


ROUTES: list[HTTPRouteHandler] = [
    motds,
    add_motd,
    deactivate_motd,
    send_motd,
    show_maintenance,
    set_maintenance,
    list_units,
]
