"""Usage, quotas and statistics."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.errors import InvalidInput
from ddsd.planes.admin import present
from ddsd.usage import monthly, quota, reports, sending, statistics
from ddsd.usage.bytehours import Month
from ddsd.work import Services, reading, transaction


@get("/usage")
async def show_usage(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    unit: FromQuery[str | None] = None,
    month: FromQuery[str | None] = None,
) -> list[wire.ProjectUsage]:
    """List what each project used until now, or in one month."""
    wanted = None if month is None else _month(month)
    price = services.settings.usage.price_gb_month
    async with reading(services, operator) as work:
        found = await reports.by_project(work, unit, wanted)
    return [present.used(one, price) for one in found]


@get("/usage/months")
async def list_months(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    first: FromQuery[str],
    last: FromQuery[str | None] = None,
    unit: FromQuery[str | None] = None,
) -> list[wire.ProjectUsage]:
    """List what is written down for some months, a line per project and month."""
    begin = _month(first)
    end = begin if last is None else _month(last)
    price = services.settings.usage.price_gb_month
    async with reading(services, operator) as work:
        found = await reports.recorded(work, begin, end, unit)
    return [present.used(one, price) for one in found]


@post("/usage/collect", status_code=HTTP_200_OK)
async def collect_usage(
    data: JSONBody[wire.CollectUsage],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> list[wire.MonthOfUsage]:
    """Write down the oldest month that is due, or tell which is. One: a year would take too long for an answer."""
    if data.dry_run:
        after = None if data.after is None else _month(data.after)
        async with reading(services, operator) as work:
            found = await monthly.plan_next(work, after)
    else:
        found = await monthly.collect_next(services, operator)
    return [present.month_of_usage(found)] if found else []


@post("/usage/send", status_code=HTTP_200_OK)
async def send_usage(
    data: JSONBody[wire.SendUsage],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> list[wire.Sheet]:
    """Mail the last months' tables, or only show them."""
    async with transaction(services, operator) as work:
        if data.dry_run:
            _, made = await sending.sheets(work, data.months)
        else:
            made = await sending.send(work, data.months, data.to)
    return [wire.Sheet(name=one.name, csv=one.csv) for one in made]


@post("/quotas/watch", status_code=HTTP_200_OK)
async def watch_quotas(
    data: JSONBody[wire.WatchQuotas],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> list[wire.QuotaStatus]:
    """Warn the units that have come over their level, or tell which have."""
    async with transaction(services, operator) as work:
        found = await (quota.to_be_warned(work) if data.dry_run else quota.warn(work))
    return [present.standing(one) for one in found]


@get("/statistics")
async def list_statistics(
    services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> list[wire.Statistics]:
    """List how the service was on the days it was counted."""
    async with reading(services, operator) as work:
        found = await statistics.listing(work)
        return [wire.Statistics(**one.model_dump()) for one in found]


@post("/statistics", status_code=HTTP_200_OK)
async def collect_statistics(
    data: JSONBody[wire.CollectStatistics],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Statistics:
    """Count now, and keep it unless it is only to be shown."""
    async with transaction(services, operator) as work:
        made = await (statistics.count(work) if data.dry_run else statistics.collect(work))
        return wire.Statistics(**made.model_dump())


def _month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as wrong:
        raise InvalidInput(str(wrong)) from None
