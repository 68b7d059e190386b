"""Running jobs, on both databases: one daemon and several, failures, stops and kills."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from ddsd.access import System
from ddsd.errors import StoreUnavailable
from ddsd.jobs import claims, queue
from ddsd.jobs.claims import pause_after
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.runner import Handler, JobRunner, Pace
from ddsd.jobs.tables import Job, JobState
from ddsd.settings import Instance, Settings
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.mail.builders import NewServices, let_pass, until

QUICK = Pace(poll_s=0.02, heartbeat_s=0.02)


class NewRunner(Protocol):
    """Starts a runner that is stopped when the test ends, if it was not before."""

    async def __call__(
        self,
        services: Services,
        handler: Handler,
        pace: Pace = QUICK,
        daemon: str = "here",
    ) -> JobRunner: ...


@pytest.fixture
async def new_runner(new_services: NewServices) -> AsyncIterator[NewRunner]:
    async with AsyncExitStack() as at_the_end:

        async def make(
            services: Services, handler: Handler, pace: Pace = QUICK, daemon: str = "here"
        ) -> JobRunner:
            runner = JobRunner(services, {"archive": handler}, pace=pace, daemon=daemon)
            await runner.start()
            at_the_end.push_async_callback(runner.stop)
            return runner

        yield make


class Gate:
    """A handler that counts its runs, and waits in each until it is opened.

    Interrupted, it ends only after ``clings_until``, if that is given.
    """

    def __init__(self, clings_until: asyncio.Event | None = None) -> None:
        self._clings_until = clings_until
        self.runs: list[str] = []
        self.entered = asyncio.Event()
        self.interrupted = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, _services: Services, subject: str) -> None:
        self.runs.append(subject)
        self.entered.set()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.interrupted.set()
            if self._clings_until is not None:
                await self._clings_until.wait()
            raise


class Record:
    """A handler that notes what it ran."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    async def __call__(self, _services: Services, subject: str) -> None:
        self.runs.append(subject)
        await asyncio.sleep(0)


async def enqueue(services: Services, *subjects: str, kind: str = "archive") -> None:
    async with transaction(services, System()) as work:
        for subject in subjects or ("unit00001",):
            await queue.enqueue(work, kind, subject)


async def job(services: Services, subject: str = "unit00001") -> Job:
    async with reading(services, System()) as work:
        newest = select(Job).where(Job.subject == subject).order_by(col(Job.id).desc()).limit(1)
        return (await work.session.scalars(newest)).one()


def reached(
    services: Services, state: JobState, attempts: int = 1
) -> Callable[[], Awaitable[bool]]:
    async def so() -> bool:
        row = await job(services)
        return row.state is state and row.attempts == attempts

    return so


async def claim_as(services: Services, claimed_by: str) -> claims.Claim:
    """Claim the job as a daemon of that name would, and do nothing more: it is dead or stalled."""
    async with transaction(services, System()) as work:
        claim = await claims.claim(work, (await job(services)).id, claimed_by)
    assert claim is not None
    return claim


async def test_a_job_that_was_run_is_done(services: Services, new_runner: NewRunner) -> None:
    await enqueue(services)
    handler = Record()
    await new_runner(services, handler)
    await until(reached(services, JobState.DONE))
    assert handler.runs == ["unit00001"]
    assert (await job(services)).finished_at == services.clock.now()


async def test_a_job_is_not_run_before_its_time(
    services: Services, new_runner: NewRunner, clock: SettableClock
) -> None:
    async with transaction(services, System()) as work:
        later = work.now + timedelta(hours=1)
        await queue.enqueue(work, "archive", "unit00001", run_after=later)
    await enqueue(services, "unit00002")
    handler = Record()
    await new_runner(services, handler)
    await until(lambda: is_done(services, "unit00002"))
    assert handler.runs == ["unit00002"]
    let_pass(clock, timedelta(hours=1))
    await until(reached(services, JobState.DONE))


async def is_done(services: Services, subject: str) -> bool:
    return (await job(services, subject)).state is JobState.DONE


