"""``ddsctl project``: what is delivered, and what becomes of it, without its contents."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from ddsctl import completion, output, session, way_on
from ddsctl.confirm import DryRun, Yes, confirm, tell_dry_run
from ddsctl.failures import ExitCode, Failure
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv, Session
from ddsd.contract import sizes
from ddsd.contract.words import ProjectVerb

if TYPE_CHECKING:
    from ddsctl.client import Daemon
    from ddsd.contract.admin import ChangedProject, Project, ProjectDetails

app = typer.Typer(help="Projects, without their contents.", no_args_is_help=True)

ProjectId = Annotated[
    str,
    typer.Argument(
        help="The project's ID.", autocompletion=completion.projects, show_default=False
    ),
]


@app.command()
def ls(
    ctx: typer.Context,
    unit: Annotated[
        str | None, typer.Option(help="Only the projects of this unit.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """List the projects, newest first.

    Example: ddsctl project ls --unit genomics
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Project

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/projects", Project, unit=unit)
    output.show_list(found, _columns(), here.format, empty="There are no projects.")


@app.command()
def show(
    ctx: typer.Context, public_id: ProjectId, as_json: AsJson = False, as_tsv: AsTsv = False
) -> None:
    """Show everything that is known of a project, and what to do next.

    Who can open it and what they have downloaded, its history, letters, jobs, findings, and the last audit lines.

    Example: ddsctl project show genomics00007
    """
    from ddsctl import dossier
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import ProjectDetails

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get(path("projects", public_id), ProjectDetails)
    dossier.show(found, here.format)


