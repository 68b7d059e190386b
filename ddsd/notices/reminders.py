"""Who is reminded of which deadline: researchers who lack files, and the unit in a summary.

Invariant: nobody is reminded twice for one step of one deadline, whatever happens to the daemons: a row says so, and
it is written in one transaction with the letter. After a downtime only the most urgent step is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import select, update

from ddsd.access import Action, System, require
from ddsd.audit import trail
from ddsd.db.statements import insert_into
from ddsd.errors import NotFound
from ddsd.files import downloads
from ddsd.files.downloads import Researcher
from ddsd.jobs import queue
from ddsd.jobs.runner import Handler
from ddsd.jobs.schedule import EVERYTHING, Cron, ScheduledJob
from ddsd.mail import outbox
from ddsd.notices import reminder_letters, steps
from ddsd.notices.tables import DeadlineSummary, Reminder
from ddsd.projects.status import Status
from ddsd.projects.tables import Project, StatusEntry
from ddsd.settings import Settings
from ddsd.units.tables import Unit
from ddsd.work import Services, Work, reading, transaction

REMIND: Final = "remind"


@dataclass(frozen=True)
class Ending:
    """A project whose deadline comes near, and whom to tell.

    Args:
        project: which is Available.
        unit: whose it is.
        deadline: the project's, aware.
        step: for which number of days before.
        lacking: the researchers who have not fetched every file.
        to_remind: those of them who have not been reminded for this step.
        tells_unit: the unit has not been told for this step.
    """

    project: Project
    unit: Unit
    deadline: datetime
    step: int
    lacking: Sequence[Researcher]
    to_remind: Sequence[Researcher]
    tells_unit: bool


@dataclass(frozen=True)
class UnitDays:
    """When a unit's researchers are reminded; ``own``: the unit has said so itself."""

    unit: Unit
    days: tuple[int, ...]
    own: bool


async def due(work: Work) -> list[Ending]:
    """Return what the next run would write letters about, by unit and deadline.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    return await _due(work)


async def begin(work: Work) -> None:
    """Let a job write the letters that are due now, and not wait for its hour.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    await queue.enqueue_unless_active(work, REMIND, EVERYTHING)
    trail.record(work, "reminders.begin", EVERYTHING)


async def listing(work: Work) -> list[UnitDays]:
    """Return when each unit's researchers are reminded, by public ID."""
    found = await work.session.scalars(select(Unit).order_by(Unit.columns().public_id))
    return [_days_of(work.services.settings, unit) for unit in found]


def of_unit(work: Work, unit: Unit) -> UnitDays:
    """Return when a unit's researchers are reminded."""
    return _days_of(work.services.settings, unit)


async def configure(work: Work, unit_public_id: str, days: str | None) -> UnitDays:
    """Say when a unit's researchers are reminded.

    Args:
        work: the transaction.
        unit_public_id: whose.
        days: such as ``14,7,1``; empty: never; ``None``: as the settings say.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit.
        InvalidInput: these are no days.
    """
    require(work.actor, Action.OPERATE)
    found = await work.session.scalars(
        select(Unit).where(Unit.columns().public_id == unit_public_id).with_for_update()
    )
    unit = found.one_or_none()
    if unit is None:
        raise NotFound(f"There is no unit '{unit_public_id}'. See: ddsctl unit ls")
    unit.reminder_days = None if days is None else steps.write(steps.parse(days))
    trail.record(work, "reminders.configure", unit.public_id, days=unit.reminder_days)
    return _days_of(work.services.settings, unit)


async def remind(services: Services, _subject: str) -> None:
    """Handle the job :data:`REMIND`: write the letters that are due, one transaction per unit."""
    async with reading(services, System()) as work:
        units = {ending.unit.id for ending in await _due(work)}
    for unit_id in sorted(units):
        async with transaction(services, System()) as work:
            await _remind_unit(work, unit_id)


def scheduled(settings: Settings) -> ScheduledJob:
    """Return when the job :data:`REMIND` comes by itself."""
    at = settings.reminders.time_of_day
    return ScheduledJob(REMIND, Cron(f"{at.minute} {at.hour} * * *"))


HANDLERS: Final[Mapping[str, Handler]] = {REMIND: remind, **reminder_letters.HANDLERS}


async def _due(work: Work, unit_id: int | None = None) -> list[Ending]:
    settings = work.services.settings
    endings = []
    for project, unit, deadline, set_at in await _with_deadlines(work, unit_id):
        step = steps.most_urgent(
            _days_of(settings, unit).days,
            today=_day(work.now, settings.reminders.time_of_day),
            set_on=set_at.date(),
            deadline_day=deadline.date(),
        )
        ending = None if step is None else await _ending(work, project, unit, deadline, step)
        if ending and (ending.to_remind or ending.tells_unit):
            endings.append(ending)
    return endings