async def test_a_kind_nobody_here_handles_is_left_for_others(
    services: Services, new_runner: NewRunner
) -> None:
    await enqueue(services, "unit00009", kind="of_tomorrow")
    await enqueue(services)
    await new_runner(services, Record())
    await until(reached(services, JobState.DONE))
    assert (await job(services, "unit00009")).state is JobState.QUEUED


async def test_several_daemons_run_no_job_twice(
    new_services: NewServices, new_runner: NewRunner
) -> None:
    daemons = [await new_services() for _ in range(3)]
    subjects = [f"unit{number:05}" for number in range(30)]
    await enqueue(daemons[0], *subjects)
    handler = Record()
    for number, daemon in enumerate(daemons):
        await new_runner(daemon, handler, daemon=f"daemon{number}")

    async def all_done() -> bool:
        return all([await is_done(daemons[0], subject) for subject in subjects])

    await until(all_done)
    assert sorted(handler.runs) == subjects


async def test_no_more_jobs_run_at_once_than_allowed(
    services: Services, new_runner: NewRunner
) -> None:
    await enqueue(services, *(f"unit{number}" for number in range(5)))
    gate = Gate()
    runner = await new_runner(services, gate, Pace(poll_s=0.02, at_a_time=2))
    await asyncio.wait_for(gate.entered.wait(), 30)
    for _ in range(5):
        runner.wake()
        await asyncio.sleep(0.02)
    assert len(gate.runs) == 2
    gate.opened.set()
    await until(lambda: is_done(services, "unit4"))


@pytest.mark.parametrize(
    ("attempt", "minutes"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (1000, 60)]
)
def test_pauses_double_from_a_minute_to_an_hour(attempt: int, minutes: int) -> None:
    assert pause_after(attempt) == timedelta(minutes=minutes)


async def test_a_failure_is_tried_again_after_a_pause_that_doubles(
    services: Services, new_runner: NewRunner, clock: SettableClock
) -> None:
    async def fail(_services: Services, _subject: str) -> None:
        raise StoreUnavailable("The store is away.")

    await enqueue(services)
    await new_runner(services, fail)
    for attempt, pause in enumerate([timedelta(minutes=1), timedelta(minutes=2)], start=1):
        await until(reached(services, JobState.QUEUED, attempt))
        waiting = await job(services)
        assert waiting.run_after == clock.now() + pause
        assert waiting.last_error == "The store is away."
        let_pass(clock, pause)
    await until(reached(services, JobState.QUEUED, 3))


async def test_a_job_that_succeeds_at_last_has_no_error_left(
    services: Services, new_runner: NewRunner, clock: SettableClock
) -> None:
    async def succeed_at_second(_services: Services, _subject: str) -> None:
        if (await job(services)).attempts == 1:
            raise ValueError("odd")

    await enqueue(services)
    await new_runner(services, succeed_at_second)
    await until(reached(services, JobState.QUEUED))
    assert (await job(services)).last_error == "ValueError: odd"
    let_pass(clock, timedelta(minutes=1))
    await until(reached(services, JobState.DONE, 2))
    assert (await job(services)).last_error == ""


async def test_a_job_fails_for_good_after_its_kinds_number_of_tries(
    services: Services, new_runner: NewRunner, clock: SettableClock
) -> None:
    async def fail(_services: Services, _subject: str) -> None:
        raise ValueError("always")

    await enqueue(services)
    await new_runner(services, fail, Pace(poll_s=0.02, attempts_of={"archive": 2}))
    await until(reached(services, JobState.QUEUED))
    let_pass(clock, timedelta(minutes=1))
    await until(reached(services, JobState.FAILED, 2))
    assert (await job(services)).last_error == "ValueError: always"


async def test_a_job_that_is_given_up_fails_at_once(
    services: Services, new_runner: NewRunner
) -> None:
    async def give_up(_services: Services, _subject: str) -> None:
        raise GiveUp("There is no such bucket.")

    await enqueue(services)
    await new_runner(services, give_up)
    await until(reached(services, JobState.FAILED))
    assert (await job(services)).last_error == "There is no such bucket."


