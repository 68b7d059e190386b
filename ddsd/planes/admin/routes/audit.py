"""The audit log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from ddsd.access import Operator
from ddsd.audit import trail
from ddsd.audit.trail import Sought
from ddsd.contract import admin as wire
from ddsd.errors import InvalidInput
from ddsd.planes.admin import present
from ddsd.work import Services, reading


@get("/audit")
async def list_entries(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    actor: FromQuery[str | None] = None,
    subject: FromQuery[str | None] = None,
    action: FromQuery[str | None] = None,
    since: FromQuery[datetime | None] = None,
    before: FromQuery[int | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
) -> list[wire.AuditEntry]:
    """List a page of the audit log, newest first; ``before`` is the smallest number of the page before it."""
    sought = Sought(actor, subject, action, _aware(since), before)
    async with reading(services, operator) as work:
        return [present.audit_entry(one) for one in await trail.listing(work, sought, limit)]


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise InvalidInput("since: name the time zone, such as 2026-11-22T00:00:00Z.")
    return moment.astimezone(UTC) if moment else None
