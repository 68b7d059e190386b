"""ddsctl jobs: what the daemon does in the background, as an operator sees and starts it."""

from __future__ import annotations

from typing import Any

from ddsd import bootstrap
from ddsd.audit import trail
from ddsd.audit.trail import Sought
from ddsd.jobs import queue
from ddsd.jobs.tables import JobState
from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.builders import NOON
from tests.ctl.conftest import Ctl


def a_job(plane: AdminPlane, **fields: Any) -> int:
    """Enqueue a job, and say what became of it."""

    async def made(work: Work) -> int:
        job = await queue.enqueue(work, "empty_project", "unit00001")
        for column, value in fields.items():
            setattr(job, column, value)
        await work.session.flush()
        return job.id

    return plane.work(made)


def test_jobs_are_listed_with_how_far_they_are(plane: AdminPlane, ctl: Ctl) -> None:
    assert ctl("jobs", "ls").err == "There are no jobs.\n"
    number = a_job(plane, state=JobState.RUNNING, done=3000, total=100_000, claimed_by="here/1")
    listed = ctl("jobs", "ls")
    assert "3000 of 100000" in listed.out
    assert "empty_project" in listed.out
    running: Any = ctl("jobs", "ls", "--state", "running", "--json").json
    [told] = running
    assert (told["id"], told["done"], told["total"]) == (number, 3000, 100_000)
    assert ctl("jobs", "ls", "--state", "failed", "--json").json == []
    shown = dict(
        line.split("\t") for line in ctl("jobs", "show", str(number), "--tsv").out.splitlines()
    )
    assert (shown["run by"], shown["subject"]) == ("here/1", "unit00001")


def test_a_failed_job_is_retried_as_a_new_one_and_recorded(plane: AdminPlane, ctl: Ctl) -> None:
    number = a_job(plane, state=JobState.FAILED, last_error="The store says no", finished_at=NOON)
    retried: Any = ctl("jobs", "retry", str(number), "--json").json
    assert (retried["state"], retried["subject"]) == ("queued", "unit00001")
    assert retried["id"] != number
    again = ctl("jobs", "retry", str(number))
    assert (again.code, "being done already" in again.err) == (65, True)
    refused = ctl("jobs", "retry", str(retried["id"]))
    assert (refused.code, "only a failed one" in refused.err) == (65, True)
    entries = plane.work(lambda work: trail.listing(work, Sought(action="job"), 10))
    assert [(one.action, one.subject) for one in entries] == [("job.retry", "empty_project")]


def test_all_failed_jobs_are_retried_and_told_of_no_more(plane: AdminPlane, ctl: Ctl) -> None:
    number = a_job(plane, state=JobState.FAILED, last_error="The store says no " * 20)
    assert (
        "1 failed (ddsctl jobs ls --state failed; ddsctl jobs retry --failed)" in ctl("status").out
    )
    assert len(ctl("jobs", "ls").out.splitlines()[1]) < 200
    assert ctl("jobs", "show", str(number)).out.count("The store says no") == 20
    told: Any = ctl("jobs", "retry", "--failed", "--dry-run", "--json").json
    assert told["count"] == 1
    assert ctl("jobs", "retry", "--failed").code == 65
    done: Any = ctl("jobs", "retry", "--failed", "--yes", "--json").json
    assert done["count"] == 1
    assert "1 queued\n" in ctl("status").out
    listed: Any = ctl("jobs", "ls", "--state", "failed", "--json").json
    assert [(one["id"], one["tried_since"]) for one in listed] == [(number, number + 1)]
    for words in ([], ["1", "--failed"], ["--failed", "--wait"], ["1", "--dry-run"]):
        assert ctl("jobs", "retry", *words).code == 2


def test_every_scheduled_job_is_listed_and_can_be_started(plane: AdminPlane, ctl: Ctl) -> None:
    told: Any = ctl("jobs", "scheduled", "--json").json
    kinds = [one.kind for one in bootstrap.scheduled(plane.services.settings)]
    assert [one["kind"] for one in told] == kinds
    for kind in {one["kind"] for one in told}:
        started: Any = ctl("jobs", "run", kind, "--json").json
        assert (started["kind"], started["state"]) == (kind, "queued")
    twice = ctl("jobs", "run", kinds[0])
    assert twice.code == 65
    unknown = ctl("jobs", "run", "empty_project")
    assert (unknown.code, kinds[0] in unknown.err) == (65, True)
    entries = plane.work(lambda work: trail.listing(work, Sought(action="job.run"), 100))
    assert len(entries) == len({one["kind"] for one in told})


def test_waiting_ends_as_the_job_does(plane: AdminPlane, ctl: Ctl) -> None:
    done = a_job(plane, state=JobState.DONE, finished_at=NOON)
    assert "done" in ctl("jobs", "wait", str(done)).out
    failed = a_job(plane, state=JobState.FAILED, last_error="The store says no")
    ended = ctl("jobs", "wait", str(failed))
    assert (ended.code, "The store says no" in ended.err) == (1, True)
    late = ctl("jobs", "wait", str(a_job(plane)), "--timeout", "0")
    assert (late.code, "has not ended" in late.err) == (69, True)
    assert ctl("jobs", "wait", "999").code == 65
