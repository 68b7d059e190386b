"""``ddsctl jobs``: what the daemon does in the background."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ddsctl import again, completion, output, session
from ddsctl.confirm import DryRun, Yes
from ddsctl.failures import ExitCode, Failure
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv

if TYPE_CHECKING:
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Job, ScheduledJob

app = typer.Typer(
    help="Jobs: what is done in the background, how far it is, what failed.", no_args_is_help=True
)

_LOOK_EVERY_S: Final = 0.5
_LONGEST_WAIT_S: Final = 3600.0
_LONGEST_ERROR: Final = 60


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


Number = Annotated[
    int, typer.Argument(help="The job's number in ddsctl jobs ls.", show_default=False)
]
Timeout = Annotated[float, typer.Option(help="Wait at most so many seconds.", min=0)]


@app.command()
def ls(
    ctx: typer.Context,
    state: Annotated[
        State | None, typer.Option(help="Only those in this state.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """List jobs, newest first.

    Example: ddsctl jobs ls --state failed
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Job

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/jobs", Job, in_state=state, limit=limit)
    output.show_list(found, _columns(), here.format, empty="There are no jobs.")


@app.command()
def show(
    ctx: typer.Context, number: Number, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Show one job: its state, how far it is, and why it failed last.

    Example: ddsctl jobs show 12
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Job

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        job = daemon.get(f"/jobs/{number}", Job)
    output.show_record(job, _lines(), here.format)


@app.command()
def scheduled(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """List the jobs that come by the clock, and when.

    Example: ddsctl jobs scheduled
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import ScheduledJob

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/schedule", ScheduledJob)
    output.show_list(found, _schedule(), here.format, empty="Nothing comes by the clock.")


@app.command()
def run(
    ctx: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(
            help="Which job, as in ddsctl jobs scheduled.",
            autocompletion=completion.scheduled_jobs,
            show_default=False,
        ),
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Start a job now that otherwise comes by the clock.

    Example: ddsctl jobs run compare_store --wait
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Job, RunJob

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        job = daemon.post("/jobs", RunJob(kind=kind), Job)
        if wait:
            job = until_ended(daemon, job.id, _LONGEST_WAIT_S)
    output.show_record(job, _lines(), here.format)


@app.command()
def retry(
    ctx: typer.Context,
    number: again.Number = None,
    failed: Annotated[
        bool,
        typer.Option("--failed", help="Instead: all that failed and were not tried again since."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Try a failed job again, or all. A failed one stays in the list; the new try has a number of its own.

    One that waits for its next try, as after the store was away, is tried at once.

    Example: ddsctl jobs retry 12 --wait
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Job

    here = session.of(ctx, as_json, as_tsv)
    if again.is_all(number, failed=failed, excluded={"--wait": wait}):
        again.try_all(here, "/jobs/retry", "jobs", dry_run=dry_run, yes=yes)
        return
    again.refuse(dry_run=dry_run)
    with Daemon(here.socket) as daemon:
        job = daemon.post(f"/jobs/{number}/retry", None, Job)
        if wait:
            job = until_ended(daemon, job.id, _LONGEST_WAIT_S)
    output.show_record(job, _lines(), here.format)


@app.command()
def wait(
    ctx: typer.Context,
    number: Number,
    timeout: Timeout = _LONGEST_WAIT_S,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Wait until a job has ended. A job that failed makes this fail, too.

    Example: ddsctl jobs wait 12 --timeout 600
    """
    from ddsctl.client import Daemon

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        job = until_ended(daemon, number, timeout)
    output.show_record(job, _lines(), here.format)


def until_ended(daemon: Daemon, number: int, timeout_s: float) -> Job:
    """Return the job once it is done; a terminal is told meanwhile how far it is.

    Raises:
        Failure: it failed, or has not ended in ``timeout_s`` seconds.
    """
    from ddsd.contract.admin import Job

    give_up = time.monotonic() + timeout_s
    told = ""
    while True:
        job = daemon.get(f"/jobs/{number}", Job)
        if job.state == State.DONE:
            return job
        if job.state == State.FAILED:
            raise Failure(ExitCode.FAILED, f"job {number} ({job.kind}) failed: {job.last_error}")
        if time.monotonic() >= give_up:
            raise Failure(
                ExitCode.UNAVAILABLE, f"job {number} ({job.kind}) has not ended: it is {job.state}."
            )
        if sys.stderr.isatty() and told != (told := f"{job.state} {_progress(job)}".strip()):
            typer.echo(f"job {number}: {told}", err=True)
        time.sleep(_LOOK_EVERY_S)


def _progress(job: Job) -> str:
    return f"{job.done} of {job.total}" if job.total else ""


def _short_error(one: Job) -> str:
    return output.shortened(one.last_error, _LONGEST_ERROR) or "-"


def _columns() -> list[Column[Job]]:
    return [
        Column("number", lambda one: one.id, right=True),
        Column("kind", lambda one: one.kind),
        Column("subject", lambda one: one.subject),
        Column("state", lambda one: one.state),
        Column("progress", _progress),
        Column("attempts", lambda one: one.attempts, right=True),
        Column("created", lambda one: one.created_at),
        Column("tried since", lambda one: one.tried_since, right=True),
        Column("last error", lambda one: one.last_error, _short_error),
    ]


def _lines() -> list[Column[Job]]:
    return [
        *_columns()[:-1],
        Column("last error", lambda one: one.last_error),
        Column("not before", lambda one: one.run_after),
        Column("run by", lambda one: one.claimed_by),
        Column("last sign of life", lambda one: one.alive_at),
        Column("ended", lambda one: one.finished_at),
    ]


def _schedule() -> list[Column[ScheduledJob]]:
    return [
        Column("kind", lambda one: one.kind),
        Column("when (UTC)", lambda one: one.when),
        Column("also at start", lambda one: one.at_start),
    ]
