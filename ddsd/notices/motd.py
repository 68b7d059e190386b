"""Messages of the day."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from ddsd.notices.tables import Motd
from ddsd.work import Work


async def active(work: Work) -> Sequence[Motd]:
    """Return the messages that are shown now, newest first."""
    table = Motd.columns()
    found = await work.session.execute(select(Motd).where(table.active).order_by(table.id.desc()))
    return found.scalars().all()
