"""How much projects have used: what is written down month by month, and what has come since.

Invariant: nothing counts twice and nothing is left out: each moment is either in a month that is written down, or
added up now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, union_all

from ddsd.access import NOT_THIS_ROLE, UNIT_ROLES, Action, Member, Role, require, require_member
from ddsd.errors import Forbidden, InvalidInput, NotFound
from ddsd.projects import overview
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit
from ddsd.usage import monthly, sums
from ddsd.usage.bytehours import Month
from ddsd.usage.tables import MonthlyUsage
from ddsd.work import Work


@dataclass(frozen=True)
class ProjectUsage:
    """What a project used, for operators. ``collected_at`` is ``None`` for what was added up just now."""

    unit_public_id: str
    public_id: str
    title: str
    created_at: datetime
    month: Month | None
    byte_hours: float
    collected_at: datetime | None


async def of_listed(work: Work, *, show_all: bool) -> dict[str, float]:
    """Return the byte-hours so far of the projects that the caller lists, by public id; no zeros.

    Raises:
        Forbidden: the caller is a researcher: usage is the unit's matter.
    """
    member = require_member(work.actor, Action.LIST_PROJECTS)
    if member.role is Role.RESEARCHER:
        raise Forbidden(NOT_THIS_ROLE)
    projects = Project.columns()
    conditions = [] if show_all else [projects.active.is_(True)]
    if member.role in UNIT_ROLES:
        conditions.append(projects.unit_id == member.unit_id)
    return await _so_far(work, conditions)


async def of_unit(work: Work) -> dict[str, float]:
    """Return the byte-hours so far of every project of the caller's unit, by public id, zeros too.

    Raises:
        Forbidden: the caller works for no unit.
    """
    member = _unit_user(work)
    projects = Project.columns()
    every = await work.session.scalars(
        select(projects.public_id)
        .where(projects.unit_id == member.unit_id)
        .order_by(projects.public_id)
    )
    used = await _so_far(work, [projects.unit_id == member.unit_id])
    return {public_id: used.get(public_id, 0.0) for public_id in every}


async def by_project(
    work: Work, unit_public_id: str | None = None, month: Month | None = None
) -> list[ProjectUsage]:
    """Return what each project used in a month, or until now; those that used nothing are left out.

    A month that is not written down yet is added up as far as it has come.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit.
    """
    require(work.actor, Action.OPERATE)
    if unit_public_id is not None:
        await overview.require_unit(work, unit_public_id)
    newest = await monthly.newest_collected(work)
    if month is not None and newest is not None and month <= newest:
        return await recorded(work, month, month, unit_public_id)
    if month is None:
        used = _recorded_and_since(newest, work.now, []).subquery()
    else:
        used = sums.stored_between(month.start, min(month.end, work.now)).subquery()
    query = _with_names(unit_public_id).add_columns(used.c.byte_hours)
    projects = Project.columns()
    found = await work.session.execute(query.join(used, used.c.project_id == projects.id))
    return [
        ProjectUsage(unit, public_id, title or "", created_at, month, float(amount), None)
        for unit, public_id, title, created_at, amount in found
    ]


async def recorded(
    work: Work, first: Month, last: Month, unit_public_id: str | None = None
) -> list[ProjectUsage]:
    """Return what is written down for the months from ``first`` to ``last``; nothing, if there was nothing to use.

    Raises:
        Forbidden: the actor does not operate this service.
        InvalidInput: ``last`` is before ``first``, or ``first`` is not over.
        NotFound: there is no such unit, or none of these months is written down.
    """
    require(work.actor, Action.OPERATE)
    if unit_public_id is not None:
        await overview.require_unit(work, unit_public_id)
    _require_over(work, first, last)
    newest = await monthly.newest_collected(work)
    if (newest is None or newest < first) and await monthly.months_due(work):
        raise NotFound(
            f"The usage of {first} has not been written down yet. See: ddsctl usage collect --dry-run"
        )
    rows, projects = MonthlyUsage.columns(), Project.columns()
    found = await work.session.execute(
        _with_names(unit_public_id)
        .add_columns(rows.month, rows.byte_hours, rows.collected_at)
        .join(MonthlyUsage, rows.project_id == projects.id)
        .where(rows.month.between(str(first), str(last)))
        .order_by(rows.month)
    )
    return [
        ProjectUsage(unit, public_id, title or "", created_at, Month.parse(month), amount, at)
        for unit, public_id, title, created_at, month, amount, at in found
    ]


async def _so_far(work: Work, conditions: Sequence[Any]) -> dict[str, float]:
    newest = await monthly.newest_collected(work)
    used = _recorded_and_since(newest, work.now, conditions).subquery()
    projects = Project.columns()
    found = await work.session.execute(
        select(projects.public_id, used.c.byte_hours).join(used, used.c.project_id == projects.id)
    )
    return {str(public_id): float(amount) for public_id, amount in found}


def _recorded_and_since(
    newest: Month | None, now: datetime, conditions: Sequence[Any]
) -> Select[Any]:
    """Return the query for ``project_id`` and all ``byte_hours`` until now, one statement."""
    rows, projects = MonthlyUsage.columns(), Project.columns()
    since = sums.stored_between(newest.end if newest else sums.THE_BEGINNING, now).where(
        *conditions
    )
    live = since.subquery()
    parts = [select(live.c.project_id, live.c.byte_hours)]
    if newest is not None:
        parts.append(
            select(rows.project_id, rows.byte_hours)
            .join(Project, projects.id == rows.project_id)
            .where(rows.month <= str(newest), *conditions)
        )
    every = union_all(*parts).subquery()
    return select(every.c.project_id, func.sum(every.c.byte_hours).label("byte_hours")).group_by(
        every.c.project_id
    )


def _require_over(work: Work, first: Month, last: Month) -> None:
    if last < first:
        raise InvalidInput(f"The last month, {last}, is before the first, {first}.")
    if first >= Month.of(work.now):
        raise InvalidInput(
            f"{first} is not over. It can be exported from {first.end:%Y-%m-%d} on; "
            f"as far as it has come: ddsctl usage show --month {first}"
        )


def _with_names(unit_public_id: str | None) -> Select[Any]:
    projects, units = Project.columns(), Unit.columns()
    query: Select[Any] = (
        select(units.public_id, projects.public_id, projects.title, projects.created_at)
        .select_from(Project)
        .join(Unit, units.id == projects.unit_id)
        .order_by(units.public_id, projects.id)
    )
    return query if unit_public_id is None else query.where(units.public_id == unit_public_id)


def _unit_user(work: Work) -> Member:
    member = require_member(work.actor, Action.SEE_USAGE)
    if member.role not in UNIT_ROLES:
        raise Forbidden("You do not have the necessary permissions.")
    return member
