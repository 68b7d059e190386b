"""What an operator types, and what comes of it."""

from __future__ import annotations

from datetime import timedelta
from importlib.metadata import version
from typing import Any

import pytest
from sqlalchemy import update

from ddsd.access import Role
from ddsd.db import revision
from ddsd.files.tables import Finding, FindingKind
from ddsd.mail import outbox
from ddsd.mail.tables import Mail, MailState
from ddsd.projects.status import Status
from ddsd.users import invites
from ddsd.users.tables import Invite
from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.builders import NOON, a_project, a_unit
from tests.ctl.conftest import Ctl
from tests.lifecycle.life import a_life

CREATE_GENOMICS = (
    "unit",
    "create",
    "genomics",
    "--name",
    "Genomics Platform",
    "--contact",
    "delivery@example.org",
)
CREATE_MARIA = (
    "user",
    "create",
    "maria",
    "--name",
    "Maria Berg",
    "--email",
    "maria@example.org",
    "--role",
    "unit-admin",
    "--unit",
    "genomics",
)


async def two_projects(work: Work) -> None:
    unit = await a_unit(work.session, public_id="imaging", name="[bold]Imaging[/bold]")
    await a_project(work.session, unit, title="Old \x1b[31mand red")
    await a_project(
        work.session,
        unit,
        title="New",
        status=Status.AVAILABLE,
        deadline=NOON + timedelta(days=30),
        created_at=NOON + timedelta(hours=1),
        file_count=3,
        bytes_stored=5 * 1024**3,
    )


async def a_letter(work: Work) -> int:
    mail = await outbox.write(
        work,
        "one_time_code",
        "maria@example.org",
        secret=True,
        name="Maria Berg",
        username="maria",
        code="12345678",
        minutes="15",
    )
    return mail.id


def test_status_as_a_process_says_what_is_there(ctl: Ctl) -> None:
    ended = ctl.process("status")
    assert (ended.code, ended.err) == (0, "")
    lines = dict(line.split("  ", 1) for line in ended.out.splitlines())
    said = {title: text.strip() for title, text in lines.items()}
    assert said["version"] == version("ddsd")
    assert said["database"] == f"sqlite, revision {revision.head()}"
    assert said["store"] == "embedded, answers"
    assert said["mail"].startswith("outbox: nothing is sent")
    assert said["deadlines"] == "none held back"


def test_status_says_plainly_that_deadlines_wait_for_letters(ctl: Ctl, plane: AdminPlane) -> None:
    async def arrange(work: Work) -> None:
        project = await a_life(work, Status.EXPIRED, deadline=NOON)
        mail = await outbox.write(
            work, "project_archived", "x@x.se", title="", public_id=project.public_id, until=""
        )
        mail.state = MailState.FAILED

    plane.work(arrange)
    assert "1 HELD BACK, as letters are not delivered: ddsctl lifecycle due" in ctl("status").out
    told: Any = ctl("status", "--json").json
    assert told["held"] == 1


def test_status_says_plainly_that_the_store_is_away(ctl: Ctl, plane: AdminPlane) -> None:
    plane.store.away = True
    ended = ctl("status")
    assert ended.code == 0
    assert "DOES NOT ANSWER" in ended.out


def test_a_unit_is_made_and_listed(ctl: Ctl) -> None:
    made = ctl(*CREATE_GENOMICS, "--quota", "20TB")
    assert made.code == 0
    assert "internal reference  genomics" in made.out
    assert "ddsctl user create USERNAME --role unit-admin --unit genomics" in made.err
    listed = ctl("unit", "ls", "--tsv").out.splitlines()
    assert listed == [
        "unit\tname\tcontact\tusers\tprojects\tstored\tquota\tused",
        "genomics\tGenomics Platform\tdelivery@example.org\t0\t0\t0\t20000000000000\t0.0",
    ]


