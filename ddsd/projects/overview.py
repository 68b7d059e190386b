"""All projects at a glance, for operators: who delivers what, how much, and until when. Never opens a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from ddsd.errors import NotFound
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit
from ddsd.users.tables import User
from ddsd.work import Work


@dataclass(frozen=True)
class ProjectRow:
    """A project as operators list it. ``bytes_stored`` is compressed and encrypted, ``bytes_original`` is neither."""

    public_id: str
    unit_public_id: str
    title: str
    status: Status
    deadline: datetime | None
    file_count: int
    bytes_stored: int
    bytes_original: int
    created_at: datetime
    ending: str = ""
    purge_after: datetime | None = None


@dataclass(frozen=True)
class Load:
    """What a unit has: its own people (no researchers), its projects, and what those have in the store."""

    users: int = 0
    projects: int = 0
    bytes_stored: int = 0


async def load_by_unit(work: Work) -> Mapping[str, Load]:
    """Return what every unit has, by its public ID. Reads the kept counters: no file is summed."""
    unit, user, project = Unit.columns(), User.columns(), Project.columns()
    people = select(user.unit_id, func.count().label("number")).group_by(user.unit_id).subquery()
    deliveries = (
        select(
            project.unit_id,
            func.count().label("number"),
            func.sum(project.bytes_stored).label("bytes_stored"),
        )
        .group_by(project.unit_id)
        .subquery()
    )
    found = await work.session.execute(
        select(unit.public_id, people.c.number, deliveries.c.number, deliveries.c.bytes_stored)
        .outerjoin(people, people.c.unit_id == unit.id)
        .outerjoin(deliveries, deliveries.c.unit_id == unit.id)
    )
    return {
        public_id: Load(users or 0, projects or 0, int(stored or 0))
        for public_id, users, projects, stored in found
    }


async def listing(work: Work, unit_public_id: str | None = None) -> list[ProjectRow]:
    """Return every project, or those of one unit, newest first. Reads the kept counters: no file is summed.

    Raises:
        NotFound: there is no such unit.
    """
    project, unit = Project.columns(), Unit.columns()
    query = (
        select(Project, unit.public_id)
        .join(Unit, unit.id == project.unit_id)
        .order_by(project.created_at.desc(), project.id.desc())
    )
    if unit_public_id is not None:
        query = query.where(unit.public_id == unit_public_id)
    found = (await work.session.execute(query)).all()
    if not found and unit_public_id is not None:
        await require_unit(work, unit_public_id)
    return [row(one, unit_name) for one, unit_name in found]


def row(project: Project, unit_public_id: str) -> ProjectRow:
    """Return a project as it is listed."""
    return ProjectRow(
        public_id=project.public_id,
        unit_public_id=unit_public_id,
        title=project.title or "",
        status=project.status,
        deadline=project.deadline,
        file_count=project.file_count,
        bytes_stored=project.bytes_stored,
        bytes_original=project.bytes_original,
        created_at=project.created_at,
        ending=project.ending.value if project.ending else "",
        purge_after=project.purge_after,
    )


async def require_unit(work: Work, public_id: str) -> None:
    """Refuse a name that is no unit's.

    Raises:
        NotFound: there is no such unit.
    """
    unit = Unit.columns()
    if await work.session.scalar(select(unit.id).where(unit.public_id == public_id)) is None:
        raise NotFound(f"There is no unit '{public_id}'. See: ddsctl unit ls", unit=public_id)
