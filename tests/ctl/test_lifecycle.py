"""What an operator types about the life of projects, and what comes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from ddsctl.failures import ExitCode
from ddsd.audit.tables import AuditEntry
from ddsd.jobs.tables import Job
from ddsd.lifecycle import endings
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit
from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.builders import a_unit
from tests.ctl.conftest import Ctl
from tests.lifecycle.life import a_life

NOW = datetime.now(UTC)
PASSED = NOW - timedelta(days=1)


async def projects(work: Work) -> list[str]:
    """Make one project in progress, one that is available and one that has expired, both too long."""
    unit = await a_unit(work.session, public_id="imaging", internal_ref="imaging")
    made = [
        await a_life(work, Status.IN_PROGRESS, unit),
        await a_life(work, Status.AVAILABLE, unit, deadline=PASSED),
        await a_life(work, Status.EXPIRED, unit, deadline=PASSED),
    ]
    return [one.public_id for one in made]


async def status_of(work: Work, public_id: str) -> tuple[str, str]:
    table = Project.columns()
    query = select(table.status, table.ending).where(table.public_id == public_id)
    status, ending = (await work.session.execute(query)).one()
    return status, ending or ""


async def audited(work: Work) -> list[str]:
    found = await work.session.execute(select(AuditEntry).order_by(AuditEntry.columns().id))
    return [f"{one.action} {one.subject}" for one in found.scalars() if "operator" in one.actor]


def look(plane: AdminPlane, public_id: str) -> tuple[str, str]:
    return plane.work(lambda work: status_of(work, public_id))


def test_an_operator_walks_a_project_through_its_life(ctl: Ctl, plane: AdminPlane) -> None:
    project = plane.work(projects)[0]
    for words, status in (
        (("release", "--days", "30", "--no-mail"), "Available"),
        (("extend", "--days", "5"), "Available"),
        (("retract",), "In Progress"),
        (("release",), "Available"),
        (("expire", "--days", "3"), "Expired"),
    ):
        verb, *options = words
        ended = ctl("project", verb, project, *options)
        assert ended.code == 0, ended.err
        assert f"status              {status}" in ended.out
        assert look(plane, project) == (status, "")
    assert plane.work(audited)[-1] == f"project.expire {project}"


@pytest.mark.parametrize(("verb", "number"), [("archive", 2), ("abort", 1), ("delete", 0)])
def test_what_cannot_be_undone_is_asked_about_and_goes_on_in_the_background(
    ctl: Ctl, plane: AdminPlane, verb: str, number: int
) -> None:
    project = plane.work(projects)[number]
    before = look(plane, project)
    refused = ctl("project", verb, project)
    assert (refused.code, look(plane, project)) == (ExitCode.REFUSED_INPUT, before)
    assert "--yes" in refused.err
    done = ctl("project", verb, project, "--yes")
    assert done.code == 0
    assert "ddsctl jobs ls" in done.err
    assert look(plane, project) == (before[0], verb)

    async def jobs(work: Work) -> list[tuple[str, str]]:
        found = await work.session.execute(select(Job))
        return [(job.kind, job.subject) for job in found.scalars()]

    assert plane.work(jobs) == [(endings.END_PROJECT, project)]


def test_a_dry_run_tells_and_refuses_and_changes_nothing(ctl: Ctl, plane: AdminPlane) -> None:
    in_progress, available, _ = plane.work(projects)
    told = ctl("project", "archive", available, "--dry-run", "--json")
    assert told.code == 0
    assert isinstance(told.json, dict)
    assert told.json["project"]["ending"] == "archive"
    assert "nothing was changed" in told.err
    assert look(plane, available) == ("Available", "")
    refused = ctl("project", "expire", in_progress, "--dry-run")
    assert refused.code == ExitCode.REFUSED_INPUT
    assert "You cannot expire a project" in refused.err
    assert plane.work(audited) == []


def test_a_project_nobody_knows_is_refused(ctl: Ctl) -> None:
    refused = ctl("project", "release", "nothing00001")
    assert refused.code == ExitCode.REFUSED_INPUT
    assert "There is no project 'nothing00001'. See: ddsctl project ls" in refused.err


def test_what_is_due_is_listed_and_then_done_in_the_background(ctl: Ctl, plane: AdminPlane) -> None:
    _, available, expired = plane.work(projects)
    for words in (("due",), ("run", "--dry-run")):
        header, first, second = ctl("lifecycle", *words, "--tsv").out.splitlines()
        assert header.split("\t")[:4] == ["project", "unit", "status", "step"]
        assert first.split("\t")[:4] == [expired, "imaging", "Expired", "hide"]
        assert second.split("\t")[:4] == [available, "imaging", "Available", "expire"]
    assert plane.work(audited) == []
    assert ctl("lifecycle", "run", "--json").json == {"started": True, "job": 1}
    assert ctl("lifecycle", "run", "--json").json == {"started": False, "job": None}
    assert plane.work(audited) == ["lifecycle.run all"] * 2


def test_nothing_due_is_said(ctl: Ctl) -> None:
    assert ctl("lifecycle", "due").err == "Nothing is due.\n"


async def hidden(work: Work) -> str:
    unit = await a_unit(work.session)
    project = await a_life(work, Status.ARCHIVED, unit, purge_after=NOW + timedelta(days=3))
    return project.public_id


def test_what_a_deadline_archived_is_restored_or_purged(ctl: Ctl, plane: AdminPlane) -> None:
    for verb, status, ending in (("restore", "Expired", ""), ("purge", "Archived", "purge")):
        project = plane.work(hidden)
        ended = ctl("project", verb, project, *(["--yes"] if verb == "purge" else []))
        assert ended.code == 0, ended.err
        assert look(plane, project) == (status, ending)


async def undo_days(work: Work) -> list[int]:
    return list((await work.session.execute(select(Unit.columns().undo_days))).scalars())


def test_a_units_undo_window_is_set_within_bounds(ctl: Ctl, plane: AdminPlane) -> None:
    plane.work(projects)
    configure = ("lifecycle", "configure", "imaging", "--undo-days")
    assert plane.work(undo_days) == [7]
    assert ctl(*configure, "14", "--dry-run").code == 0
    assert plane.work(undo_days) == [7]
    assert ctl(*configure, "14", "--json").json == {"unit": "imaging", "days": 14, "dry_run": False}
    for wrong in ("-1", "91"):
        assert ctl(*configure, wrong).code == ExitCode.REFUSED_INPUT
    assert plane.work(undo_days) == [14]
    assert plane.work(audited) == ["unit.undo_days imaging"]
    assert (
        ctl("lifecycle", "configure", "no-unit", "--undo-days", "3").code == ExitCode.REFUSED_INPUT
    )


def test_a_refusal_names_the_command_that_leads_on(ctl: Ctl, plane: AdminPlane) -> None:
    in_progress, _, expired = plane.work(projects)
    for words in (("restore",), ("extend", "--days", "3"), ("retract",)):
        refused = ctl("project", words[0], expired, *words[1:])
        assert refused.code == ExitCode.REFUSED_INPUT
        assert (
            f"To make it available again: ddsctl project release {expired} --dry-run" in refused.err
        )
    refused = ctl("project", "expire", in_progress)
    assert f"To make it available: ddsctl project release {in_progress} --dry-run" in refused.err

    async def hide(work: Work) -> None:
        found = await work.session.execute(
            select(Project).where(Project.columns().public_id == expired)
        )
        project = found.scalar_one()
        project.status, project.purge_after = Status.ARCHIVED, NOW + timedelta(days=3)

    plane.work(hide)
    assert f"still kept: ddsctl project restore {expired}" in ctl("project", "release", expired).err


def test_before_data_goes_it_is_told_how_much_there_is(ctl: Ctl, plane: AdminPlane) -> None:
    _, available, _ = plane.work(projects)

    async def deliver(work: Work) -> None:
        found = await work.session.execute(
            select(Project).where(Project.columns().public_id == available)
        )
        project = found.scalar_one()
        project.file_count, project.bytes_stored = 5, 1_100_000

    plane.work(deliver)
    told = "It has 5 files, 1.1 MB; 0 of 0 researchers have not downloaded all of it."
    assert told in ctl("project", "archive", available).err
    assert told in ctl("project", "archive", available, "--dry-run").err
