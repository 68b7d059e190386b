"""What deadlines do by themselves: in order, once, late if need be, and never behind people's backs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from ddsd.access import Operator, Role, System
from ddsd.errors import WrongStatus
from ddsd.jobs import queue
from ddsd.jobs.schedule import EVERYTHING
from ddsd.jobs.tables import JobState
from ddsd.lifecycle import deadlines, undo, verbs
from ddsd.lifecycle.deadlines import Due, Step
from ddsd.mail import outbox
from ddsd.mail.tables import Mail, MailState
from ddsd.projects.status import Status, Verb, deadline_after
from ddsd.projects.tables import Project
from ddsd.work import Services, reading, transaction
from tests.builders import NOON, SettableClock, a_unit, a_user
from tests.lifecycle.life import a_life, entries, fill, find, member, night

P, V, E, A, D = (
    Status.IN_PROGRESS,
    Status.AVAILABLE,
    Status.EXPIRED,
    Status.ARCHIVED,
    Status.DELETED,
)
PASSED = NOON - timedelta(hours=12)


async def a_project_in(
    services: Services, status: Status, *, undo_days: int = 7, deadline: datetime = PASSED
) -> int:
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session, undo_days=undo_days, days_in_expired=20)
        project_id = (await a_life(work, status, unit, deadline=deadline)).id
    await fill(services, project_id)
    return project_id


async def due(services: Services) -> Sequence[Due]:
    async with reading(services, System()) as work:
        return await deadlines.due(work)


async def letters(services: Services, project_id: int, state: MailState) -> None:
    """Let all letters about the project be in a state."""
    project = await find(services, project_id)
    table = Mail.columns()
    async with transaction(services, System()) as work:
        await work.session.execute(
            update(Mail).where(table.about == project.public_id).values(state=state)
        )


async def a_letter(
    services: Services, project_id: int, state: MailState, to: str = "r@x.se"
) -> None:
    project = await find(services, project_id)
    async with transaction(services, System()) as work:
        mail = await outbox.write(
            work,
            "project_released",
            to,
            title="",
            public_id=project.public_id,
            unit="",
            unit_contact="",
            deadline="",
        )
        mail.state = state


@pytest.mark.parametrize(
    ("status", "undo_days", "step"),
    [(V, 7, Step.EXPIRE), (E, 7, Step.HIDE), (E, 0, Step.ARCHIVE)],
)
async def test_what_a_passed_deadline_makes_due(
    services: Services, status: Status, undo_days: int, step: Step
) -> None:
    project_id = await a_project_in(services, status, undo_days=undo_days)
    later = NOON + timedelta(seconds=1)
    await a_project_in(services, status, undo_days=undo_days, deadline=later)
    (one,) = await due(services)
    project = await find(services, project_id)
    assert (one.public_id, one.step, one.since, one.held) == (project.public_id, step, PASSED, "")


@pytest.mark.parametrize("status", [P, A, D])
async def test_nothing_else_is_due_whatever_its_deadline(
    services: Services, status: Status
) -> None:
    await a_project_in(services, status)
    assert await due(services) == []


async def test_looking_changes_nothing(services: Services) -> None:
    project_id = await a_project_in(services, V)
    await due(services)
    assert (await find(services, project_id)).status is V


async def test_a_night_expires_with_the_units_own_days(services: Services) -> None:
    project_id = await a_project_in(services, V)
    await night(services)
    project = await find(services, project_id)
    assert (project.status, project.deadline) == (E, deadline_after(NOON, 20))
    assert project.times_expired == 1
    assert await night(services) == []
    assert await entries(services, project_id) == [V, E]


async def test_archived_by_deadline_is_hidden_and_the_unit_is_told(services: Services) -> None:
    project_id = await a_project_in(services, E)
    await night(services)
    project = await find(services, project_id)
    assert (project.status, project.active, project.deadline) == (A, False, None)
    assert project.purge_after == NOON + timedelta(days=7)
    assert (project.file_count, project.public_key) == (3, b"k" * 32)
    assert await services.store.bucket_exists(project.bucket)
    async with reading(services, System()) as work:
        mail = (await work.session.execute(select(Mail))).scalar_one()
    assert (mail.kind, mail.about) == ("project_archived", project.public_id)


async def test_it_is_purged_when_the_window_is_over_and_not_before(
    services: Services, clock: SettableClock
) -> None:
    project_id = await a_project_in(services, E)
    await night(services)
    clock.set(NOON + timedelta(days=7, seconds=-1))
    assert await night(services) == []
    clock.advance(seconds=1)
    public_id = (await find(services, project_id)).public_id
    assert await night(services) == [f"end_project {public_id}"]
    project = await find(services, project_id)
    assert (project.status, project.purge_after, project.file_count) == (A, None, 0)
    assert not await services.store.bucket_exists(project.bucket)
    assert await entries(services, project_id) == [E, A]
    assert project.title == "A project"


async def a_night_ended(services: Services, at: datetime) -> None:
    async with transaction(services, System()) as work:
        job = await queue.enqueue(work, deadlines.FOLLOW_DEADLINES, EVERYTHING)
        job.state, job.finished_at = JobState.DONE, at


async def test_nothing_is_removed_in_the_first_night_after_the_clock_has_leapt(
    services: Services, clock: SettableClock
) -> None:
    project_id = await a_project_in(services, E)
    await night(services)
    await a_night_ended(services, clock.now())
    public_id = (await find(services, project_id)).public_id
    clock.advance(days=400)
    assert await night(services) == []
    await a_night_ended(services, clock.now())
    (waits,) = await due(services)
    assert (waits.step, waits.held[:26]) == (Step.PURGE, "no night was seen since 20")
    assert (await find(services, project_id)).file_count == 3
    clock.advance(hours=11)
    assert await night(services) == []
    clock.advance(hours=13)
    assert await night(services) == [f"end_project {public_id}"]


async def test_a_clock_that_leapt_and_was_set_right_has_removed_nothing(
    services: Services, clock: SettableClock
) -> None:
    project_id = await a_project_in(services, E)
    await night(services)
    await a_night_ended(services, clock.now())
    right = clock.now()
    clock.advance(days=400)
    await night(services)
    await a_night_ended(services, clock.now())
    clock.set(right + timedelta(days=1))
    assert await night(services) == []
    project = await find(services, project_id)
    assert (project.file_count, project.purge_after) == (3, NOON + timedelta(days=7))
    async with transaction(services, Operator(0, "root")) as work:
        row = await work.session.get_one(Project, project_id)
        await verbs.do(work, row, Verb.RESTORE)
    assert (await find(services, project_id)).status is E


async def test_nights_that_follow_each_other_remove_in_time(
    services: Services, clock: SettableClock
) -> None:
    project_id = await a_project_in(services, E)
    for _ in range(8):
        await night(services)
        await a_night_ended(services, clock.now())
        clock.advance(days=1)
    assert (await find(services, project_id)).file_count == 0


async def test_without_an_undo_window_the_data_goes_at_once(services: Services) -> None:
    project_id = await a_project_in(services, E, undo_days=0)
    await night(services)
    project = await find(services, project_id)
    assert (project.status, project.file_count, project.purge_after) == (A, 0, None)


class TestRestoring:
    """What the deadline archived is taken back."""

    async def test_by_a_unit_admin(self, services: Services) -> None:
        project_id = await a_project_in(services, E)
        await night(services)
        async with transaction(services, System()) as work:
            project = await work.session.get_one(Project, project_id)
            project.times_expired = 3
            user = await a_user(work.session)
        async with transaction(services, member(user, Role.UNIT_ADMIN, project.unit_id)) as work:
            await undo.restore(work, await work.session.get_one(Project, project_id))
        project = await find(services, project_id)
        assert (project.status, project.active, project.purge_after) == (E, True, None)
        assert (project.deadline, project.times_expired) == (deadline_after(NOON, 20), 3)
        assert (project.file_count, project.updated_by) == (3, user.id)
        assert await entries(services, project_id) == [E, A, E]
        assert await night(services) == []

    async def test_not_when_the_data_is_going_or_gone(
        self, services: Services, clock: SettableClock
    ) -> None:
        project_id = await a_project_in(services, E)
        await night(services)
        clock.advance(days=8)
        await night(services)
        async with transaction(services, System()) as work:
            with pytest.raises(WrongStatus, match="its data has been removed"):
                await undo.restore(work, await work.session.get_one(Project, project_id))


class TestMailOutage:
    """Nothing is removed while people have not been told."""

    @pytest.mark.parametrize("state", [MailState.QUEUED, MailState.FAILED])
    @pytest.mark.parametrize("undo_days", [0, 7])
    async def test_holds_the_archiving_back(
        self, services: Services, state: MailState, undo_days: int
    ) -> None:
        project_id = await a_project_in(services, E, undo_days=undo_days)
        await a_letter(services, project_id, state)
        assert await night(services) == []
        (one,) = await due(services)
        assert one.held == "1 letter about it not delivered: see ddsctl mail ls"
        assert (await find(services, project_id)).status is E
        await letters(services, project_id, MailState.SENT)
        await night(services)
        assert (await find(services, project_id)).status is A

    async def test_holds_the_removal_back(self, services: Services, clock: SettableClock) -> None:
        project_id = await a_project_in(services, E)
        await night(services)
        await letters(services, project_id, MailState.FAILED)
        clock.advance(days=400)
        async with transaction(services, System()) as work:
            await outbox.forget_old(work)
        assert await night(services) == []
        assert (await find(services, project_id)).file_count == 3
        async with transaction(services, System()) as work:
            await verbs.do(work, await work.session.get_one(Project, project_id), Verb.PURGE)
        await night(services)
        assert (await find(services, project_id)).file_count == 0

    async def test_is_told_to_the_operator_once_a_week(
        self, services: Services, clock: SettableClock
    ) -> None:
        project_id = await a_project_in(services, E)
        await a_letter(services, project_id, MailState.FAILED)
        for days in (0, 1, 5, 1):
            clock.advance(days=days)
            await night(services)
        table = Mail.columns()
        async with reading(services, Operator(0, "root")) as work:
            told = (
                await work.session.scalars(select(Mail).where(table.kind == "deadlines_held"))
            ).all()
            text = (await outbox.show(work, told[0].id)).text
        assert [one.recipient for one in told] == ["root@localhost"] * 2
        assert f"{(await find(services, project_id)).public_id}  due since" in text
        assert "1 letter about it not delivered" in text

    async def test_does_not_keep_a_project_from_expiring(self, services: Services) -> None:
        project_id = await a_project_in(services, V)
        await a_letter(services, project_id, MailState.QUEUED)
        await night(services)
        assert (await find(services, project_id)).status is E

    async def test_is_over_for_those_who_got_a_later_letter(self, services: Services) -> None:
        project_id = await a_project_in(services, E)
        await a_letter(services, project_id, MailState.FAILED, "one@x.se")
        await a_letter(services, project_id, MailState.SENT, "two@x.se")
        assert (await due(services))[0].held
        await a_letter(services, project_id, MailState.KEPT, "one@x.se")
        assert not (await due(services))[0].held

    async def test_about_another_project_is_no_matter(self, services: Services) -> None:
        project_id = await a_project_in(services, E)
        other = await a_project_in(services, P)
        await a_letter(services, other, MailState.FAILED)
        await night(services)
        assert (await find(services, project_id)).status is A


async def test_a_clock_set_forward_a_year_takes_each_step_once_and_in_order(
    services: Services, clock: SettableClock
) -> None:
    projects = [await a_project_in(services, V, deadline=NOON + timedelta(days=n)) for n in (1, 90)]
    expected = {0: (E, 3), 1: (E, 3), 21: (A, 3), 27: (A, 3), 28: (A, 0), 60: (A, 0)}
    clock.advance(days=365)
    start = clock.now()
    for day, (status, files) in expected.items():
        clock.set(start + timedelta(days=day))
        for _ in range(2):
            await night(services)
        for project_id in projects:
            project = await find(services, project_id)
            assert (project.status, project.file_count) == (status, files), day
    for project_id in projects:
        assert await entries(services, project_id) == [V, E, A]
    async with reading(services, System()) as work:
        assert len((await work.session.execute(select(Mail))).all()) == 2


async def test_nights_that_were_missed_are_caught_up_by_one(services: Services) -> None:
    projects = [await a_project_in(services, V) for _ in range(3)]
    projects.append(await a_project_in(services, E))
    await night(services)
    statuses = [(await find(services, one)).status for one in projects]
    assert statuses == [E, E, E, A]


async def test_what_somebody_was_quicker_with_is_left_alone(
    services: Services, clock: SettableClock
) -> None:
    project_id = await a_project_in(services, V)
    stale = (await due(services))[0]
    async with transaction(services, System()) as work:
        project = await work.session.get_one(Project, project_id)
        await verbs.do(work, project, Verb.EXTEND, days=5)
    await deadlines.take_step(services, stale)
    assert (await find(services, project_id)).status is V
