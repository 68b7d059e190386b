"""``ddsctl files``: where store and database disagree, and uploads that were never registered."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ddsctl import completion, output, session
from ddsctl.commands.jobs import until_ended
from ddsctl.confirm import DryRun, Yes, confirm
from ddsctl.failures import ExitCode, Failure
from ddsctl.output import Column, Format
from ddsctl.session import AsJson, AsTsv
from ddsd.contract import sizes
from ddsd.contract.words import FindingKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ddsctl.client import Daemon
    from ddsd.contract.admin import BucketsMade, Cleaned, Finding, LogImported

app = typer.Typer(help="Files: what the store and the database disagree in.", no_args_is_help=True)
lost = typer.Typer(
    help="What only one of store and database knows of. Compared every night.",
    no_args_is_help=True,
)
app.add_typer(lost, name="lost")

_ENTRIES_AT_ONCE: Final = 200
_COMPARING_S: Final = 86_400.0

Project = Annotated[
    str | None,
    typer.Option(
        help="Only this project. If not given: all.",
        autocompletion=completion.projects,
        show_default=False,
    ),
]


@lost.command()
def ls(
    ctx: typer.Context,
    project: Project = None,
    kind: Annotated[
        FindingKind | None, typer.Option(help="Only findings of this kind.", show_default=False)
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare now, and wait for it.")
    ] = False,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=100_000)] = 1000,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """List what store and database disagreed in when they were last compared.

    Uploads of less than a day into a project In Progress are none: they may be about to be registered.

    Example: ddsctl files lost ls --project unit00001 --compare
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Compare, Job

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        if compare:
            job = daemon.post("/lost/compare", Compare(project=project), Job)
            until_ended(daemon, job.id, _COMPARING_S)
        found = _findings(daemon, project, kind, limit)
    output.show_list(found, _columns(), here.format, empty="Store and database agree.")


