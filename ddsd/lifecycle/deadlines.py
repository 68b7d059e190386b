"""What deadlines do by themselves: expire, archive, and at last remove, a step a night for each project.

Invariant: each step is decided anew in its own transaction, so that a night may be interrupted, repeated, or come
late. A step sets a deadline of its own from now on: however late the night, nobody loses more than one step by it.
Nothing that removes data is done while letters about the project have not been delivered, nor in the first night
after the clock has leapt ahead: there is a day to set it right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never

import structlog
from sqlalchemy import Select, and_, func, or_, select
from sqlmodel import col

from ddsd.access import System
from ddsd.errors import Busy, WrongStatus
from ddsd.jobs import queue
from ddsd.jobs.schedule import EVERYTHING
from ddsd.jobs.tables import Job, JobState
from ddsd.lifecycle import endings, transitions, undo
from ddsd.mail import outbox
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit
from ddsd.work import Services, Work, reading, transaction

FOLLOW_DEADLINES: Final = "follow_deadlines"
_log = structlog.get_logger()
_AT_ONCE: Final = 500
_HELD_LETTER: Final = "deadlines_held"
_BETWEEN_LETTERS: Final = timedelta(days=7)
_MOST_TOLD: Final = 50
_NIGHT_AT_LEAST: Final = timedelta(hours=12)
_NIGHTS_MISSED: Final = timedelta(days=3)


class Step(StrEnum):
    """What a project is due for."""

    FINISH = "finish"
    """An end was asked for, and no job works on it any more."""
    PURGE = "purge"
    """The undo window is over: the data goes."""
    ARCHIVE = "archive"
    """The data goes at once: the unit has no undo window."""
    HIDE = "hide"
    """Archived, but kept for the undo window."""
    EXPIRE = "expire"


_HELD_BY_MAIL: Final = frozenset({Step.HIDE, Step.ARCHIVE, Step.PURGE})


@dataclass(frozen=True)
class Due:
    """A project that is due, since when, and what holds it back (empty: nothing)."""

    public_id: str
    unit: str
    status: Status
    step: Step
    since: datetime
    held: str = ""


async def due(work: Work) -> Sequence[Due]:
    """Return what is due now: the oldest first within each step."""
    found = await work.session.execute(_candidates(work.now))
    listed = [
        _due(project, unit, step)
        for project, unit in found
        if (step := _step(project, unit, work.now)) is not None
    ]
    listed.sort(key=lambda one: (list(Step).index(one.step), one.since, one.public_id))
    return await _with_what_holds_them(work, listed)


async def run_now(work: Work) -> Job | None:
    """Enqueue what the night does; ``None`` if it is at it already."""
    return await queue.enqueue_unless_active(work, FOLLOW_DEADLINES, EVERYTHING)


async def held(work: Work) -> Sequence[Due]:
    """Return what is due and not done, as letters about it have not been delivered."""
    return [one for one in await due(work) if one.held]


async def follow_deadlines(services: Services, _subject: str) -> None:
    """Handle the job :data:`FOLLOW_DEADLINES`: take the step that each project is due for; tell what is held back."""
    async with reading(services, System()) as work:
        found = await due(work)
    await _tell_the_operator(services, [one for one in found if one.held])
    for one in found:
        if one.held:
            _log.warning("lifecycle.held", project=one.public_id, step=one.step, why=one.held)
            continue
        try:
            await take_step(services, one)
        except (Busy, WrongStatus) as changed:
            _log.info("lifecycle.passed_over", project=one.public_id, why=changed.message)


async def _tell_the_operator(services: Services, waiting: Sequence[Due]) -> None:
    """Mail the service's contact what waits for letters to be delivered, once a week as long as something does."""
    if not waiting:
        return
    async with transaction(services, System()) as work:
        if await outbox.wrote_since(work, _HELD_LETTER, work.now - _BETWEEN_LETTERS):
            return
        await outbox.write(
            work,
            _HELD_LETTER,
            services.settings.instance.contact,
            projects=[
                {"project": one.public_id, "since": f"{one.since:%Y-%m-%d}", "why": one.held}
                for one in waiting[:_MOST_TOLD]
            ],
            more=str(max(0, len(waiting) - _MOST_TOLD)),
        )


