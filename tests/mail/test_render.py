"""What every letter says, whatever is in its facts."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import jinja2
import pytest

from ddsd.errors import NotFound
from ddsd.mail.render import Fact, common_facts, kinds, render
from ddsd.mail.samples import SAMPLES, preview
from tests.mail.builders import settings

SUBJECTS: Final = {
    "one_time_code": "DDS One-Time Authentication Code",
    "set_password": "Set the password of your account in the Sequencing Core",
    "invite": "Genomics Unit invites you to the Sequencing Core",
    "recovery_kit": "A recovery kit was made: Genomics Unit in the Sequencing Core",
    "project_released": "Project made available by Genomics Unit in the Sequencing Core",
    "project_archived": "Project unit00001 was archived in the Sequencing Core",
    "activate_app": "Request to activate two-factor with authenticator app for Sequencing Core",
    "activate_mail": "Request to activate two-factor authentication with email for Sequencing Core",
    "confirm_deletion": "Confirm deletion of your user account kim in the Sequencing Core",
    "reset_password": "WARNING! Password Reset Request for Sequencing Core",
    "access_lost_admin": "WARNING! A Unit Admin has lost access",
    "confirm_email": "Confirm your new e-mail address for the Sequencing Core",
    "email_taken": "This e-mail address is in use already in the Sequencing Core",
    "email_changed": "The e-mail address of your account in the Sequencing Core was changed",
    "password_changed": "Your password was changed in the Sequencing Core",
    "security_notice": "The ways to log in to your account in the Sequencing Core have changed",
    "recovery_code_used": "A recovery code of your account in the Sequencing Core was used",
    "second_factor_changed": "Your second factor was changed in the Sequencing Core",
    "second_factor_reset": "Your second factor was reset in the Sequencing Core",
    "motd": "Important Information: Sequencing Core",
    "deadline_reminder": "Project unit00001 can be downloaded until 2026-11-29 23:59:59 UTC",
    "deadlines_summary": "Deadlines of Genomics Unit in the Sequencing Core",
    "deadlines_held": "Projects are not archived, as letters about them are not delivered (Sequencing Core)",
    "usage_available": "[INVOICING CRONJOB] (Sequencing Core) Usage records available for collection",
    "usage_failed": "[INVOICING CRONJOB] (Sequencing Core) <ERROR> Error in monthly-usage cronjob",
    "usage_sent": "[SEND-USAGE CRONJOB] Usage records attached in the present mail",
    "quota_warning": "DDS: Usage quota warning!",
    "statistics_failed": "[CRONJOB] Error during collection of DDS unit and user statistics.",
}
COMMANDS: Final = ("dds ls -p unit00001", "dds data get -p unit00001 -a --verify-checksum")
NASTY: Final = (
    "Åsa & <script>alert(1)</script>\r\nBcc: victim@x.example\n\n\x00\x1b[31m{{ 7*7 }}{% raw %}"
    '\u2028\u202egnp.exe\ud800 =?utf-8?q?a=0ABcc:v?= "quoted" 日本語'
)
ALL_KINDS: Final = sorted(kinds())


def facts(kind: str) -> dict[str, Fact]:
    return common_facts(settings()) | dict(SAMPLES[kind])


def texts(fact: Fact) -> list[str]:
    """Return every text in a fact."""
    return [fact] if isinstance(fact, str) else [one for row in fact for one in row.values()]


def nasty_as(fact: Fact) -> Fact:
    """Return a nasty fact of the same shape."""
    return NASTY if isinstance(fact, str) else [dict.fromkeys(row, NASTY) for row in fact]


def test_every_kind_is_tried_here() -> None:
    assert set(SAMPLES) == kinds()


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_subject_is_what_stock_users_know(kind: str) -> None:
    assert render(kind, facts(kind)).subject == SUBJECTS[kind]


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_text_and_html_state_every_fact_and_whom_to_ask(kind: str) -> None:
    letter = render(kind, facts(kind))
    for fact in [*SAMPLES[kind].values(), "Sequencing Core", "help@core.example"]:
        for text in texts(fact):
            assert text in letter.text
            assert text in letter.html


def test_a_release_states_the_two_commands_each_on_a_line_of_its_own() -> None:
    letter = render("project_released", facts("project_released"))
    for command in COMMANDS:
        assert command in [line.strip() for line in letter.text.splitlines()]
        assert f">{command}</pre>" in letter.html


def test_an_invite_by_somebody_without_a_unit_names_the_facility_contact() -> None:
    without = {name: fact for name, fact in facts("invite").items() if name != "unit_contact"}
    assert "ask Genomics Unit or write to help@core.example" in render("invite", without).text


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_nasty_facts_add_no_line_no_element_and_no_control_character(kind: str) -> None:
    harmless = render(kind, facts(kind))
    nasty = render(kind, {name: nasty_as(fact) for name, fact in facts(kind).items()})
    assert len(nasty.text.splitlines()) == len(harmless.text.splitlines())
    assert len(re.findall("<[a-z]", nasty.html)) == len(re.findall("<[a-z]", harmless.html))
    assert len(nasty.subject.splitlines()) == 1
    for part in (nasty.subject, nasty.text, nasty.html):
        assert not [c for c in part if unicodedata.category(c) in {"Cc", "Cs", "Zl"} and c != "\n"]
        assert "\u202e" not in part
        assert "49" not in part.replace("Bcc", "")
        part.encode()


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_html_loads_nothing_and_runs_nothing(kind: str) -> None:
    assert not re.search(
        r"<(img|script|link|iframe|object|form)|url\(|src=|@import|\son\w+=",
        render(kind, facts(kind)).html,
    )


@pytest.mark.parametrize(
    ("kind", "missing"), [(kind, fact) for kind in ALL_KINDS for fact in SAMPLES[kind]]
)
def test_a_letter_without_a_needed_fact_is_not_rendered(kind: str, missing: str) -> None:
    if (kind, missing) == ("invite", "unit_contact"):
        return
    with pytest.raises(jinja2.UndefinedError, match=missing):
        render(kind, {name: fact for name, fact in facts(kind).items() if name != missing})


def test_a_colleague_is_told_the_command_that_gives_access_back() -> None:
    letter = render("access_lost_admin", facts("access_lost_admin"))
    assert "dds project access fix kim@example.org" in [
        line.strip() for line in letter.text.splitlines()
    ]


def test_a_preview_has_links_that_lead_to_this_service() -> None:
    letter = preview(settings(), "reset_password")
    assert f"    {settings().instance.public_url}/reset-password#" in letter.text


def test_there_is_no_preview_of_an_unknown_kind() -> None:
    with pytest.raises(NotFound, match="There are: access_lost_admin, "):
        preview(settings(), "birthday")


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(jinja2.TemplateNotFound):
        render("birthday", facts("invite"))
