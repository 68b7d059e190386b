"""Rows and values for tests to arrange with: valid as they come, each field to be said otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from ddsd.access import Role
from ddsd.db.base import Table
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit
from ddsd.users import names
from ddsd.users.tables import User, UserEmail

NOON = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
"""When tests begin, unless they say otherwise: a Monday."""

_numbers = count(1)

Row = TypeVar("Row", bound=Table)


class SettableClock:
    """A clock that stands still until it is told the time."""

    def __init__(self, moment: datetime = NOON) -> None:
        self._moment = moment

    def now(self) -> datetime:
        """Return the moment it was set to."""
        return self._moment

    def set(self, moment: datetime) -> None:
        """Show this moment from now on."""
        if moment.tzinfo is None:
            raise ValueError(f"a clock shows aware moments only: {moment!r}")
        self._moment = moment.astimezone(UTC)

    def advance(self, *, days: float = 0, hours: float = 0, seconds: float = 0) -> datetime:
        """Let time pass; return the new moment."""
        self._moment += timedelta(days=days, hours=hours, seconds=seconds)
        return self._moment


def _row(kind: type[Row], usual: dict[str, Any], otherwise: dict[str, Any]) -> Row:
    """Make a row; refuse a column that the table does not have, which SQLModel would pass over."""
    unknown = otherwise.keys() - kind.model_fields.keys()
    if unknown:
        raise TypeError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    return kind(**usual | otherwise)


async def a_unit(session: AsyncSession, **fields: Any) -> Unit:
    """Add a unit; every call gives another one."""
    number = next(_numbers)
    unit = _row(
        Unit,
        {
            "public_id": f"unit{number}",
            "name": f"Unit {number}",
            "external_display_name": f"Sequencing {number}",
            "contact_email": f"unit{number}@example.org",
            "internal_ref": f"u{number}",
            "created_at": NOON,
        },
        fields,
    )
    session.add(unit)
    await session.flush()
    return unit


async def a_user(session: AsyncSession, **fields: Any) -> User:
    """Add an account with one address and no password: a researcher, unless ``role`` says otherwise.

    ``email`` is the address; all else are columns of the account.
    """
    number = next(_numbers)
    email = fields.pop("email", f"user{number}@example.org")
    user = _row(
        User,
        {
            "uid": f"{number:032x}",
            "username": f"user{number}",
            "name": f"User {number}",
            "role": Role.RESEARCHER,
            "created_at": NOON,
        },
        fields,
    )
    user.username_folded = names.fold(user.username)
    session.add(user)
    await session.flush()
    session.add(UserEmail(user_id=user.id, email=email, is_primary=True))
    await session.flush()
    return user


async def a_project(session: AsyncSession, unit: Unit, **fields: Any) -> Project:
    """Add a project of ``unit``, in progress, without keys and without files."""
    unit.project_counter += 1
    public_id = f"{unit.public_id}{unit.project_counter:05d}"
    project = _row(
        Project,
        {
            "public_id": public_id,
            "unit_id": unit.id,
            "title": "A project",
            "bucket": f"{public_id}-bucket",
            "status": Status.IN_PROGRESS,
            "created_at": NOON,
            "updated_at": NOON,
        },
        fields,
    )
    session.add(project)
    await session.flush()
    return project