def test_researchers_see_the_units_name_unless_another_is_given(ctl: Ctl) -> None:
    made = ctl(*CREATE_GENOMICS, "--json").json
    assert isinstance(made, dict)
    assert made["external_display_name"] == "Genomics Platform"
    assert (made["days_in_available"], made["days_in_expired"]) == (90, 30)


def test_an_account_is_made_with_a_link_and_told_what_to_do_with_it(ctl: Ctl) -> None:
    ctl(*CREATE_GENOMICS)
    made = ctl(*CREATE_MARIA)
    assert made.code == 0
    assert "/set-password#" in made.out
    assert "Send this link to Maria Berg (maria@example.org) alone" in made.out


def test_an_account_in_json_is_only_json(ctl: Ctl) -> None:
    ctl(*CREATE_GENOMICS)
    made = ctl(*CREATE_MARIA, "--json").json
    assert isinstance(made, dict)
    assert set(made) == {"username", "link", "link_hours"}


def test_no_command_takes_a_password(ctl: Ctl) -> None:
    ctl(*CREATE_GENOMICS)
    assert ctl(*CREATE_MARIA, "--password", "secret").code == 2


def test_projects_are_listed_as_a_table(ctl: Ctl, plane: AdminPlane) -> None:
    plane.work(two_projects)
    header, new, old = ctl("project", "ls").out.splitlines()
    assert header.split() == ["project", "unit", "title", "status", "deadline", "files", "stored"]
    assert " ".join(new.split()) == (
        "imaging00002 imaging New Available 2026-04-01 12:00 UTC 3 5.4 GB"
    )
    assert "In Progress" in old


def test_projects_of_one_unit_in_json(ctl: Ctl, plane: AdminPlane) -> None:
    plane.work(two_projects)
    found = ctl("project", "ls", "--unit", "imaging", "--json").json
    assert isinstance(found, list)
    assert [one["deadline"] for one in found] == ["2026-04-01T12:00:00Z", None]


def test_what_others_wrote_cannot_steer_the_terminal(ctl: Ctl, plane: AdminPlane) -> None:
    plane.work(two_projects)
    for form in ((), ("--tsv",), ("--json",)):
        ended = ctl.process("project", "ls", *form, FORCE_COLOR="", TERM="xterm-256color")
        assert "\x1b" not in ended.out
        assert "[31mand red" in ended.out
    assert "[bold]Imaging[/bold]" in ctl("unit", "ls").out


def test_letters_are_listed_and_shown(ctl: Ctl, plane: AdminPlane) -> None:
    number = plane.work(a_letter)
    assert "maria@example.org" in ctl("mail", "ls").out
    assert "There are no letters." in ctl("mail", "ls", "--to", "other@example.org").err
    shown = ctl("mail", "show", str(number))
    assert shown.code == 0
    assert "12345678" in shown.out


def test_a_letter_that_failed_is_told_of_and_sent_again(ctl: Ctl, plane: AdminPlane) -> None:
    async def failed(work: Work) -> int:
        number = await a_letter(work)
        mail = await work.session.get_one(Mail, number)
        mail.state, mail.attempts, mail.sent_by = MailState.FAILED, 3, outbox.SEND_MAIL
        mail.last_error = f"454 {'Relaying is not permitted. ' * 20}"
        return number

    number = plane.work(failed)
    assert "1 failed (ddsctl mail ls --state failed" in ctl("status").out
    assert len(ctl("mail", "ls", "--state", "failed").out.splitlines()[1]) < 250
    assert ctl("mail", "ls", "--state", "sent", "--json").json == []
    told: Any = ctl("mail", "resend", "--failed", "--dry-run", "--json").json
    assert told["count"] == 1
    queued: Any = ctl("mail", "resend", str(number), "--json").json
    assert (queued["id"], queued["state"]) == (number, "queued")
    again = ctl("mail", "resend", str(number))
    assert (again.code, "only a failed one" in again.err) == (65, True)
    none: Any = ctl("mail", "resend", "--failed", "--json").json
    assert none["count"] == 0
    assert ctl("mail", "resend").code == 2


