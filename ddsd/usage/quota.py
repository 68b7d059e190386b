"""The watch over quotas: whoever comes over their warning level is told once, and again only after they were below.

What is refused, and when, is :mod:`ddsd.projects.quota`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update

from ddsd.access import Action, System, require
from ddsd.audit import trail
from ddsd.contract import sizes
from ddsd.db.statements import affected
from ddsd.mail import outbox
from ddsd.projects import quota
from ddsd.units.tables import Unit
from ddsd.work import Services, Work, transaction

WATCH_QUOTAS: Final = "watch_quotas"


@dataclass(frozen=True)
class Standing:
    """A unit with a quota: how much it may store, from where on it is warned, what it stores, whether it was told."""

    unit_id: int
    unit_public_id: str
    name: str
    contact_email: str
    quota_bytes: int
    level_bytes: int
    used_bytes: int
    warned: bool

    @property
    def over(self) -> bool:
        """Say whether it is over its warning level."""
        return self.used_bytes > self.level_bytes


async def watch_quotas(services: Services, _subject: str) -> None:
    """Handle the job :data:`WATCH_QUOTAS`: warn those who have come over their level."""
    async with transaction(services, System()) as work:
        await warn(work)


async def standings(work: Work) -> list[Standing]:
    """Return every unit that has a quota, by public id."""
    units = Unit.columns()
    found = await work.session.scalars(
        select(Unit).where(units.quota_bytes > 0).order_by(units.public_id)
    )
    used = await quota.used_by_unit(work)
    return [_standing(unit, used.get(unit.id, 0)) for unit in found]


async def to_be_warned(work: Work) -> list[Standing]:
    """Return the units that :func:`warn` would tell now.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    return [one for one in await standings(work) if one.over and not one.warned]


async def warn(work: Work) -> list[Standing]:
    """Write to the contacts of units that have come over their warning level, and to the service's; return which.

    Those that are below again, or have no quota any more, will be told anew the next time.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    everybody = await standings(work)
    await _forget_warnings(work, [one.unit_id for one in everybody if one.over])
    warned = [one for one in everybody if one.over and await _mark(work, one)]
    for one in warned:
        await _write(work, one)
        trail.record(work, "unit.quota_warning", one.unit_public_id, used_bytes=one.used_bytes)
    return warned


async def _forget_warnings(work: Work, over: list[int]) -> None:
    units = Unit.columns()
    await work.session.execute(
        update(Unit)
        .where(units.quota_warned_at.is_not(None), units.id.not_in(over))
        .values(quota_warned_at=None)
    )


async def _mark(work: Work, one: Standing) -> bool:
    """Note that the unit is told now; ``False`` if it was told before, or by somebody else just now."""
    units = Unit.columns()
    marked = await work.session.execute(
        update(Unit)
        .where(units.id == one.unit_id, units.quota_warned_at.is_(None))
        .values(quota_warned_at=work.now)
    )
    return affected(marked) == 1


async def _write(work: Work, one: Standing) -> None:
    contact = work.services.settings.instance.contact
    for recipient in dict.fromkeys([one.contact_email, contact]):
        await outbox.write(
            work,
            "quota_warning",
            recipient,
            unit=one.name,
            quota=sizes.show(one.quota_bytes),
            level=sizes.show(one.level_bytes),
            usage=sizes.show(one.used_bytes),
        )


def _standing(unit: Unit, used_bytes: int) -> Standing:
    return Standing(
        unit_id=unit.id,
        unit_public_id=unit.public_id,
        name=unit.name,
        contact_email=unit.contact_email,
        quota_bytes=unit.quota_bytes,
        level_bytes=int(unit.quota_bytes * unit.warning_level),
        used_bytes=used_bytes,
        warned=unit.quota_warned_at is not None,
    )
