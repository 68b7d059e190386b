"""Messages of the day and reminders at the command line: what is asked first, what is printed, what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from ddsd.jobs.tables import Job
from ddsd.projects.status import Status, deadline_after
from ddsd.projects.tables import Membership, StatusEntry
from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.builders import a_project, a_unit, a_user
from tests.ctl.conftest import Ctl


async def people(work: Work) -> None:
    await a_unit(work.session, public_id="imaging")
    await a_user(work.session, email="rolf@example.org")
    await a_user(work.session, email="eva@example.org")


@pytest.fixture
def staffed(ctl: Ctl, plane: AdminPlane) -> Ctl:
    """Ctl for a service with a unit and two researchers."""
    plane.work(people)
    return ctl


def jobs(plane: AdminPlane) -> list[tuple[str, str]]:
    async def listed(work: Work) -> list[tuple[str, str]]:
        table = Job.columns()
        found = await work.session.execute(select(table.kind, table.subject).order_by(table.id))
        return [(str(kind), str(subject)) for kind, subject in found]

    return plane.work(listed)


def test_a_message_is_added_listed_and_deactivated(ctl: Ctl) -> None:
    assert ctl("motd", "ls").err == "No message is shown.\n"
    assert ctl("motd", "add", "Closed on Sunday.", "--tsv").out.splitlines()[-1] == (
        "message\tClosed on Sunday."
    )
    assert "Closed on Sunday." in ctl("motd", "ls").out
    assert ctl("motd", "deactivate", "1", "--json").code == 0
    assert ctl("motd", "ls").out == ""
    (line,) = ctl("motd", "ls", "--all", "--tsv").out.splitlines()[1:]
    assert line.split("\t")[2:] == ["false", "Closed on Sunday."]
    for words, why in (
        (("add", ""), "No MOTD specified."),
        (("deactivate", "1"), "MOTD with id 1 is not active."),
        (("deactivate", "9"), "MOTD with id 9 does not exist"),
        (("send", "1", "--yes"), "add it again with ddsctl motd add"),
        (("send", "9", "--yes"), "There is no active MOTD with ID '9'."),
    ):
        ended = ctl("motd", *words)
        assert (ended.code, ended.out) == (65, "")
        assert why in ended.err


def test_mailing_a_message_is_counted_asked_and_left_to_a_job(
    staffed: Ctl, plane: AdminPlane
) -> None:
    staffed("motd", "add", "Closed on Sunday.")
    told = {"id": 1, "unit_only": False, "people": 2}
    assert staffed("motd", "send", "1", "--dry-run", "--json").json == told
    assert jobs(plane) == []
    asked = staffed("motd", "send", "1")
    assert asked.code == 65
    assert "Mail message 1 to 2 people? There is nobody to ask" in asked.err
    assert jobs(plane) == []
    assert staffed("motd", "send", "1", "--yes", "--json").json == told
    assert jobs(plane) == [("send_motd", "1")]
    assert staffed("motd", "send", "1", "--unit-only", "--dry-run", "--json").json == {
        "id": 1,
        "unit_only": True,
        "people": 0,
    }


def test_a_units_days_are_set_and_shown(staffed: Ctl) -> None:
    usual = {"unit": "imaging", "days": [14, 7, 1], "own": False}
    assert staffed("reminders", "ls", "--json").json == [usual]
    for words, days, own in (
        (("--days", "7,21"), [21, 7], True),
        (("--off",), [], True),
        (("--default",), [14, 7, 1], False),
    ):
        now = staffed("reminders", "set", "imaging", *words, "--json").json
        assert now == {"unit": "imaging", "days": days, "own": own}
        assert staffed("reminders", "ls", "--json").json == [now]
    assert "never" in staffed("reminders", "set", "imaging", "--off").out
    mistaken: tuple[tuple[str, ...], ...] = ((), ("--off", "--default"), ("--days", "7", "--off"))
    for given in mistaken:
        assert staffed("reminders", "set", "imaging", *given).code == 2
    assert staffed("reminders", "set", "imaging", "--days", "91").code == 65
    assert staffed("reminders", "set", "nosuch", "--off").code == 65


def test_what_is_due_is_told_and_written_only_when_asked(ctl: Ctl, plane: AdminPlane) -> None:
    assert ctl("reminders", "due").err == "No reminder is due.\n"
    assert ctl("reminders", "send", "--yes").err == "No reminder is due.\n"
    plane.work(a_project_that_ends)
    for words in (("due",), ("send", "--dry-run")):
        (one,) = ctl("reminders", *words, "--tsv").out.splitlines()[1:]
        assert one.split("\t")[3:] == ["7", "1", "rolf@example.org", "true"]
    assert jobs(plane) == []
    assert "Remind 1 people of 1 projects?" in ctl("reminders", "send").err
    assert jobs(plane) == []
    assert ctl("reminders", "send", "--yes").code == 0
    assert jobs(plane) == [("remind", "all")]


async def a_project_that_ends(work: Work) -> None:
    """Make one that ends in five days, released long ago, which nobody has fetched."""
    unit = await a_unit(work.session)
    deadline = deadline_after(work.now, 5)
    project = await a_project(
        work.session, unit, status=Status.AVAILABLE, deadline=deadline, file_count=1
    )
    user = await a_user(work.session, email="rolf@example.org")
    work.session.add(Membership(project_id=project.id, user_id=user.id))
    released = work.now - timedelta(days=30)
    work.session.add(
        StatusEntry(project_id=project.id, status=Status.AVAILABLE, deadline=deadline, at=released)
    )


def test_days_that_are_too_many_are_told_how_many_may_be(staffed: Ctl) -> None:
    refused = staffed("reminders", "set", "imaging", "--days", "100")
    assert (refused.code, "from 1 to 90" in refused.err) == (65, True)
