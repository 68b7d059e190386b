"""The queue's verbs on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlmodel import select

from ddsd.access import Nobody, System
from ddsd.errors import Busy, Forbidden, NotFound, WrongStatus
from ddsd.jobs import claims, operating, queue
from ddsd.jobs.housekeeping import forget_old_jobs
from ddsd.jobs.tables import Job, JobState
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.mail.builders import ROOT, NewServices, let_pass


async def enqueue(services: Services, subject: str = "unit00001") -> Job:
    async with transaction(services, System()) as work:
        return await queue.enqueue(work, "archive", subject)


async def end(services: Services, job: Job, state: JobState) -> None:
    async with transaction(services, System()) as work:
        row = await work.session.get_one(Job, job.id)
        row.state, row.finished_at = state, work.now


async def everything(services: Services, state: JobState | None = None) -> list[int]:
    async with reading(services, ROOT) as work:
        return [job.id for job in await queue.listing(work, state)]


async def test_the_same_twice_is_busy(services: Services) -> None:
    await enqueue(services)
    with pytest.raises(Busy):
        await enqueue(services)


async def test_another_subject_is_not_busy(services: Services) -> None:
    await enqueue(services)
    await enqueue(services, "unit00002")
    assert len(await everything(services)) == 2


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED])
async def test_after_its_end_it_can_be_enqueued_again(services: Services, state: JobState) -> None:
    await end(services, await enqueue(services), state)
    await enqueue(services)
    assert len(await everything(services)) == 2


async def test_a_running_job_is_busy(services: Services) -> None:
    await end(services, await enqueue(services), JobState.RUNNING)
    with pytest.raises(Busy):
        await enqueue(services)


async def test_busy_leaves_the_rest_of_the_transaction_alone(services: Services) -> None:
    await enqueue(services)
    async with transaction(services, System()) as work:
        assert await queue.enqueue_unless_active(work, "archive", "unit00001") is None
        other = await queue.enqueue_unless_active(work, "archive", "unit00002")
    assert other is not None
    assert other.id in await everything(services)


async def test_of_many_requests_at_one_moment_one_wins(new_services: NewServices) -> None:
    daemons = [await new_services() for _ in range(3)]
    tries = [enqueue(daemon) for daemon in daemons * 4]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(answer, Job) for answer in answers) == 1
    assert sum(isinstance(answer, Busy) for answer in answers) == len(answers) - 1


async def test_the_runner_is_woken_by_a_commit_and_not_by_a_rollback(
    new_services: NewServices,
) -> None:
    rings: list[int] = []
    services = await new_services(wake=lambda: rings.append(1))
    with pytest.raises(ZeroDivisionError):
        await enqueue_and_fail(services)
    assert rings == []
    await enqueue(services)
    assert rings == [1]


async def enqueue_and_fail(services: Services) -> None:
    async with transaction(services, System()) as work:
        await queue.enqueue(work, "archive", "unit00001")
        raise ZeroDivisionError


async def test_the_listing_is_newest_first_and_by_state(services: Services) -> None:
    first, second = await enqueue(services), await enqueue(services, "unit00002")
    await end(services, first, JobState.FAILED)
    assert await everything(services) == [second.id, first.id]
    assert await everything(services, JobState.FAILED) == [first.id]


async def test_only_operators_see_jobs(services: Services) -> None:
    job = await enqueue(services)
    async with reading(services, Nobody()) as work:
        with pytest.raises(Forbidden):
            await queue.listing(work)
        with pytest.raises(Forbidden):
            await queue.show(work, job.id)


async def test_a_failed_job_is_retried_as_a_new_one(services: Services) -> None:
    failed = await enqueue(services)
    await end(services, failed, JobState.FAILED)
    async with transaction(services, ROOT) as work:
        again = await queue.retry(work, failed.id)
    assert (again.kind, again.subject, again.attempts) == ("archive", "unit00001", 0)
    assert await everything(services) == [again.id, failed.id]


async def test_what_was_tried_again_counts_as_failed_no_more_and_is_not_done_twice(
    services: Services,
) -> None:
    first, second = await enqueue(services), await enqueue(services, "unit00002")
    for job in (first, second):
        await end(services, job, JobState.FAILED)
    async with transaction(services, ROOT) as work:
        assert await queue.count_failed(work) == 2
        again = await queue.retry(work, first.id)
        assert await queue.count_failed(work) == 1
        assert await queue.tried_since(work, [first.id, second.id]) == {first.id: again.id}
    await end(services, again, JobState.DONE)
    async with transaction(services, ROOT) as work:
        with pytest.raises(WrongStatus, match=f"job {again.id} did it"):
            await queue.retry(work, first.id)
        done = await operating.retry_failed(work, 0)
        assert (done.jobs, done.last, done.more) == (1, second.id, False)
        assert await queue.count_failed(work) == 0


async def test_a_try_that_failed_again_is_the_one_that_counts(services: Services) -> None:
    first = await enqueue(services)
    await end(services, first, JobState.FAILED)
    async with transaction(services, ROOT) as work:
        again = await queue.retry(work, first.id)
    await end(services, again, JobState.FAILED)
    async with reading(services, ROOT) as work:
        assert await queue.still_failed(work, 0, 10) == [again.id]


async def test_a_job_that_waits_for_its_next_try_is_tried_at_once_under_its_own_number(
    services: Services,
) -> None:
    job = await enqueue(services)
    async with transaction(services, System()) as work:
        claim = await claims.claim(work, job.id, "here/1")
        assert claim
        assert await claims.put_off(work, claim, "The object store does not answer.")
        assert await claims.next_due(work, frozenset({"archive"})) is None
    async with transaction(services, ROOT) as work:
        assert (await queue.retry(work, job.id)).id == job.id
        assert await claims.next_due(work, frozenset({"archive"})) == job.id
    assert await everything(services) == [job.id]


async def test_only_what_failed_can_be_retried(services: Services) -> None:
    job = await enqueue(services)
    async with transaction(services, ROOT) as work:
        with pytest.raises(WrongStatus):
            await queue.retry(work, job.id)
        with pytest.raises(NotFound):
            await queue.retry(work, 4711)


async def test_jobs_that_ended_long_ago_are_forgotten(
    services: Services, clock: SettableClock
) -> None:
    done, failed = await enqueue(services), await enqueue(services, "unit00002")
    active = await enqueue(services, "unit00003")
    await end(services, done, JobState.DONE)
    await end(services, failed, JobState.FAILED)
    let_pass(clock, queue.KEEP_DONE + timedelta(seconds=1))
    await forget_old_jobs(services, "all")
    assert await everything(services) == [active.id, failed.id]
    let_pass(clock, queue.KEEP_FAILED)
    await forget_old_jobs(services, "all")
    async with reading(services, System()) as work:
        assert list(await work.session.scalars(select(Job.id))) == [active.id]
