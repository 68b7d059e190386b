"""The stock wire: messages of the day."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from ddsd.access import Nobody
from ddsd.notices import motd
from ddsd.planes.v1.call import Call
from ddsd.planes.v1.wire import Json, minute
from ddsd.work import reading


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


ROUTES: list[HTTPRouteHandler] = [motds]
