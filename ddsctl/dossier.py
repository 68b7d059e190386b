"""A project's dossier on one screen of 80 columns: a record, short tables, and what to do next.

What is long is cut and says so; ``--json`` has all of it. TSV is the record alone.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import typer

from ddsctl import output
from ddsctl.output import Column, Format
from ddsd.contract import sizes

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ddsd.contract.admin import (
        Advice,
        AuditEntry,
        Finding,
        Job,
        Mail,
        ProjectDetails,
        ProjectPerson,
        StatusEntry,
    )

Item = TypeVar("Item", bound="BaseModel")

_WIDTH: Final = 80
_MOST_PEOPLE: Final = 15
_MOST_OTHERS: Final = 6
_MOST_ADVICE: Final = 8
_ELLIPSIS: Final = "…"


def show(one: ProjectDetails, form: Format) -> None:
    """Print the dossier."""
    output.show_record(one, _lines(), form)
    if form is not Format.TABLE:
        return
    files = one.project.file_count
    _section("People", _telling(one.people), _people(files), _MOST_PEOPLE)
    _section("History", one.history, _history(), _MOST_OTHERS)
    _section("Letters", one.letters, _letters(), _MOST_OTHERS)
    _section("Jobs", one.jobs, _jobs(), _MOST_OTHERS)
    _section("Store and database disagree", one.findings, _findings(), _MOST_OTHERS)
    _section("Audit log", one.audit, _audit(), _MOST_OTHERS)
    _advise(one.advice)


def _telling(people: Sequence[ProjectPerson]) -> list[ProjectPerson]:
    """Return the people, those who cannot open it first: they are never what is cut."""
    return sorted(people, key=lambda one: one.opens == "yes")


def _section(title: str, items: Sequence[Item], columns: Sequence[Column[Item]], most: int) -> None:
    if not items:
        return
    typer.echo(f"\n{typer.style(title, bold=True)}")
    rows = [[column.text(item).replace("\n", " ") for column in columns] for item in items[:most]]
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
    for row in rows:
        cells = zip(columns, row, widths, strict=True)
        line = "  ".join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for column, cell, width in cells
        )
        typer.echo(_cut(f"  {line.rstrip()}"))
    if len(items) > most:
        typer.echo(f"  and {len(items) - most} more: --json")


def _advise(advice: Sequence[Advice]) -> None:
    typer.echo(f"\n{typer.style('What to do next', bold=True)}")
    for one in advice[:_MOST_ADVICE]:
        typer.echo(_wrapped(one.what, "  - ", "    "))
        if one.do:
            typer.echo(_wrapped(one.do, "    ", "    "))
    if len(advice) > _MOST_ADVICE:
        typer.echo(f"  and {len(advice) - _MOST_ADVICE} more: --json")
    if not advice:
        typer.echo("  Nothing: all is as it should be.")


def _wrapped(text: str, first: str, others: str) -> str:
    return textwrap.fill(
        output.printable(text),
        _columns_wide(),
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cut(line: str) -> str:
    wide = _columns_wide()
    return line if len(line) <= wide else f"{line[: wide - 1]}{_ELLIPSIS}"


def _columns_wide() -> int:
    return max(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)


def _lines() -> list[Column[ProjectDetails]]:
    return [
        Column("project", lambda one: one.project.public_id),
        Column("title", lambda one: one.project.title),
        Column("unit", lambda one: one.project.unit, _unit),
        Column("PI", lambda one: one.pi),
        Column("created", lambda one: one.project.created_at, _created),
        Column("status", lambda one: one.project.status, _status),
        Column("deadline", lambda one: one.project.deadline),
        Column("first released", lambda one: one.released_at),
        Column("times expired", lambda one: one.times_expired, _left),
        Column("data kept until", lambda one: one.project.purge_after),
        Column("being done", lambda one: one.project.ending),
        Column("files", lambda one: one.project.file_count, _files),
        Column("bucket", lambda one: one.bucket),
        Column("quota", lambda one: one.unit.quota_bytes, _quota),
    ]


def _unit(one: ProjectDetails) -> str:
    return f"{one.unit.public_id} ({one.unit.name}), {one.unit.contact_email}"


def _created(one: ProjectDetails) -> str:
    return f"{output.moment(one.project.created_at)} by {one.creator or 'a former user'}"


def _status(one: ProjectDetails) -> str:
    return f"{one.project.status}{', its data and keys are gone' if one.over else ''}"


def _left(one: ProjectDetails) -> str:
    if one.over:
        return str(one.times_expired)
    return (
        f"{one.times_expired}; can be released {one.releases_left} and extended "
        f"{one.extensions_left} times more"
    )


def _files(one: ProjectDetails) -> str:
    project = one.project
    return (
        f"{project.file_count}, {sizes.show(project.bytes_original)}, "
        f"stored as {sizes.show(project.bytes_stored)}"
    )


def _quota(one: ProjectDetails) -> str:
    unit = one.unit
    used = f"{unit.public_id} stores {sizes.show(unit.used_bytes)}"
    if not unit.quota_bytes:
        return f"{used}, without a quota"
    over = " !" if unit.used_bytes > unit.level_bytes else ""
    kind = "" if unit.enforced else ", warned of only"
    return f"{used} of {sizes.show(unit.quota_bytes)} ({unit.used_bytes / unit.quota_bytes:.0%}{over}){kind}"


def _people(files: int) -> list[Column[ProjectPerson]]:
    def fetched(one: ProjectPerson) -> str:
        if one.last_fetched_at is None:
            return "-"
        last = output.moment(one.last_fetched_at)[:10]
        present = (
            f" of {files}" if one.files_fetched <= files else ""
        )  # of an ended project none are
        return f"{one.files_fetched}{present}, {sizes.show(one.bytes_fetched)}, {last}"

    return [
        Column("person", lambda one: one.name),
        Column("capacity", lambda one: one.capacity),
        Column("opens", lambda one: one.opens, lambda one: f"opens: {one.opens}"),
        Column("fetched", lambda one: one.files_fetched, fetched),
    ]


def _history() -> list[Column[StatusEntry]]:
    return [
        Column("at", lambda one: one.at),
        Column("status", lambda one: one.status),
        Column(
            "deadline",
            lambda one: one.deadline,
            lambda one: f"until {output.moment(one.deadline)}" if one.deadline else "",
        ),
    ]


def _letters() -> list[Column[Mail]]:
    return [
        Column("id", lambda one: one.id, right=True),
        Column("state", lambda one: one.state),
        Column("created", lambda one: one.created_at),
        Column("kind", lambda one: one.kind),
        Column("to", lambda one: one.recipient),
    ]


def _jobs() -> list[Column[Job]]:
    return [
        Column("id", lambda one: one.id, right=True),
        Column("state", lambda one: one.state),
        Column("created", lambda one: one.created_at),
        Column("kind", lambda one: one.kind),
        Column("progress", lambda one: one.done, _progress),
        Column("error", lambda one: one.last_error, lambda one: one.last_error),
    ]


def _progress(one: Job) -> str:
    return f"{one.done} of {one.total}" if one.total else ""


def _findings() -> list[Column[Finding]]:
    return [
        Column("kind", lambda one: one.kind),
        Column("what", lambda one: one.file or one.key),
        Column("seen", lambda one: one.seen_at),
    ]


def _audit() -> list[Column[AuditEntry]]:
    return [
        Column("at", lambda one: one.at),
        Column("action", lambda one: one.action),
        Column("actor", lambda one: one.actor),
    ]
