"""The letters before a deadline: what they say, and whether they are still true when they leave.

Invariant: no letter leaves about a project that is no longer Available until that deadline, or to somebody who is no
longer in it or has fetched everything by then. However long the mail server was away, a letter tells what is so now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select

from ddsd.access import System
from ddsd.files import downloads
from ddsd.files.downloads import Researcher
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.runner import Handler
from ddsd.mail import outbox
from ddsd.mail.render import Fact
from ddsd.notices import steps
from ddsd.notices.tables import DeadlineSummary, Reminder
from ddsd.projects import membership
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit
from ddsd.work import Services, Work, transaction

REMINDER: Final = "deadline_reminder"
SUMMARY: Final = "deadlines_summary"
SEND_REMINDER: Final = "send_reminder"
SEND_SUMMARY: Final = "send_deadlines_summary"
_MOST_NAMED: Final = 20
_OVER: Final = "It was about something that is over."
_MISSED: Final = "The deadline passed before it could be sent."


def reminder_facts(work: Work, project: Project, unit: Unit, person: Researcher) -> dict[str, Fact]:
    """Return what a researcher is told of a project's deadline."""
    return {
        "title": project.title or "",
        "public_id": project.public_id,
        "unit": unit.external_display_name,
        "unit_contact": unit.contact_email,
        "deadline": _moment(project.deadline),
        "when": _when(work, project),
        "missing": f"{project.file_count - person.fetched} of {project.file_count} files",
    }


async def summary_facts(work: Work, projects: Sequence[Project], unit: Unit) -> dict[str, Fact]:
    """Return what a unit is told of the deadlines of its projects."""
    rows = [
        {
            "title": project.title or "",
            "public_id": project.public_id,
            "deadline": _moment(project.deadline),
            "when": _when(work, project),
            "missing": await _who_lacks(work, project),
        }
        for project in projects
    ]
    return {"unit": unit.external_display_name, "projects": rows}


async def send_reminder(services: Services, subject: str) -> None:
    """Handle the job :data:`SEND_REMINDER`: send a letter, if it is still wanted, as things are now.

    Raises:
        MailUnavailable: as :func:`ddsd.mail.outbox.send_mail`.
        GiveUp: likewise; or the deadline has passed, so that the letter has failed.
    """
    mail_id, missed = int(subject), False
    async with transaction(services, System()) as work:
        reminded = await _find(work, mail_id)
        if reminded is None:
            await outbox.withdraw(work, mail_id, _OVER)
        elif missed := reminded.missed(work.now):
            await outbox.miss(work, mail_id, _MISSED)
        elif reminded.runs:
            project, unit, person = reminded.project, reminded.unit, reminded.person
            facts = reminder_facts(work, project, unit, person)
            await outbox.rewrite(work, mail_id, facts, recipient=person.email)
        else:
            await outbox.withdraw(work, mail_id, _OVER)
    if missed:
        raise GiveUp(_MISSED)
    await outbox.send_mail(services, subject)


async def send_summary(services: Services, subject: str) -> None:
    """Handle the job :data:`SEND_SUMMARY`: the same for a unit's letter; what is over is left out of it.

    Raises:
        MailUnavailable, GiveUp: as :func:`ddsd.mail.outbox.send_mail`.
    """
    mail_id = int(subject)
    summaries, projects, units = DeadlineSummary.columns(), Project.columns(), Unit.columns()
    async with transaction(services, System()) as work:
        found = await work.session.execute(
            select(Project, Unit)
            .join(DeadlineSummary, summaries.project_id == projects.id)
            .join(Unit, units.id == projects.unit_id)
            .where(
                summaries.mail_id == mail_id,
                projects.status == Status.AVAILABLE,
                projects.ending.is_(None),
                projects.deadline == summaries.deadline,
                projects.deadline > work.now,
            )
            .order_by(projects.deadline, projects.public_id)
        )
        rows = found.all()
        if not rows:
            await outbox.withdraw(work, mail_id, _OVER)
        else:
            unit = rows[0][1]
            facts = await summary_facts(work, [project for project, _ in rows], unit)
            await outbox.rewrite(work, mail_id, facts, recipient=unit.contact_email)
    await outbox.send_mail(services, subject)


HANDLERS: Final[Mapping[str, Handler]] = {
    SEND_REMINDER: send_reminder,
    SEND_SUMMARY: send_summary,
}


@dataclass(frozen=True)
class _Reminded:
    """A researcher in a project who lacks files of it, and the deadline that a letter tells them of."""

    project: Project
    unit: Unit
    person: Researcher
    deadline: datetime

    @property
    def runs(self) -> bool:
        """Say whether the project is Available until that deadline, and nothing else has been decided."""
        project = self.project
        return (
            project.status is Status.AVAILABLE
            and project.ending is None
            and project.deadline == self.deadline
        )

    def missed(self, now: datetime) -> bool:
        """Say whether the deadline has passed, so that they were never told of it."""
        over = self.project.status in {Status.EXPIRED, Status.ARCHIVED}
        return now >= self.deadline and (over or self.runs)


async def _find(work: Work, mail_id: int) -> _Reminded | None:
    """Return whom and what a letter is about; ``None`` if they left, or lack nothing any more."""
    reminders, projects, units = Reminder.columns(), Project.columns(), Unit.columns()
    found = await work.session.execute(
        select(Project, Unit, reminders.user_id, reminders.deadline)
        .join(Reminder, reminders.project_id == projects.id)
        .join(Unit, units.id == projects.unit_id)
        .where(reminders.mail_id == mail_id)
    )
    row = found.one_or_none()
    if row is None:
        return None
    project, unit, user_id, deadline = row
    for person in await downloads.researchers(work, project.id):
        if person.user_id == user_id and person.fetched < project.file_count:
            return _Reminded(project, unit, person, deadline)
    return None


async def _who_lacks(work: Work, project: Project) -> str:
    """Say who has not fetched everything; those who are only invited have not."""
    invited = [
        f"{one.email} (invited, no account yet)"
        for one in await membership.participants(work, project)
        if one.username is None
    ]
    researchers = await downloads.researchers(work, project.id)
    lacking = [
        f"{one.email} ({one.fetched} of {project.file_count} files)"
        for one in researchers
        if one.fetched < project.file_count
    ]
    named = lacking + invited
    if not named:
        return "nobody: all have downloaded everything" if researchers else "nobody has access"
    more = len(named) - _MOST_NAMED
    return ", ".join(named[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _moment(deadline: datetime | None) -> str:
    return f"{deadline.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if deadline else ""


def _when(work: Work, project: Project) -> str:
    if project.deadline is None:
        return ""
    return steps.in_words((project.deadline.date() - work.now.date()).days)