async def take_step(services: Services, one: Due) -> None:
    """Do what the project was due for when it was looked at, if it still is.

    Raises:
        Busy, WrongStatus: somebody was quicker.
    """
    async with transaction(services, System()) as work:
        project = await endings.locked(work, one.public_id)
        unit = await work.session.get_one(Unit, project.unit_id)
        if _step(project, unit, work.now) is not one.step:
            return
        match one.step:
            case Step.FINISH:
                await queue.enqueue_unless_active(work, endings.END_PROJECT, one.public_id)
            case Step.PURGE:
                await endings.purge(work, project)
            case Step.ARCHIVE:
                await endings.archive(work, project)
            case Step.HIDE:
                await undo.hide(work, project)
            case Step.EXPIRE:
                await transitions.expire(work, project, days=None)
            case _:
                assert_never(one.step)


def _candidates(now: datetime) -> Select[Project, Unit]:
    project, job = Project.columns(), Job.columns()
    at_work = select(job.id).where(
        job.kind == endings.END_PROJECT,
        job.subject == project.public_id,
        job.state.in_((JobState.QUEUED, JobState.RUNNING)),
    )
    return (
        select(Project, Unit)
        .join(Unit, Unit.columns().id == project.unit_id)
        .where(
            or_(
                and_(
                    project.status.in_((Status.AVAILABLE, Status.EXPIRED)),
                    project.deadline <= now,
                ),
                project.purge_after <= now,
                project.ending.is_not(None),
            ),
            ~at_work.exists(),
        )
    )


def _step(project: Project, unit: Unit, now: datetime) -> Step | None:
    if project.ending is not None:
        return Step.FINISH
    if project.purge_after is not None:
        return Step.PURGE if project.purge_after <= now else None
    if project.deadline is None or project.deadline > now:
        return None
    if project.status is Status.EXPIRED:
        return Step.HIDE if unit.undo_days else Step.ARCHIVE
    return Step.EXPIRE if project.status is Status.AVAILABLE else None


def _due(project: Project, unit: Unit, step: Step) -> Due:
    since = project.purge_after or project.deadline or project.updated_at
    return Due(project.public_id, unit.public_id, project.status, step, since)


async def _with_what_holds_them(work: Work, listed: Sequence[Due]) -> Sequence[Due]:
    waiting = [one.public_id for one in listed if one.step in _HELD_BY_MAIL]
    letters: dict[str, int] = {}
    for start in range(0, len(waiting), _AT_ONCE):
        letters |= await outbox.undelivered(work, waiting[start : start + _AT_ONCE])
    leapt = await _clock_leapt(work) if any(one.step is Step.PURGE for one in listed) else ""
    return [replace(one, held=_why_held(one, letters, leapt)) for one in listed]


def _why_held(one: Due, letters: Mapping[str, int], leapt: str) -> str:
    if one.step in _HELD_BY_MAIL and one.public_id in letters:
        return _why(letters[one.public_id])
    return leapt if one.step is Step.PURGE else ""


async def _clock_leapt(work: Work) -> str:
    """Say since when no night has been seen, if that is long ago: this machine was off, or its clock is wrong."""
    ended = col(Job.finished_at)
    last = await work.session.scalar(
        select(func.max(ended)).where(
            col(Job.kind) == FOLLOW_DEADLINES,
            col(Job.state) == JobState.DONE,
            ended <= work.now - _NIGHT_AT_LEAST,
        )
    )
    if last is None or last >= work.now - _NIGHTS_MISSED:
        return ""
    return f"no night was seen since {last:%Y-%m-%d}: done in the next one, if the clock is right"


def _why(letters: int) -> str:
    return (
        f"{letters} letter{'s' if letters > 1 else ''} about it not delivered: see ddsctl mail ls"
    )
