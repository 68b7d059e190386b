"""How the service is used, a line for each day it was counted: on the first of each month, or soon after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import case, func, select

from ddsd.access import Action, Member, Role, System, require
from ddsd.audit import trail
from ddsd.db.statements import insert_into
from ddsd.errors import DatabaseUnavailable
from ddsd.jobs.queue import GiveUp
from ddsd.mail import outbox
from ddsd.projects.tables import Membership, Project
from ddsd.units.tables import Unit
from ddsd.usage import monthly, sums
from ddsd.usage.bytehours import Month
from ddsd.usage.tables import Collection, Statistics
from ddsd.users.tables import User
from ddsd.work import Services, Work, transaction

COLLECT_STATISTICS: Final = "collect_statistics"
_LONGEST_REASON: Final = 300


async def collect_statistics(services: Services, _subject: str) -> None:
    """Handle the job :data:`COLLECT_STATISTICS`: count, unless this month has a line; tell the contact if that fails.

    Raises:
        DatabaseUnavailable: worth another try.
        GiveUp: it failed; the schedule tries again the next night.
    """
    try:
        async with transaction(services, System()) as work:
            if await due(work):
                await collect(work)
    except DatabaseUnavailable:
        raise
    except Exception as wrong:
        why = f"{type(wrong).__name__}: {wrong}".partition("\n")[0][:_LONGEST_REASON]
        async with transaction(services, System()) as work:
            contact = services.settings.instance.contact
            await outbox.write(work, "statistics_failed", contact, why=why)
        raise GiveUp(why) from wrong


async def due(work: Work) -> bool:
    """Say whether this month has no line yet."""
    first = Month.of(work.now).start.date()
    newest = await work.session.scalar(select(func.max(Statistics.columns().day)))
    return newest is None or newest < first


async def collect(work: Work) -> Statistics:
    """Count now; a line of the same day is replaced.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    counted = await count(work)
    values = counted.model_dump()
    statement = insert_into(work.session, Statistics).values(**values)
    await work.session.execute(
        statement.on_conflict_do_update(
            index_elements=["day"],
            set_={name: value for name, value in values.items() if name != "day"},
        )
    )
    trail.record(work, "statistics.collect", counted.day.isoformat())
    return counted


async def listing(work: Work) -> Sequence[Statistics]:
    """Return every line, oldest first; before there is any, one of this moment that is kept nowhere.

    Raises:
        Forbidden: the actor may not see statistics.
    """
    if isinstance(work.actor, Member):
        require(work.actor, Action.SEE_STATISTICS)
    else:
        require(work.actor, Action.OPERATE)
    found = await work.session.scalars(select(Statistics).order_by(Statistics.columns().day))
    return found.all() or [await count(work)]


async def count(work: Work) -> Statistics:
    """Return how the service is now. Usage and uploads are read from the months that are written down, and since."""
    roles, projects = await _roles(work), await _projects(work)
    used, uploaded = await _ever(work)
    return Statistics(
        day=work.now.date(),
        units=await work.session.scalar(select(func.count()).select_from(Unit)) or 0,
        researchers=roles.get(Role.RESEARCHER, 0),
        project_owners=await _owners(work),
        unit_personnel=roles.get(Role.UNIT_PERSONNEL, 0),
        unit_admins=roles.get(Role.UNIT_ADMIN, 0),
        super_admins=roles.get(Role.SUPER_ADMIN, 0),
        active_projects=projects[0],
        inactive_projects=projects[1],
        bytes_stored=projects[2],
        bytes_uploaded=uploaded,
        byte_hours_last_month=await _last_month(work),
        byte_hours_total=used,
        collected_at=work.now,
    )


async def _roles(work: Work) -> dict[Role, int]:
    role = User.columns().role
    found = await work.session.execute(select(role, func.count()).group_by(role))
    return {one: int(number) for one, number in found}


async def _owners(work: Work) -> int:
    table = Membership.columns()
    return (
        await work.session.scalar(
            select(func.count(func.distinct(table.user_id))).where(table.owner.is_(True))
        )
        or 0
    )


async def _projects(work: Work) -> tuple[int, int, int]:
    """Return how many are active and inactive, and the bytes of all in the store."""
    table = Project.columns()
    found = await work.session.execute(
        select(
            func.count(),
            func.coalesce(func.sum(case((table.active.is_(True), 1), else_=0)), 0),
            func.coalesce(func.sum(table.bytes_stored), 0),
        )
    )
    every, active, stored = found.one()
    return int(active), int(every) - int(active), int(stored)


async def _ever(work: Work) -> tuple[float, int]:
    """Return the byte-hours and the uploaded bytes of all time."""
    table = Collection.columns()
    newest = await monthly.newest_collected(work)
    found = await work.session.execute(
        select(
            func.coalesce(func.sum(table.byte_hours), 0.0),
            func.coalesce(func.sum(table.bytes_uploaded), 0),
        )
    )
    written, written_bytes = found.one()
    since = newest.end if newest else sums.THE_BEGINNING
    live = sums.stored_between(since, work.now).subquery()
    found = await work.session.execute(
        select(
            func.coalesce(func.sum(live.c.byte_hours), 0.0),
            func.coalesce(func.sum(live.c.bytes_uploaded), 0),
        )
    )
    used, uploaded = found.one()
    return float(written) + float(used), int(written_bytes) + int(uploaded)


async def _last_month(work: Work) -> float:
    """Return the byte-hours of the calendar month before this one."""
    month = Month.of(work.now).preceding()
    written = await work.session.get(Collection, str(month))
    if written is not None:
        return written.byte_hours
    live = sums.stored_between(month.start, month.end).subquery()
    return float(await work.session.scalar(select(func.sum(live.c.byte_hours))) or 0.0)