async def _with_deadlines(work: Work, unit_id: int | None) -> Sequence[Any]:
    """Return the projects that end soon, with unit, deadline, and when it was set; none if that is long off."""
    projects, units, entries = Project.columns(), Unit.columns(), StatusEntry.columns()
    set_at = (
        select(entries.at)
        .where(entries.project_id == projects.id, entries.status == Status.AVAILABLE)
        .order_by(entries.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(Project, Unit, projects.deadline, set_at)
        .join(Unit, units.id == projects.unit_id)
        .where(
            projects.status == Status.AVAILABLE,
            projects.ending.is_(None),
            projects.deadline > work.now,
            projects.deadline < work.now + timedelta(days=steps.MOST_DAYS + 1),
            projects.file_count > 0,
            set_at.is_not(None),
        )
        .order_by(units.public_id, projects.deadline, projects.public_id)
    )
    if unit_id is not None:
        query = query.where(units.id == unit_id)
    return (await work.session.execute(query)).all()


async def _ending(
    work: Work, project: Project, unit: Unit, deadline: datetime, step: int
) -> Ending:
    researchers = await downloads.researchers(work, project.id)
    lacking = [one for one in researchers if one.fetched < project.file_count]
    reminders, summaries = Reminder.columns(), DeadlineSummary.columns()
    reminded = await work.session.scalars(
        select(reminders.user_id).where(
            reminders.project_id == project.id,
            reminders.deadline == deadline,
            reminders.step <= step,
        )
    )
    told = await work.session.scalars(
        select(summaries.id).where(
            summaries.project_id == project.id,
            summaries.deadline == deadline,
            summaries.step <= step,
        )
    )
    known = set(reminded)
    return Ending(
        project=project,
        unit=unit,
        deadline=deadline,
        step=step,
        lacking=lacking,
        to_remind=[one for one in lacking if one.user_id not in known],
        tells_unit=told.first() is None,
    )


async def _remind_unit(work: Work, unit_id: int) -> None:
    endings = await _due(work, unit_id)
    if not endings:
        return
    letters = 0
    for ending in endings:
        letters += sum([await _remind(work, ending, person) for person in ending.to_remind])
    told = await _tell_unit(work, [ending for ending in endings if ending.tells_unit])
    unit = endings[0].unit.public_id
    trail.record(work, "reminders.write", unit, letters=letters, projects_in_summary=told)


async def _remind(work: Work, ending: Ending, person: Researcher) -> bool:
    """Write to one researcher, unless somebody else does so now."""
    row = {"user_id": person.user_id, **_row(work, ending)}
    statement = insert_into(work.session, Reminder).values(row).on_conflict_do_nothing()
    won = await work.session.execute(statement.returning(Reminder.columns().id))
    number = won.scalar_one_or_none()
    if number is None:
        return False
    mail = await outbox.write(
        work,
        reminder_letters.REMINDER,
        person.email,
        sent_by=reminder_letters.SEND_REMINDER,
        told=reminder_letters.reminder_facts(work, ending.project, ending.unit, person),
    )
    await work.session.execute(
        update(Reminder).where(Reminder.columns().id == number).values(mail_id=mail.id)
    )
    return True


async def _tell_unit(work: Work, endings: Sequence[Ending]) -> int:
    """Write one letter to the unit about those of these projects that nobody else tells of; return how many."""
    numbers, projects = [], []
    for ending in endings:
        statement = insert_into(work.session, DeadlineSummary).values(_row(work, ending))
        won = await work.session.execute(
            statement.on_conflict_do_nothing().returning(DeadlineSummary.columns().id)
        )
        number = won.scalar_one_or_none()
        if number is not None:
            numbers.append(number)
            projects.append(ending.project)
    if not projects:
        return 0
    unit = endings[0].unit
    mail = await outbox.write(
        work,
        reminder_letters.SUMMARY,
        unit.contact_email,
        sent_by=reminder_letters.SEND_SUMMARY,
        told=await reminder_letters.summary_facts(work, projects, unit),
    )
    await work.session.execute(
        update(DeadlineSummary)
        .where(DeadlineSummary.columns().id.in_(numbers))
        .values(mail_id=mail.id)
    )
    return len(projects)


def _row(work: Work, ending: Ending) -> dict[str, Any]:
    return {
        "project_id": ending.project.id,
        "deadline": ending.deadline,
        "step": ending.step,
        "at": work.now,
    }


def _days_of(settings: Settings, unit: Unit) -> UnitDays:
    if unit.reminder_days is None:
        return UnitDays(unit, tuple(settings.reminders.days), own=False)
    return UnitDays(unit, steps.parse(unit.reminder_days), own=True)


def _day(now: datetime, at: time) -> date:
    """Return the day it is for reminders: it begins at their hour, so that a restart at night writes none early."""
    begins = timedelta(hours=at.hour, minutes=at.minute)
    return (now.astimezone(UTC) - begins).date()