@app.command()
def release(
    ctx: typer.Context,
    public_id: ProjectId,
    days: Annotated[
        int | None,
        typer.Option(
            help="How many days, 1 to 90. If not given: the unit's own.", show_default=False
        ),
    ] = None,
    no_mail: Annotated[
        bool, typer.Option("--no-mail", help="Do not mail the researchers.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Make a project available to its researchers, and mail them at once; --no-mail: in silence.

    Example: ddsctl project release genomics00007 --days 30
    """
    here = session.of(ctx, as_json, as_tsv)
    _change(
        here, public_id, ProjectVerb.RELEASE, days=days, send_email=not no_mail, dry_run=dry_run
    )


@app.command()
def retract(
    ctx: typer.Context,
    public_id: ProjectId,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Take an available project back to In Progress. Its deadline runs on.

    Example: ddsctl project retract genomics00007
    """
    _change(session.of(ctx, as_json, as_tsv), public_id, ProjectVerb.RETRACT, dry_run=dry_run)


@app.command()
def extend(
    ctx: typer.Context,
    public_id: ProjectId,
    days: Annotated[int, typer.Option(help="How many days more.", show_default=False)],
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Give an available project a later deadline. It uses up one of two times. Nobody is mailed.

    Example: ddsctl project extend genomics00007 --days 14
    """
    _change(
        session.of(ctx, as_json, as_tsv), public_id, ProjectVerb.EXTEND, days=days, dry_run=dry_run
    )


@app.command()
def expire(
    ctx: typer.Context,
    public_id: ProjectId,
    days: Annotated[
        int | None,
        typer.Option(
            help="Days until it is archived, 1 to 30. If not given: the unit's own.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """End the time in which a project can be downloaded.

    Example: ddsctl project expire genomics00007
    """
    _change(
        session.of(ctx, as_json, as_tsv), public_id, ProjectVerb.EXPIRE, days=days, dry_run=dry_run
    )


@app.command()
def archive(
    ctx: typer.Context,
    public_id: ProjectId,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Remove a project's data, in the background; what describes it stays.

    Example: ddsctl project archive genomics00007
    """
    question = f"Remove all data of {public_id} for good?"
    here = session.of(ctx, as_json, as_tsv)
    _end(here, public_id, ProjectVerb.ARCHIVE, question, yes=yes, dry_run=dry_run)


@app.command()
def abort(
    ctx: typer.Context,
    public_id: ProjectId,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Remove a project's data, title, description and researchers, in the background.

    Example: ddsctl project abort genomics00007
    """
    here, question = (
        session.of(ctx, as_json, as_tsv),
        f"Remove all data of {public_id}, and what describes it, for good?",
    )
    _end(here, public_id, ProjectVerb.ABORT, question, yes=yes, dry_run=dry_run)


@app.command()
def delete(
    ctx: typer.Context,
    public_id: ProjectId,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Delete a project that was never released, in the background.

    Example: ddsctl project delete genomics00007
    """
    here, question = (
        session.of(ctx, as_json, as_tsv),
        f"Delete {public_id} with all its data for good?",
    )
    _end(here, public_id, ProjectVerb.DELETE, question, yes=yes, dry_run=dry_run)


@app.command()
def restore(
    ctx: typer.Context,
    public_id: ProjectId,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Take back what a deadline has archived, while its data is still kept: Expired again, with a new deadline.

    Example: ddsctl project restore genomics00007
    """
    _change(session.of(ctx, as_json, as_tsv), public_id, ProjectVerb.RESTORE, dry_run=dry_run)


@app.command()
def purge(
    ctx: typer.Context,
    public_id: ProjectId,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Remove the data of a project that a deadline has archived now, not at the end of the undo window.

    Example: ddsctl project purge genomics00007
    """
    here, question = (
        session.of(ctx, as_json, as_tsv),
        f"Remove all data of {public_id} for good? It cannot be restored then.",
    )
    _end(here, public_id, ProjectVerb.PURGE, question, yes=yes, dry_run=dry_run)


def _end(
    here: Session, public_id: str, verb: ProjectVerb, question: str, *, yes: bool, dry_run: bool
) -> None:
    from ddsctl.client import Daemon

    with Daemon(here.socket) as daemon:
        goes = way_on.contents(_details(daemon, public_id))
    if dry_run:
        typer.echo(goes, err=True)
    else:
        confirm(f"{question} {goes}", yes=yes)
    _change(here, public_id, verb, dry_run=dry_run)


def _details(daemon: Daemon, public_id: str) -> ProjectDetails:
    from ddsctl.client import path
    from ddsd.contract.admin import ProjectDetails

    return daemon.get(path("projects", public_id), ProjectDetails)


def _after_refusal(daemon: Daemon, public_id: str, verb: ProjectVerb, failure: Failure) -> Failure:
    """Return the failure, with the command that leads on if there is one."""
    if failure.exit_code is not ExitCode.REFUSED_INPUT:
        return failure
    with suppress(Failure):
        if further := way_on.after_refusal(_details(daemon, public_id), verb):
            return Failure(failure.exit_code, f"{failure.message}\n  {further}")
    return failure


def _change(
    here: Session,
    public_id: str,
    verb: ProjectVerb,
    *,
    days: int | None = None,
    send_email: bool = True,
    dry_run: bool,
) -> None:
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import ChangedProject, ChangeProject

    wanted = ChangeProject(verb=verb, days=days, send_email=send_email, dry_run=dry_run)
    with Daemon(here.socket) as daemon:
        try:
            changed = daemon.post(path("projects", public_id, "status"), wanted, ChangedProject)
        except Failure as failure:
            raise _after_refusal(daemon, public_id, verb, failure) from failure
    output.show_record(changed, _lines(), here.format)
    tell_dry_run(dry_run)
    if changed.project.ending and not dry_run:
        typer.echo("It goes on in the background: ddsctl jobs ls", err=True)


def _lines() -> list[Column[ChangedProject]]:
    return [
        Column("project", lambda one: one.project.public_id),
        Column("status", lambda one: one.project.status),
        Column("deadline", lambda one: one.project.deadline),
        Column("being done", lambda one: one.project.ending),
        Column("data kept until", lambda one: one.project.purge_after),
        Column("researchers mailed", lambda one: one.mailed),
    ]


def _columns() -> list[Column[Project]]:
    return [
        Column("project", lambda one: one.public_id),
        Column("unit", lambda one: one.unit),
        Column("title", lambda one: one.title),
        Column("status", lambda one: one.status),
        Column("deadline", lambda one: one.deadline),
        Column("files", lambda one: one.file_count, right=True),
        Column(
            "stored",
            lambda one: one.bytes_stored,
            lambda one: sizes.show(one.bytes_stored),
            right=True,
        ),
    ]
