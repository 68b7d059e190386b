"""People at the command line: what is asked first, what is printed, what a script can rely on."""

from __future__ import annotations

import pytest

from ddsd.audit import trail
from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.builders import a_project, a_unit, a_user
from tests.ctl.conftest import Ctl


async def people(work: Work) -> None:
    unit = await a_unit(work.session, public_id="imaging")
    await a_project(work.session, unit)
    await a_user(work.session, username="rolf", name="Rolf Ås", email="rolf@example.org")


@pytest.fixture
def staffed(ctl: Ctl, plane: AdminPlane) -> Ctl:
    """Ctl for a service with a unit, a project and somebody called rolf."""
    plane.work(people)
    return ctl


def test_an_account_is_shown_line_by_line(staffed: Ctl) -> None:
    shown = staffed("user", "show", "rolf")
    lines = dict(line.split("  ", 1) for line in shown.out.splitlines())
    assert lines["name"].strip() == "Rolf Ås"
    assert lines["second factor"].strip() == "mail"
    assert lines["sessions"].strip() == "0"


def test_an_account_that_is_not_there_is_refused_input(staffed: Ctl) -> None:
    for words in (("show", "x/../y"), ("link", "ro1f"), ("activate", ".."), ("delete", "x", "-y")):
        ended = staffed("user", *words)
        assert (ended.code, ended.out) == (65, "")
    assert "Did you mean 'rolf'?" in staffed("user", "show", "ro1f").err


@pytest.mark.parametrize(
    "words",
    [
        ("user", "deactivate", "rolf"),
        ("user", "reset-2fa", "rolf"),
        ("user", "set-email", "rolf", "new@example.org"),
        ("user", "delete", "rolf"),
        ("session", "revoke", "--user", "rolf"),
        ("invite", "delete", "new@example.org"),
    ],
)
def test_nothing_that_hurts_is_done_unasked(staffed: Ctl, words: tuple[str, ...]) -> None:
    ended = staffed(*words)
    assert (ended.code, ended.out) == (65, "")
    assert "say so with --yes" in ended.err
    assert staffed("audit", "ls", "--json").json == []


def test_an_account_is_closed_opened_reset_and_deleted(staffed: Ctl) -> None:
    closed = staffed("user", "deactivate", "rolf", "--yes", "--json").json
    assert isinstance(closed, dict)
    assert closed["user"]["active"] is False
    assert staffed("user", "activate", "rolf").code == 0
    again = staffed("user", "activate", "rolf")
    assert (again.code, again.err) == (65, "ddsctl: User is already reactivated!\n")
    assert staffed("user", "reset-2fa", "rolf", "-y").code == 0
    assert "second factor was reset" in staffed("mail", "ls").out
    moved = staffed("user", "set-email", "rolf", "Rolf@New.example.org", "--yes", "--json").json
    assert isinstance(moved, dict)
    assert moved["emails"] == ["rolf@new.example.org"]
    assert staffed("user", "set-email", "rolf", "no address", "-y").code == 65
    assert "e-mail address of your account" in staffed("mail", "ls").out
    assert staffed("user", "set-email", "rolf", "rolf@example.org", "-y").code == 0
    assert staffed("user", "delete", "rolf", "--yes", "--tsv").out.splitlines() == [
        "deleted\trolf",
        "email\trolf@example.org",
        "role\tresearcher",
    ]
    assert staffed("user", "show", "rolf").code == 65


def test_a_new_link_is_shown_with_whom_to_send_it_to(staffed: Ctl) -> None:
    made = staffed("user", "link", "rolf")
    assert "/set-password#" in made.out
    assert "Send this link to rolf alone" in made.out


def test_an_invite_tells_which_projects_stay_closed(staffed: Ctl) -> None:
    words = ("invite", "create", "new@example.org", "--role", "unit-admin", "--unit", "imaging")
    made = staffed(*words)
    assert made.code == 0
    assert "imaging00001" in made.err
    assert "dds project access fix new@example.org" in made.err
    assert staffed(*words).code == 65
    assert (
        staffed("invite", "ls", "--tsv")
        .out.splitlines()[1]
        .startswith("new@example.org\tunit-admin\timaging\t\t")
    )
    assert staffed("invite", "delete", "new@example.org", "--yes").code == 0
    assert staffed("invite", "ls").err == "There are no invites.\n"
    assert "new@example.org" in staffed("mail", "ls").out


