"""The stock wire: usage and statistics (wire contract, section 4)."""

from __future__ import annotations

from typing import Final

from litestar import get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from ddsd.access import Action
from ddsd.planes.v1.call import Call
from ddsd.planes.v1.wire import Json
from ddsd.usage import reports, statistics
from ddsd.usage.bytehours import GB, TB, cost
from ddsd.usage.tables import Statistics

_COLUMNS: Final = {
    "Date": "Day on which the line was recorded.",
    "Units": "Units that deliver with this service.",
    "Researchers": "Accounts with the role 'Researcher'.",
    "Project Owners": "Researchers who are owners of at least one project, each counted once.",
    "Unit Personnel": "Accounts with the role 'Unit Personnel'.",
    "Unit Admins": "Accounts with the role 'Unit Admin'.",
    "Super Admins": "Accounts with the role 'Super Admin'.",
    "Total Users": "All accounts. Project Owners are Researchers and not counted twice.",
    "Total Projects": "Active and inactive projects together.",
    "Active Projects": "Projects that are 'In Progress', 'Available' or 'Expired'.",
    "Inactive Projects": "Projects that are 'Archived' (also when aborted) or 'Deleted'.",
    "Data Now (TB)": "Terabytes in the object store.",
    "Data Uploaded (TB)": "Terabytes uploaded since the service began.",
    "TBHours Last Month": "Terabytes times hours stored in the calendar month before.",
    "TBHours Total": "Terabytes times hours stored since the service began.",
}
_PLACES: Final = 3
"""Decimals of a TB: a GB must be visible."""


@get("/usage")
async def usage(call: NamedDependency[Call]) -> Json:
    """Return what each project of the caller's unit has used, in GB times hours, and what that costs."""
    async with call.reading(Action.SEE_USAGE) as asked:
        used = await reports.of_unit(asked.work)
    price = call.services.settings.usage.price_gb_month
    return {
        "total_usage": _used(sum(used.values()), price),
        "project_usage": {public_id: _used(amount, price) for public_id, amount in used.items()},
    }


@get("/stats")
async def stats(call: NamedDependency[Call]) -> Json:
    """Return how the service was on the days it was counted; the stock client takes no empty list."""
    async with call.reading(Action.SEE_STATISTICS) as asked:
        lines = await statistics.listing(asked.work)
    return {"stats": [_line(one) for one in lines], "columns": _COLUMNS}


def _used(amount_byte_hours: float, price: float) -> Json:
    return {
        "gbhours": round(amount_byte_hours / GB, 2),
        "cost": round(cost(amount_byte_hours, price), 2),
    }


def _line(one: Statistics) -> Json:
    people = one.researchers + one.unit_personnel + one.unit_admins + one.super_admins
    return {
        "Date": one.day.isoformat(),
        "Units": one.units,
        "Researchers": one.researchers,
        "Project Owners": one.project_owners,
        "Unit Personnel": one.unit_personnel,
        "Unit Admins": one.unit_admins,
        "Super Admins": one.super_admins,
        "Total Users": people,
        "Total Projects": one.active_projects + one.inactive_projects,
        "Active Projects": one.active_projects,
        "Inactive Projects": one.inactive_projects,
        "Data Now (TB)": round(one.bytes_stored / TB, _PLACES),
        "Data Uploaded (TB)": round(one.bytes_uploaded / TB, _PLACES),
        "TBHours Last Month": round(one.byte_hours_last_month / TB, _PLACES),
        "TBHours Total": round(one.byte_hours_total / TB, _PLACES),
    }


ROUTES: list[HTTPRouteHandler] = [usage, stats]