async def test_a_handler_that_cancels_itself_is_not_run_in_a_tight_circle(
    services: Services, new_runner: NewRunner, clock: SettableClock
) -> None:
    async def cancel(_services: Services, _subject: str) -> None:
        raise asyncio.CancelledError

    await enqueue(services)
    await new_runner(services, cancel)
    await until(reached(services, JobState.QUEUED))
    assert (await job(services)).run_after == clock.now() + timedelta(minutes=1)


async def test_a_stop_lets_a_running_job_end(services: Services, new_runner: NewRunner) -> None:
    await enqueue(services)
    gate = Gate()
    runner = await new_runner(services, gate)
    await asyncio.wait_for(gate.entered.wait(), 30)
    stopping = asyncio.create_task(runner.stop())
    await asyncio.sleep(0)
    gate.opened.set()
    await stopping
    assert (await job(services)).state is JobState.DONE


async def test_a_stop_hands_back_what_does_not_end_in_time(
    services: Services, new_runner: NewRunner
) -> None:
    await enqueue(services)
    gate = Gate()
    runner = await new_runner(services, gate, Pace(stop_within_s=0.05))
    await asyncio.wait_for(gate.entered.wait(), 30)
    await runner.stop()
    handed_back = await job(services)
    assert gate.interrupted.is_set()
    assert (handed_back.state, handed_back.attempts) == (JobState.QUEUED, 0)
    handler = Record()
    await new_runner(services, handler)
    await until(reached(services, JobState.DONE))


async def test_a_stopped_runner_claims_nothing_more(
    services: Services, new_runner: NewRunner
) -> None:
    handler = Record()
    runner = await new_runner(services, handler)
    await runner.stop()
    await enqueue(services)
    runner.wake()
    await asyncio.sleep(0.1)
    assert (await job(services)).state is JobState.QUEUED


async def test_what_this_daemons_earlier_life_left_is_run_at_once(
    services: Services, new_runner: NewRunner
) -> None:
    await enqueue(services)
    await claim_as(services, "here/earlier")
    handler = Record()
    await new_runner(services, handler)
    await until(reached(services, JobState.DONE, 2))
    assert handler.runs == ["unit00001"]


@pytest.mark.parametrize(("ours", "name"), [("here", "here2"), ("her_", "here"), ("%", "here")])
async def test_another_daemons_job_is_taken_over_only_when_its_heart_stopped(
    services: Services, new_runner: NewRunner, clock: SettableClock, ours: str, name: str
) -> None:
    await enqueue(services)
    await claim_as(services, f"{name}/1")
    pace = Pace(poll_s=0.02, heartbeat_s=0.02, dead_after=timedelta(seconds=0.2))
    await enqueue(services, "unit00002")
    await new_runner(services, Record(), pace, ours)
    await until(lambda: is_done(services, "unit00002"))
    await asyncio.sleep(0.5)  # more than one look for the dead, by the loop's time
    assert (await job(services)).claimed_by == f"{name}/1"
    let_pass(clock, timedelta(seconds=1))
    await until(reached(services, JobState.DONE, 2))


async def test_a_running_job_shows_signs_of_life(
    services: Services, new_runner: NewRunner, clock: SettableClock
) -> None:
    await enqueue(services)
    gate = Gate()
    await new_runner(services, gate)
    await asyncio.wait_for(gate.entered.wait(), 30)
    let_pass(clock, timedelta(seconds=90))

    async def renewed() -> bool:
        return (await job(services)).alive_at == clock.now()

    await until(renewed)
    gate.opened.set()
    await until(reached(services, JobState.DONE))


async def test_a_stalled_daemon_cannot_end_what_was_taken_over(
    services: Services, new_runner: NewRunner
) -> None:
    await enqueue(services)
    stalled = await claim_as(services, "here/earlier")
    gate = Gate()
    await new_runner(services, gate)
    await asyncio.wait_for(gate.entered.wait(), 30)
    async with transaction(services, System()) as work:
        answers = [
            await claims.renew(work, stalled),
            await claims.finish(work, stalled),
            await claims.fail(work, stalled, "late"),
            await claims.put_off(work, stalled, "late"),
            await claims.hand_back(work, stalled),
        ]
    assert answers == [False] * 5
    assert (await job(services)).state is JobState.RUNNING
    gate.opened.set()
    await until(reached(services, JobState.DONE, 2))