def test_an_account_beside_an_invite_is_refused_with_the_way_on(staffed: Ctl) -> None:
    staffed("invite", "create", "new@example.org", "--role", "super-admin")
    words = ("--name", "New", "--email", "new@example.org", "--role", "researcher")
    refused = staffed("user", "create", "new", *words)
    assert refused.code == 65
    assert "ddsctl invite delete new@example.org" in refused.err


@pytest.mark.parametrize("words", [(), ("3", "--user", "rolf")])
def test_revoking_needs_to_know_what(staffed: Ctl, words: tuple[str, ...]) -> None:
    assert staffed("session", "revoke", *words, "--yes").code == 2


def test_sessions_of_nobody_are_none(staffed: Ctl) -> None:
    assert staffed("session", "ls", "--user", "rolf").err == "There are no sessions.\n"
    assert staffed("session", "revoke", "7", "--yes").code == 65
    ended = staffed("session", "revoke", "--user", "rolf", "--yes", "--json")
    assert ended.json == {"sessions": 0}


async def history(work: Work) -> None:
    for number in range(1, 1202):
        trail.record(work, "unit.create", f"unit{number}", number=number)


def test_the_audit_log_is_listed_over_as_many_pages_as_it_takes(
    ctl: Ctl, plane: AdminPlane
) -> None:
    plane.work(history)
    for words, count in (((), 50), (("--limit", "1100"), 1100), (("--limit", "0"), 1201)):
        found = ctl("audit", "ls", "--json", *words).json
        assert isinstance(found, list)
        assert [one["facts"]["number"] for one in found] == list(range(1201, 1201 - count, -1))


@pytest.mark.parametrize(
    ("when", "code", "lines"),
    [
        ("2h", 0, 4),
        ("2020-01-01", 0, 4),
        ("2020-01-01T10:00+02:00", 0, 4),
        ("2999-01-01", 0, 1),
        ("tomorrow", 2, 0),
        ("9999999w", 2, 0),
    ],
)
def test_since_is_a_date_a_moment_or_an_age(staffed: Ctl, when: str, code: int, lines: int) -> None:
    for verb in ("deactivate", "activate", "deactivate"):
        staffed("user", verb, "rolf", *(["--yes"] if verb == "deactivate" else []))
    ended = staffed("audit", "ls", "--tsv", "--since", when)
    assert (ended.code, len(ended.out.splitlines())) == (code, lines)


def test_the_log_is_narrowed_by_who_what_and_to_whom(staffed: Ctl) -> None:
    staffed("user", "deactivate", "rolf", "--yes")
    staffed("maintenance", "on")
    for words, count in (
        (("--action", "user"), 1),
        (("--subject", "maintenance"), 1),
        (("--actor", "rolf"), 0),
        ((), 2),
    ):
        found = staffed("audit", "ls", "--json", *words).json
        assert isinstance(found, list)
        assert len(found) == count
    assert "sessions_ended: 0" in staffed("audit", "ls", "--subject", "rolf").out


def test_maintenance_is_turned_and_shown(ctl: Ctl) -> None:
    for words, closed in (
        (("show",), False),
        (("on",), True),
        (("show",), True),
        (("off",), False),
    ):
        assert ctl("maintenance", *words, "--json").json == {"on": closed}


def test_a_letter_is_previewed_as_text_or_html(ctl: Ctl) -> None:
    assert "invite" in ctl("mail", "preview").out
    assert "/register#" in ctl("mail", "preview", "invite").out
    assert ctl("mail", "preview", "invite", "--html").out.startswith("<!DOCTYPE html>")
    assert ctl("mail", "preview", "nothing").code == 65
    assert ctl("mail", "ls").err == "There are no letters.\n"


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ddsctl user show ro", "rolf"),
        ("ddsctl user create eva --unit ima", "imaging"),
        ("ddsctl mail preview second_factor_r", "second_factor_reset"),
    ],
)
def test_the_shell_completes_names_the_daemon_knows(staffed: Ctl, line: str, offered: str) -> None:
    words = line.split()
    ended = staffed.process(
        _DDSCTL_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)
    )
    assert ended.out.split() == [offered]


def test_a_daemon_that_is_away_completes_nothing_and_says_nothing(ctl_alone: Ctl) -> None:
    ended = ctl_alone.process(
        _DDSCTL_COMPLETE="complete_bash", COMP_WORDS="ddsctl user show ", COMP_CWORD="3"
    )
    assert (ended.out.strip(), ended.err) == ("", "")
