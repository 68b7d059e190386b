"""How the service is, gathered from its parts. A part that is away is told of, it does not fail the answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from typing import Any, Final

from sqlalchemy import func, select

from ddsd.access import Actor, System
from ddsd.contract import admin as wire
from ddsd.db import revision
from ddsd.db.base import Table
from ddsd.errors import StoreRefused, StoreUnavailable
from ddsd.files import reconciliation
from ddsd.files import stores as places_of
from ddsd.jobs import queue
from ddsd.jobs.schedule import ScheduledJob
from ddsd.jobs.tables import Job, JobState
from ddsd.lifecycle import deadlines
from ddsd.mail import outbox
from ddsd.mail.tables import Mail, MailState
from ddsd.notices import maintenance
from ddsd.planes.admin import present
from ddsd.projects.tables import Project
from ddsd.settings import StoreKind
from ddsd.storage.port import ObjectStore
from ddsd.tls import Shown
from ddsd.units import stores
from ddsd.units.tables import StoreState, Unit
from ddsd.usage import quota
from ddsd.users.tables import User
from ddsd.work import Services, Work, reading

_PATIENCE_S: Final = 5


@dataclass(frozen=True)
class Started:
    """When this daemon began to serve."""

    at: datetime


class Timetable:
    """What comes by the clock. Not a dataclass: Litestar would look into it, and refuse what it finds."""

    def __init__(self, jobs: tuple[ScheduledJob, ...]) -> None:
        self.jobs = jobs


class PublicPlane:
    """How the public plane listens. Not a dataclass, as :class:`Timetable`."""

    def __init__(self, shown: Shown | None) -> None:
        self.shown = shown


async def status(work: Work, started: Started, public: PublicPlane) -> wire.Status:
    """Ask every part how it is.

    Raises:
        DatabaseUnavailable: the database is away; nothing can be said of the rest.
    """
    settings = work.services.settings
    return wire.Status(
        version=version("ddsd"),
        facility=settings.instance.facility,
        demo=settings.instance.demo,
        public_url=settings.instance.public_url,
        certificate=_certificate(public.shown, work.now),
        started_at=started.at,
        uptime_s=max(0, int((work.now - started.at).total_seconds())),  # the clock may be set back
        database=await _database(work.services),
        store=await _store(work.services),
        mail=await _mail(work),
        jobs=await _by_state(work, Job, JobState)
        | {JobState.FAILED.value: await queue.count_failed(work)},
        units=await _count(work, Unit),
        users=await _count(work, User),
        projects=await _count(work, Project),
        quotas=[present.standing(one) for one in await quota.standings(work) if one.over],
        held=len(await deadlines.held(work)),
        maintenance=await maintenance.is_on(work),
        lost=await reconciliation.counts(work),
    )


def _certificate(shown: Shown | None, now: datetime) -> wire.CertificateStatus | None:
    if shown is None:
        return None
    return wire.CertificateStatus(
        names=list(shown.certificate.names),
        expires_at=shown.certificate.expires_at,
        warning=shown.certificate.warning(now),
        problem=shown.problem,
    )


async def _database(services: Services) -> wire.DatabaseStatus:
    kind = "sqlite" if services.database.is_sqlite else "postgresql"
    at = await revision.current(services.database)
    return wire.DatabaseStatus(kind=kind, revision=at, head=revision.head())


async def store(services: Services) -> wire.StoreSettings:
    """Tell how the object store is configured, and whether it answers."""
    section = services.settings.store
    embedded = section.kind is StoreKind.EMBEDDED
    problem = await _store_problem(services.store)
    return wire.StoreSettings(
        kind=section.kind.value,
        endpoint=section.endpoint,
        public_endpoint=section.public_endpoint or section.endpoint,
        region=section.region,
        access_key=section.access_key,
        directory=str(services.settings.store_directory) if embedded else "",
        wide_upload_keys=section.allow_wide_upload_keys,
        answers=not problem,
        problem=problem,
    )


async def _store(services: Services) -> wire.StoreStatus:
    """Tell of all stores as of one: of the configured one first, then of those of units that do not answer."""
    told = await stores_of_units(services, System())
    problems = [
        f"{one.unit}, {one.endpoint}: {one.problem}" if one.unit else one.problem
        for one in told
        if one.problem
    ]
    kind = services.settings.store.kind.value
    own = len({one.unit for one in told if one.unit})
    return wire.StoreStatus(
        kind=kind, answers=not problems, problem="; ".join(problems), units_with_their_own=own
    )


async def stores_of_units(services: Services, actor: Actor) -> list[wire.UnitStore]:
    """Tell of every store that is used, the configured one first, and whether it answers."""
    async with reading(services, actor) as work:
        rows = await stores.listing(work)
    usual = await store(services)
    told = [
        wire.UnitStore(
            unit="",
            state=StoreState.CURRENT.value,
            endpoint=usual.endpoint or usual.kind,
            public_endpoint=services.store.public_endpoint,
            access_key=usual.access_key,
            changed_at=None,
            answers=usual.answers,
            problem=usual.problem,
        )
    ]
    places = [await places_of.at(services, row.store) for row in rows]
    problems = await asyncio.gather(*(_store_problem(place.store) for place in places))
    return told + [
        wire.UnitStore(
            unit=row.unit,
            state=row.store.state.value,
            endpoint=row.store.endpoint or told[0].endpoint,
            public_endpoint=place.store.public_endpoint,
            access_key=row.store.access_key or told[0].access_key,
            changed_at=row.store.changed_at,
            answers=not problem,
            problem=problem,
        )
        for row, place, problem in zip(rows, places, problems, strict=True)
    ]


async def _store_problem(store: ObjectStore) -> str:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await store.probe()
    except TimeoutError:
        return f"It did not answer within {_PATIENCE_S} seconds."
    except (StoreUnavailable, StoreRefused) as wrong:
        return wrong.message
    return ""


async def _mail(work: Work) -> wire.MailStatus:
    return wire.MailStatus(
        kind=work.services.settings.mail.kind.value,
        sends=work.services.post.sends,
        letters=await _by_state(work, Mail, MailState),
        problem=await outbox.refusal(work) if work.services.post.sends else "",
    )


async def _count(work: Work, table: type[Table]) -> int:
    return await work.session.scalar(select(func.count()).select_from(table)) or 0


async def _by_state(work: Work, table: type[Table], states: type[StrEnum]) -> dict[str, int]:
    state: Any = table.columns().state
    found = await work.session.execute(select(state, func.count()).group_by(state))
    counts: dict[StrEnum, int] = dict(found.all())
    return {one.value: counts.get(one, 0) for one in states}