@lost.command()
def add(
    ctx: typer.Context,
    project: Project = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Make the missing buckets of projects. What was in a lost bucket does not come back.

    Example: ddsctl files lost add --dry-run
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import BucketsMade, MakeBuckets

    here = session.of(ctx, as_json, as_tsv)
    wanted = MakeBuckets(project=project, dry_run=dry_run)
    with Daemon(here.socket) as daemon:
        made = daemon.post("/lost/buckets", wanted, BucketsMade)
    if not made.projects and here.format is Format.TABLE:
        typer.echo("No bucket is missing.", err=True)
        return
    output.show_record(made, _buckets(dry_run), here.format)


@lost.command()
def delete(
    ctx: typer.Context,
    project: Project = None,
    bucket: Annotated[
        str | None,
        typer.Option(
            help="Instead: this bucket of nobody, with all it holds. Another ddsd at the same store gives its buckets "
            "such names, too.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Remove what is left over: objects without files, files without objects, leftover uploads.

    Each finding is looked at again first. Files of the wrong size stay: upload them again, with --overwrite.

    Example: ddsctl files lost delete --project unit00001 --dry-run
    """
    from ddsctl.client import Daemon

    here = session.of(ctx, as_json, as_tsv)
    if bucket is not None and project is not None:
        raise typer.BadParameter("--project and --bucket exclude each other.")
    with Daemon(here.socket) as daemon:
        if dry_run:
            found = [
                one for one in _findings(daemon, project, None, 100_000) if _would_go(one, bucket)
            ]
            output.show_list(found, _columns(), here.format, empty="Nothing would be removed.")
            return
        if bucket is not None:
            confirm(f"Remove the bucket {bucket} with all it holds, for good?", yes=yes)
            cleaned = _remove_bucket(daemon, bucket)
        else:
            confirm(f"Remove for good what is left over in {project or 'all projects'}?", yes=yes)
            cleaned = _clean(daemon, project)
    output.show_record(cleaned, _cleaned(), here.format)


@app.command()
def import_log(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="A dds_failed_delivery.json that the stock client left in its log directory.",
            exists=True,
            dir_okay=False,
            readable=True,
            show_default=False,
        ),
    ],
    project: Annotated[
        str,
        typer.Option(
            help="The project it was uploaded to.",
            autocompletion=completion.projects,
            show_default=False,
        ),
    ],
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Register files that the stock client has stored and could not register.

    Only what the store has, in the size that the log says, is registered. The project must be In Progress.

    Example: ddsctl files import-log dds_failed_delivery.json --project unit00001 --dry-run
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import LogImported

    here = session.of(ctx, as_json, as_tsv)
    log = _read_log(file)
    if not log:
        raise Failure(ExitCode.REFUSED_INPUT, f"{file} names no files.")
    with Daemon(here.socket) as daemon:
        steps = list(_import(daemon, log, project, dry_run))
    told = LogImported(
        added=[name for one in steps for name in one.added],
        refused={name: why for one in steps for name, why in one.refused.items()},
    )
    output.show_record(told, _imported(dry_run), here.format)
    if told.refused:
        raise typer.Exit(ExitCode.FAILED)


def _findings(
    daemon: Daemon, project: str | None, kind: FindingKind | None, limit: int
) -> list[Finding]:
    from ddsd.contract.admin import Finding

    return daemon.get_list("/lost", Finding, project=project, of_kind=kind, limit=limit)


def _would_go(one: Finding, bucket: str | None) -> bool:
    if bucket is not None:
        return one.bucket == bucket and one.kind is FindingKind.BUCKET_OF_NOBODY
    stay = {FindingKind.WRONG_SIZE, FindingKind.MISSING_BUCKET, FindingKind.BUCKET_OF_NOBODY}
    return one.kind not in stay


def _clean(daemon: Daemon, project: str | None) -> Cleaned:
    from ddsd.contract.admin import Cleaned, CleanLost

    total = Cleaned(removed=0, passed=0, stayed=0, last=0, more=True)
    while total.more:
        step = daemon.post("/lost/clean", CleanLost(project=project, after=total.last), Cleaned)
        total = Cleaned(
            removed=total.removed + step.removed,
            passed=total.passed + step.passed,
            stayed=total.stayed + step.stayed,
            last=step.last,
            more=step.more,
        )
    return total


def _remove_bucket(daemon: Daemon, bucket: str) -> Cleaned:
    from ddsctl.client import path
    from ddsd.contract.admin import BucketEmptied, Cleaned

    removed = 0
    while step := daemon.delete(path("lost", "buckets", bucket), BucketEmptied).objects:
        removed += step
    return Cleaned(removed=removed, passed=0, stayed=0, last=0, more=False)


def _read_log(file: Path) -> dict[str, Any]:
    """Read the log as strictly as the daemon will: what is nested without end, or no text, could not be sent."""
    from pydantic import JsonValue, TypeAdapter, ValidationError

    try:
        return TypeAdapter(dict[str, JsonValue]).validate_json(file.read_bytes())
    except OSError as wrong:
        raise Failure(ExitCode.REFUSED_INPUT, f"{file} cannot be read: {wrong}") from wrong
    except ValidationError as wrong:
        why = wrong.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
        raise Failure(
            ExitCode.REFUSED_INPUT, f"{file} is no log of failed uploads: {why}"
        ) from wrong


def _import(
    daemon: Daemon, log: dict[str, Any], project: str, dry_run: bool
) -> Iterator[LogImported]:
    from ddsctl.client import path
    from ddsd.contract.admin import ImportLog, LogImported

    entries = iter(log.items())
    while some := dict(islice(entries, _ENTRIES_AT_ONCE)):
        wanted = ImportLog(log=some, dry_run=dry_run)
        yield daemon.post(path("projects", project, "import-log"), wanted, LogImported)


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else sizes.show(size_bytes)


def _columns() -> list[Column[Finding]]:
    return [
        Column("kind", lambda one: one.kind.value),
        Column("project", lambda one: one.project),
        Column("bucket", lambda one: one.bucket),
        Column("object", lambda one: one.key),
        Column("file", lambda one: one.file),
        Column(
            "registered",
            lambda one: one.bytes_registered,
            lambda one: _size(one.bytes_registered),
            right=True,
        ),
        Column(
            "found", lambda one: one.bytes_found, lambda one: _size(one.bytes_found), right=True
        ),
        Column("first seen", lambda one: one.found_at),
        Column("last seen", lambda one: one.seen_at),
    ]


def _buckets(dry_run: bool) -> list[Column[BucketsMade]]:
    title = "would be made for" if dry_run else "made for"
    return [Column(title, lambda one: ", ".join(one.projects))]


def _cleaned() -> list[Column[Cleaned]]:
    return [
        Column("removed", lambda one: one.removed),
        Column("were none any more", lambda one: one.passed),
        Column("stayed", lambda one: one.stayed),
    ]


def _imported(dry_run: bool) -> list[Column[LogImported]]:
    return [
        Column(
            "would be registered" if dry_run else "registered", lambda one: ", ".join(one.added)
        ),
        Column(
            "refused", lambda one: "\n".join(f"{name}: {why}" for name, why in one.refused.items())
        ),
    ]
