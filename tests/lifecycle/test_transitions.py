"""The life of a project in the domain: any sequence of changes against a model of it, and who may make them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from ddsd.access import System
from ddsd.errors import Conflict, WrongStatus
from ddsd.lifecycle import transitions
from ddsd.projects.status import Status, deadline_after
from ddsd.projects.tables import Project, StatusEntry
from ddsd.work import Services, Work, transaction
from tests.builders import SettableClock, a_project, a_unit


@dataclass
class Model:
    """What the wire contract, section 6, says of a project, in the fewest words."""

    now: Status = Status.IN_PROGRESS
    deadline: datetime | None = None
    expiries: int = 0
    entries: list[Status] = field(default_factory=list)

    def enter(self, verb: str, moment: datetime, days: int) -> bool:
        """Change as the contract says; say whether it may be."""
        match verb, self.now:
            case "release", Status.IN_PROGRESS:
                if self.deadline is None or self.deadline <= moment:
                    self.deadline = deadline_after(moment, days)
                self.now = Status.AVAILABLE
            case "release", Status.EXPIRED if self.expiries < 3:
                self.now, self.deadline = Status.AVAILABLE, deadline_after(moment, days)
            case "retract", Status.AVAILABLE:
                self.now = Status.IN_PROGRESS
            case "expire", Status.AVAILABLE:
                self.now, self.deadline = Status.EXPIRED, deadline_after(moment, days)
                self.expiries += 1
            case _:
                return False
        self.entries.append(self.now)
        return True


async def change(work: Work, project: Project, verb: str, days: int) -> None:
    match verb:
        case "release":
            await transitions.release(work, project, days=days, send_email=False)
        case "retract":
            await transitions.retract(work, project)
        case _:
            await transitions.expire(work, project, days=days)


async def a_project_row(services: Services) -> int:
    async with transaction(services, System()) as work:
        return (await a_project(work.session, await a_unit(work.session))).id


# Drawn once from all sequences of these verbs; together they take every edge, refused ones included.
WALKS = [
    "release retract release expire release expire release expire release retract",
    "retract expire release release retract retract release expire expire retract release",
    "expire release expire release retract release expire release expire release expire",
    "release expire retract release retract expire release expire release expire release",
]


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("pause", [timedelta(0), timedelta(days=4)])
async def test_any_walk_ends_where_the_model_does(
    services: Services, clock: SettableClock, walk: str, pause: timedelta
) -> None:
    project_id, model = await a_project_row(services), Model()
    for days, verb in enumerate(walk.split(), start=1):
        clock.set(clock.now() + pause)
        may = model.enter(verb, clock.now(), days)
        try:
            async with transaction(services, System()) as work:
                await change(work, await work.session.get_one(Project, project_id), verb, days)
        except (WrongStatus, Conflict):
            assert not may, verb
        else:
            assert may, verb
        async with transaction(services, System()) as work:
            project = await work.session.get_one(Project, project_id)
            assert (project.status, project.deadline) == (model.now, model.deadline)
            assert project.times_expired == model.expiries
            found = await work.session.execute(
                select(StatusEntry.columns().status).order_by(StatusEntry.columns().id)
            )
            assert list(found.scalars()) == model.entries


async def test_the_first_release_is_remembered(services: Services, clock: SettableClock) -> None:
    project_id, first = await a_project_row(services), clock.now()
    for verb in ("release", "retract", "release", "expire", "release"):
        async with transaction(services, System()) as work:
            await change(work, await work.session.get_one(Project, project_id), verb, 5)
        clock.advance(hours=1)
    async with transaction(services, System()) as work:
        project = await work.session.get_one(Project, project_id)
        assert project.released_at == first
        assert project.updated_at == clock.now() - timedelta(hours=1)
        assert project.ever_available