def test_status_says_plainly_what_waits_for_an_operator(ctl: Ctl, plane: AdminPlane) -> None:
    async def arrange(work: Work) -> None:
        work.session.add(
            Finding(
                kind=FindingKind.FILE_WITHOUT_OBJECT,
                bucket="b",
                key="a",
                name="a",
                found_at=work.now,
                seen_at=work.now,
            )
        )

    assert "store and database agree" in ctl("status").out
    plane.work(arrange)
    ctl("maintenance", "on")
    said = ctl("status").out
    assert "ON: closed for all but super admins (ddsctl maintenance off)" in said
    assert "DISAGREE: 1 file-without-object (ddsctl files lost ls)" in said


def test_a_unit_tells_how_many_admins_it_has_and_needs(ctl: Ctl) -> None:
    ctl(*CREATE_GENOMICS)
    ctl(*CREATE_MARIA)
    shown = ctl("unit", "show", "genomics")
    assert "1, 0 of them with a password; a unit needs two to create projects" in shown.out


def test_who_has_only_mailed_codes_has_nothing_to_reset(ctl: Ctl) -> None:
    ctl(*CREATE_GENOMICS)
    ctl(*CREATE_MARIA)
    assert "nothing else to forget" in ctl("user", "reset-2fa", "maria", "--yes").err


def test_the_revision_is_shown(ctl: Ctl, plane: AdminPlane) -> None:
    assert ctl("db", "current", "--json").json == {
        "database": plane.services.settings.database_url,
        "current": revision.head(),
        "head": revision.head(),
    }


@pytest.mark.parametrize("words", [("--json", "unit", "ls"), ("unit", "ls", "--json")])
def test_json_may_stand_before_or_after_the_command(ctl: Ctl, words: tuple[str, ...]) -> None:
    assert ctl(*words).json == []


def test_json_and_tsv_exclude_each_other(ctl: Ctl) -> None:
    assert ctl("unit", "ls", "--json", "--tsv").code == 2


def test_an_empty_list_prints_nothing_but_a_hint(ctl: Ctl) -> None:
    for words in (("unit", "ls"), ("project", "ls"), ("mail", "ls")):
        ended = ctl(*words)
        assert (ended.code, ended.out) == (0, "")
        assert ended.err.startswith("There are no ")


def test_a_dry_run_makes_nothing_and_shows_no_link(ctl: Ctl) -> None:
    rehearsed = ctl(*CREATE_GENOMICS, "--dry-run")
    assert (rehearsed.code, "nothing was changed" in rehearsed.err) == (0, True)
    assert ctl("unit", "ls", "--json").json == []
    assert ctl(*CREATE_MARIA, "--dry-run").code != 0  # there is no such unit
    assert ctl(*CREATE_GENOMICS).code == 0
    maria = ctl(*CREATE_MARIA, "--dry-run", "--json").json
    assert isinstance(maria, dict)
    assert (maria["username"], maria["link"]) == ("maria", "")
    assert (
        ctl("invite", "create", "eva@example.org", "--role", "super-admin", "--dry-run").code == 0
    )
    for noun in ("user", "invite", "mail"):
        assert ctl(noun, "ls", "--json").json == []


async def an_old_invite(work: Work) -> None:
    await invites.create(
        work,
        email="old@example.org",
        role=Role.SUPER_ADMIN,
        unit_id=None,
        inviter="somebody",
        unit_contact=None,
    )
    await work.session.execute(update(Invite).values(expires_at=NOON - timedelta(seconds=1)))


def test_old_invites_are_counted_and_then_forgotten(ctl: Ctl, plane: AdminPlane) -> None:
    plane.work(an_old_invite)
    assert ctl("invite", "expire", "--dry-run", "--json").json == {"count": 1, "dry_run": True}
    assert ctl("invite", "expire", "--json").json == {"count": 1, "dry_run": False}
    assert ctl("invite", "expire", "--json").json == {"count": 0, "dry_run": False}