async def test_a_handler_whose_job_was_taken_over_is_interrupted(
    new_services: NewServices, new_runner: NewRunner
) -> None:
    """The first runner is abandoned, not stopped: its next life takes the job from it."""
    services = await new_services()
    await enqueue(services)
    next_life = Gate()
    abandoned = Gate(clings_until=next_life.entered)
    # One at a time: it is busy, and so leaves what is taken from it to its next life.
    await new_runner(services, abandoned, replace(QUICK, at_a_time=1))
    await asyncio.wait_for(abandoned.entered.wait(), 30)
    await new_runner(await new_services(), next_life)
    await asyncio.wait_for(next_life.entered.wait(), 30)
    await asyncio.wait_for(abandoned.interrupted.wait(), 30)
    assert (await job(services)).state is JobState.RUNNING
    next_life.opened.set()
    await until(reached(services, JobState.DONE, 2))
    assert (abandoned.runs, next_life.runs) == (["unit00001"], ["unit00001"])


async def test_a_job_that_kills_its_daemon_waits_longer_each_time_and_fails_in_the_end(
    services: Services, new_runner: NewRunner, clock: SettableClock
) -> None:
    await enqueue(services)
    pace = Pace(attempts=3)
    for life, pause in enumerate([timedelta(0), timedelta(minutes=1)], start=1):
        await claim_as(services, f"here/{life}")
        runner = JobRunner(services, {}, pace=pace, daemon="here")
        await runner.start()
        await runner.stop()
        assert (await job(services)).run_after == clock.now() + pause
    await claim_as(services, "here/3")
    await new_runner(services, Record(), pace)
    failed = await job(services)
    assert (failed.state, failed.attempts) == (JobState.FAILED, 3)
    assert "The daemon stopped" in failed.last_error


async def test_a_job_of_a_killed_process_is_run_by_the_next(
    services: Services, new_runner: NewRunner, database_url: str
) -> None:
    async with transaction(services, System()) as work:
        await queue.enqueue(work, "archive", "unit00001")
    daemon = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.jobs.dying_daemon", database_url, "here"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert daemon.stdout is not None
    said = await daemon.stdout.readline()
    daemon.kill()
    await daemon.wait()
    assert said == b"running\n"
    assert (await job(services)).state is JobState.RUNNING
    handler = Record()
    await new_runner(services, handler)
    await until(reached(services, JobState.DONE, 2))
    assert handler.runs == ["unit00001"]


async def rename_table(services: Services, old: str, new: str) -> None:
    async with services.database.engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


async def test_the_runner_outlives_a_database_that_fails(
    new_services: NewServices, new_runner: NewRunner
) -> None:
    services = await new_services()
    handler = Record()
    runner = await new_runner(await new_services(), handler)
    await rename_table(services, "jobs", "jobs_away")
    for _ in range(5):
        runner.wake()
        await asyncio.sleep(0.02)
    await rename_table(services, "jobs_away", "jobs")
    await enqueue(services)
    await until(reached(services, JobState.DONE))


async def test_a_job_that_the_database_lost_sight_of_is_interrupted_and_run_again(
    new_services: NewServices, new_runner: NewRunner, clock: SettableClock
) -> None:
    services = await new_services()
    gate = Gate()
    await enqueue(services)
    pace = Pace(poll_s=0.02, heartbeat_s=0.05, dead_after=timedelta(seconds=1))
    await new_runner(await new_services(), gate, pace)
    await asyncio.wait_for(gate.entered.wait(), 30)
    await rename_table(services, "jobs", "jobs_away")
    await asyncio.wait_for(gate.interrupted.wait(), 30)
    gate.opened.set()
    await rename_table(services, "jobs_away", "jobs")
    let_pass(clock, timedelta(minutes=2))
    await until(reached(services, JobState.DONE, 2))
    assert gate.runs == ["unit00001"] * 2


def test_a_daemons_name_is_its_own_and_fits_the_column_with_a_life() -> None:
    one, same = claims.daemon_name(Settings()), claims.daemon_name(Settings())
    other = claims.daemon_name(Settings(instance=Instance(state_dir="/srv/other")))
    assert one == same != other
    assert len(f"{one}/{'f' * 16}") <= 64
