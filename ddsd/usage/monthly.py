"""Each month's usage is written down once, when it is over: what is invoiced does not change afterwards.

Months are collected in order, none is left out, and one that was missed is caught up with. A project with an end, all
of whose versions are gone and counted, is closed: from then on it costs the collection nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from ddsd.access import Action, Actor, System, require
from ddsd.audit import trail
from ddsd.errors import Busy, DatabaseUnavailable
from ddsd.files.tables import FileVersion
from ddsd.jobs.queue import GiveUp
from ddsd.mail import outbox
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.usage import sums
from ddsd.usage.bytehours import Month, months
from ddsd.usage.tables import Collection, MonthlyUsage
from ddsd.work import Services, Work, reading, transaction

COLLECT_USAGE: Final = "collect_usage"
LAST_COMMITS: Final = timedelta(hours=1)
"""How long after its end a month is left alone: what was registered in its last second may be committed later."""
_LONGEST_REASON: Final = 300


@dataclass(frozen=True)
class Used:
    """What one project used in a month."""

    project_id: int
    byte_hours: float
    bytes_uploaded: int


@dataclass(frozen=True)
class Collected:
    """A month as it was, or would be, written down."""

    month: Month
    projects: int
    byte_hours: float
    bytes_uploaded: int


async def collect_usage(services: Services, _subject: str) -> None:
    """Handle the job :data:`COLLECT_USAGE`: write down every month that is due; tell the contact if that fails.

    Raises:
        DatabaseUnavailable: worth another try.
        GiveUp: it failed; the schedule tries again the next night.
    """
    try:
        await collect_due(services, System())
    except DatabaseUnavailable:
        raise
    except Exception as wrong:
        why = f"{type(wrong).__name__}: {wrong}".partition("\n")[0][:_LONGEST_REASON]
        await _tell_of_failure(services, why)
        raise GiveUp(why) from wrong


async def collect_due(services: Services, actor: Actor) -> list[Collected]:
    """Write down every month that is over and not yet written down, each in a transaction of its own.

    Raises:
        Forbidden: the actor does not operate this service.
        Busy: somebody else is doing the same.
    """
    done: list[Collected] = []
    while collected := await collect_next(services, actor):
        done.append(collected)
    return done


async def collect_next(services: Services, actor: Actor) -> Collected | None:
    """Write down the oldest month that is due; ``None``: none is.

    Raises:
        Forbidden: the actor does not operate this service.
        Busy: somebody else is doing the same.
    """
    # Adding up takes a while, and on SQLite nobody could write meanwhile. What is over does not change.
    async with reading(services, actor) as work:
        due = await months_due(work)
        if not due:
            return None
        used = await used_in(work, due[0])
    async with transaction(services, actor) as work:
        return await _record(work, due[0], used)


async def plan_next(work: Work, after: Month | None) -> Collected | None:
    """Return what would be written down of the first month that is due, or due ``after`` another; ``None``: none is.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    for month in await months_due(work):
        if after is None or month > after:
            return _sum(month, await used_in(work, month))
    return None


async def months_due(work: Work) -> list[Month]:
    """Return the months that are over and not yet written down, oldest first.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    newest = await newest_collected(work)
    if newest is not None:
        first = newest.following()
    else:
        began = await work.session.scalar(select(func.min(Project.columns().created_at)))
        if began is None:
            return []
        first = Month.of(began)
    return list(months(first, Month.of(work.now - LAST_COMMITS).preceding()))


async def newest_collected(work: Work) -> Month | None:
    """Return the newest month that is written down: all before it are, too."""
    newest = await work.session.scalar(select(func.max(Collection.columns().month)))
    return Month.parse(newest) if newest else None


async def used_in(work: Work, month: Month) -> list[Used]:
    """Return what every project used in a month that is over and not yet written down."""
    found = await work.session.execute(sums.stored_between(month.start, month.end))
    return [Used(number, float(amount), int(uploaded)) for number, amount, uploaded in found]


async def _record(work: Work, month: Month, used: Sequence[Used]) -> Collected:
    total = _sum(month, used)
    work.session.add(
        Collection(
            month=str(month),
            byte_hours=total.byte_hours,
            bytes_uploaded=total.bytes_uploaded,
            collected_at=work.now,
        )
    )
    try:
        await work.session.flush()
    except IntegrityError as wrong:
        raise Busy(f"The usage of {month} is being collected by somebody else just now.") from wrong
    if used:
        await work.session.execute(insert(MonthlyUsage), [_row(work, month, one) for one in used])
    await _close_projects(work, month)
    trail.record(work, "usage.collect", str(month), projects=total.projects)
    contact = work.services.settings.instance.contact
    await outbox.write(work, "usage_available", contact, month=str(month))
    return total


def _row(work: Work, month: Month, one: Used) -> dict[str, object]:
    return {
        "project_id": one.project_id,
        "month": str(month),
        "byte_hours": one.byte_hours,
        "bytes_uploaded": one.bytes_uploaded,
        "collected_at": work.now,
    }


def _sum(month: Month, used: Sequence[Used]) -> Collected:
    return Collected(
        month,
        len(used),
        sum(one.byte_hours for one in used),
        sum(one.bytes_uploaded for one in used),
    )


async def _close_projects(work: Work, month: Month) -> None:
    projects, versions = Project.columns(), FileVersion.columns()
    uncounted = exists().where(
        versions.project_id == projects.id,
        or_(versions.removed_at.is_(None), versions.removed_at >= month.end),
    )
    await work.session.execute(
        update(Project)
        .where(
            projects.usage_closed_at.is_(None),
            projects.status.in_([Status.ARCHIVED, Status.DELETED]),
            ~uncounted,
        )
        .values(usage_closed_at=work.now)
    )


async def _tell_of_failure(services: Services, why: str) -> None:
    async with transaction(services, System()) as work:
        month = Month.of(work.now - LAST_COMMITS).preceding()
        contact = services.settings.instance.contact
        await outbox.write(work, "usage_failed", contact, month=str(month), why=why)
