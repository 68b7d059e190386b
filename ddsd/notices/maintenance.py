"""Maintenance: while it is on, only super admins are served. A new instance starts open."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ScalarSelect, select

from ddsd.access import Action, Role, require
from ddsd.audit import trail
from ddsd.db.statements import insert_into
from ddsd.errors import UnderMaintenance
from ddsd.notices.tables import Switch
from ddsd.work import Work

_NAME: Final = "maintenance"


async def is_on(work: Work) -> bool:
    """Say whether the service is closed for maintenance."""
    switch = await work.session.get(Switch, _NAME)
    return switch is not None and switch.on


async def turn(work: Work, *, on: bool) -> None:
    """Close the service for all but super admins, or open it again; running transfers go on.

    Raises:
        Forbidden: the actor may not.
    """
    require(work.actor, Action.CLOSE_SERVICE)
    statement = insert_into(work.session, Switch).values(name=_NAME, on=on)
    await work.session.execute(
        statement.on_conflict_do_update(index_elements=[Switch.columns().name], set_={"on": on})
    )
    trail.record(work, "maintenance.on" if on else "maintenance.off", _NAME)


def switch() -> ScalarSelect[bool]:
    """Return the switch as an expression, for queries that have to know it anyway; null means off."""
    table = Switch.columns()
    return select(table.on).where(table.name == _NAME).scalar_subquery()


async def require_open(work: Work, role: Role) -> None:
    """Refuse everybody but super admins while maintenance is on.

    Raises:
        UnderMaintenance: it is, and the role is another.
    """
    check_open(role, closed=await is_on(work))


def check_open(role: Role, *, closed: bool) -> None:
    """Refuse everybody but super admins if the service is closed.

    Raises:
        UnderMaintenance: it is, and the role is another.
    """
    if closed and role is not Role.SUPER_ADMIN:
        raise UnderMaintenance("Maintenance of DDS is ongoing.")
