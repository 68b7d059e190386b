"""How much a unit may store: what it has is summed over its projects' counters, never over files.

Invariant: with an enforced quota, no file is added that takes the unit above it, also by two daemons at once: a writer
holds the unit before its projects, and reads what is used only then. New content of a file is never refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, func, select

from ddsd.contract import sizes
from ddsd.db.base import METADATA
from ddsd.errors import QuotaExceeded
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit
from ddsd.work import Work

_UNITS: Final = METADATA.tables[str(Unit.__tablename__)]
_PROJECTS: Final = METADATA.tables[str(Project.__tablename__)]

# Made once: making them takes longer than running them.
_ENFORCED: Final = (_UNITS.c.quota_enforced.is_(True), _UNITS.c.quota_bytes > 0)
_HOLD: Final = (
    select(_UNITS.c.id)
    .where(_UNITS.c.id.in_(bindparam("units", expanding=True)), *_ENFORCED)
    .order_by(_UNITS.c.id)
    .with_for_update(key_share=True)
)
_ROOM: Final = select(
    _UNITS.c.name,
    _UNITS.c.quota_bytes,
    # Projects whose usage is closed have nothing left: what was archived costs nothing here.
    select(func.coalesce(func.sum(_PROJECTS.c.bytes_stored), 0))
    .where(_PROJECTS.c.unit_id == _UNITS.c.id, _PROJECTS.c.usage_closed_at.is_(None))
    .scalar_subquery(),
).where(_UNITS.c.id == bindparam("unit"), *_ENFORCED)


@dataclass
class Room:
    """A unit's enforced quota and what it has of it, counting what is accepted meanwhile."""

    unit: str
    quota_bytes: int
    used_bytes: int
    contact: str

    def take(self, more_bytes: int) -> QuotaExceeded | None:
        """Return why so many bytes more do not fit; if they do, count them. Less than before always fits."""
        if more_bytes > 0 and self.used_bytes + more_bytes > self.quota_bytes:
            return self._refusal(f"another {sizes.show(more_bytes)} would be too much")
        self.used_bytes += more_bytes
        return None

    def why_full(self) -> QuotaExceeded | None:
        """Return why not a single byte more fits; ``None`` if one does."""
        if self.used_bytes < self.quota_bytes:
            return None
        return self._refusal("nothing can be added")

    def _refusal(self, what: str) -> QuotaExceeded:
        used, quota = sizes.show(self.used_bytes), sizes.show(self.quota_bytes)
        return QuotaExceeded(
            f"{self.unit} has {used} of its quota of {quota} in use: {what}. "
            "Archive or delete projects that are no longer needed ('dds ls --usage' lists what each uses), "
            f"or ask {self.contact} for a larger quota.",
            used_bytes=self.used_bytes,
            quota_bytes=self.quota_bytes,
        )


async def hold(work: Work, unit_ids: Iterable[int | None]) -> None:
    """Let no other transaction add files to these units, as far as their quotas are enforced, until this one ends.

    To be called before any of their projects is locked: everybody locks units first.
    """
    wanted = sorted({number for number in unit_ids if number is not None})
    if not work.services.database.is_sqlite:  # which has one writer at a time
        connection = await work.session.connection()
        await connection.execute(_HOLD, {"units": wanted})


async def room(work: Work, unit_id: int) -> Room | None:
    """Return what is left of the unit's quota; ``None`` where nothing is to be refused. One statement."""
    connection = await work.session.connection()
    found = (await connection.execute(_ROOM, {"unit": unit_id})).one_or_none()
    if found is None:
        return None
    contact = work.services.settings.instance.contact
    return Room(str(found[0]), int(found[1]), int(found[2]), contact)


async def require_room(work: Work, unit_id: int, more_bytes: int) -> None:
    """Refuse what would take a unit above its quota, if that is enforced.

    Args:
        work: the transaction, which holds the unit if it is going to write.
        unit_id: the unit.
        more_bytes: stored bytes to be added; 0: refuse only if not a byte more fits.

    Raises:
        QuotaExceeded: they do not fit.
    """
    left = await room(work, unit_id)
    if left is None:
        return
    refusal = left.take(more_bytes) if more_bytes else left.why_full()
    if refusal is not None:
        raise refusal


async def used_by_unit(work: Work) -> dict[int, int]:
    """Return the stored bytes of each unit that has any, by number."""
    projects = Project.columns()
    found = await work.session.execute(
        select(projects.unit_id, func.sum(projects.bytes_stored))
        .where(projects.usage_closed_at.is_(None))
        .group_by(projects.unit_id)
    )
    return {int(number): int(used) for number, used in found}
