"""One project's dossier: what it is, whose, how it came here, what is stuck, and what to do next. For operators.

It is made of what other slices tell, in one reading transaction; a list is cut where its newest part says enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from ddsd.access import Action, require
from ddsd.audit import trail
from ddsd.audit.tables import AuditEntry
from ddsd.audit.trail import Sought
from ddsd.dossier import people
from ddsd.dossier.people import Person
from ddsd.errors import NotFound
from ddsd.files import reconciliation
from ddsd.files.reconciliation import FindingRow
from ddsd.jobs import queue
from ddsd.jobs.tables import Job
from ddsd.mail import outbox
from ddsd.mail.outbox import Envelope
from ddsd.projects import overview, projects, quota
from ddsd.projects.overview import ProjectRow
from ddsd.projects.status import FINAL, MAX_EXTENSIONS, MAX_TIMES_EXPIRED
from ddsd.projects.tables import Project, StatusEntry
from ddsd.units.tables import Unit
from ddsd.users.tables import User
from ddsd.work import Work

NEWEST: Final = 20
"""How many letters, jobs and audit lines are told."""
MOST_FINDINGS: Final = 100


@dataclass(frozen=True)
class UnitStanding:
    """The project's unit beside its quota; ``quota_bytes`` 0: none."""

    public_id: str
    name: str
    contact_email: str
    quota_bytes: int
    level_bytes: int
    used_bytes: int
    enforced: bool


@dataclass(frozen=True)
class Dossier:
    """Everything that is known of a project.

    ``undelivered`` counts letters that hold back the removal of its data. ``over``: data and keys are gone for good.
    """

    project: ProjectRow
    unit: UnitStanding
    pi: str
    description: str
    creator: str
    bucket: str
    non_sensitive: bool
    released_at: datetime | None
    times_expired: int
    releases_left: int
    extensions_left: int
    over: bool
    people: Sequence[Person]
    history: Sequence[StatusEntry]
    letters: Sequence[Envelope]
    undelivered: int
    jobs: Sequence[Job]
    findings: Sequence[FindingRow]
    audit: Sequence[AuditEntry]
    read_at: datetime


async def read(work: Work, public_id: str) -> Dossier:
    """Return the dossier of a project.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such project.
    """
    require(work.actor, Action.OPERATE)
    project, unit = await _find(work, public_id)
    letters = await outbox.listing(work, NEWEST, about=public_id)
    undelivered = await outbox.undelivered(work, [public_id])
    final = project.status in FINAL
    return Dossier(
        project=overview.row(project, unit.public_id),
        unit=await _standing(work, unit),
        pi=project.pi or "",
        description=project.description or "",
        creator=await _creator(work, project),
        bucket=project.bucket,
        non_sensitive=project.non_sensitive,
        released_at=project.released_at,
        times_expired=project.times_expired,
        releases_left=0 if final else max(0, MAX_TIMES_EXPIRED - project.times_expired),
        extensions_left=0 if final else max(0, MAX_EXTENSIONS - project.times_expired),
        over=people.is_over(project),
        people=await people.people_of(work, project),
        history=await projects.history(work, project),
        letters=letters,
        undelivered=undelivered.get(public_id, 0),
        jobs=await queue.listing(work, limit=NEWEST, subject=public_id),
        findings=await reconciliation.listing(work, public_id, None, MOST_FINDINGS),
        audit=await trail.listing(work, Sought(subject=public_id), NEWEST),
        read_at=work.now,
    )


async def _find(work: Work, public_id: str) -> tuple[Project, Unit]:
    found = await work.session.execute(
        select(Project, Unit)
        .join(Unit, Unit.columns().id == Project.columns().unit_id)
        .where(Project.columns().public_id == public_id)
    )
    row = found.one_or_none()
    if row is None:
        raise NotFound(f"There is no project '{public_id}'. See: ddsctl project ls")
    return row[0], row[1]


async def _standing(work: Work, unit: Unit) -> UnitStanding:
    used = await quota.used_by_unit(work)
    return UnitStanding(
        public_id=unit.public_id,
        name=unit.name,
        contact_email=unit.contact_email,
        quota_bytes=unit.quota_bytes,
        level_bytes=int(unit.quota_bytes * unit.warning_level),
        used_bytes=used.get(unit.id, 0),
        enforced=unit.quota_enforced,
    )


async def _creator(work: Work, project: Project) -> str:
    creator = await work.session.get(User, project.created_by) if project.created_by else None
    return creator.username if creator else ""
