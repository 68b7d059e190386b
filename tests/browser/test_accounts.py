"""An account by clicking: login, projects, password, app, deletion; and a unit's recovery kit."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pyotp
import pytest

from tests.browser.people import (
    EVERYBODYS,
    GOOD,
    a_name,
    ask_for_app_link,
    ask_for_mail_link,
    give_password,
    link_in,
    log_in_by_clicking,
    newest_letter,
    somebody,
)
from tests.e2e.instance import Instance
from tests.parts.browser import Chromium, Window

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]

OTHER = GOOD + "8"


def test_a_researcher_logs_in_sees_projects_and_logs_out(window: Window, demo: Instance) -> None:
    window.go("/projects")
    assert window.path == "/login"
    window.inspect("login")
    window.fill(Username="researchuser_1", Password="wrong")
    window.press("Continue")
    window.trouble.clear()  # the browser notes the 401
    assert "do not fit together" in window.text
    window.inspect("login-wrong")
    window.fill(Password=EVERYBODYS)
    window.press("Continue")
    window.inspect("login-code")
    window.fill(**{"One-time_code": "00000000"})
    window.press("Log in")
    window.trouble.clear()
    window.inspect("login-code-wrong")
    window.fill(**{"One-time_code": demo.code_of("researchuser_1")})
    window.press("Log in")
    assert window.path == "/projects"
    assert "unit100001" in window.text
    window.inspect("projects")
    window.press("Log out")
    window.go("/projects")
    assert window.path == "/login"


def test_it_works_without_scripts(chromium: Chromium, origin: str, demo: Instance) -> None:
    person = somebody(demo)
    with chromium.window(origin, scripts=False) as window:
        log_in_by_clicking(window, demo, person)
        assert window.path == "/projects"
        window.go("/account")
        window.fill(
            The_password_you_have_now=GOOD, New_password=OTHER, The_same_password_again=OTHER
        )
        window.press("Change the password")
        assert window.heading == "Your password is changed"
        window.press("Log out")
        give_password(window, person, OTHER)
        assert window.path == "/login/code"


def test_a_password_is_changed_and_other_logins_end(
    chromium: Chromium, window: Window, origin: str, demo: Instance
) -> None:
    person = somebody(demo)
    with chromium.window(origin) as elsewhere:
        log_in_by_clicking(elsewhere, demo, person)
        log_in_by_clicking(window, demo, person)
        window.go("/account")
        window.inspect("account")
        window.fill(
            The_password_you_have_now=GOOD, New_password="short", The_same_password_again="short"
        )
        window.press("Change the password")
        window.trouble.clear()  # the browser notes the 400
        window.inspect("account-wrong")
        window.fill(
            The_password_you_have_now=GOOD, New_password=OTHER, The_same_password_again=OTHER
        )
        window.press("Change the password")
        window.inspect("password-changed")
        elsewhere.go("/projects")
        assert elsewhere.path == "/login"
    window.go("/account")
    window.press("Sign out everywhere, here too")
    assert window.path == "/login"


def test_an_app_becomes_the_second_factor(window: Window, demo: Instance) -> None:
    person = somebody(demo)
    log_in_by_clicking(window, demo, person)
    window.go("/account/app")
    window.inspect("app-begin")
    window.fill(Your_password=GOOD)
    window.press("Continue")
    window.inspect("app-code")
    app = pyotp.TOTP(window.page.locator("main pre code").inner_text().replace(" ", ""))
    window.page.locator("#otp").fill(app.at(datetime.now(UTC)))
    window.page.locator("main form button").first.click()
    window.page.wait_for_url("**/account/second-factor-changed")
    window.inspect("second-factor-changed")
    window.go("/account/mail")
    window.inspect("mail-again")
    window.fill(Your_password=GOOD)
    window.press("Get codes by e-mail")
    assert window.heading == "Your second factor is changed"


def test_mailed_links_switch_the_second_factor(window: Window, demo: Instance) -> None:
    person = somebody(demo)
    link = ask_for_app_link(demo, person)
    log_in_by_clicking(window, demo, person)
    window.go(link)
    assert "#" not in window.page.url
    window.inspect("activate-app")
    window.press("Show the QR code")
    app = pyotp.TOTP(window.page.locator("main pre code").inner_text().replace(" ", ""))
    window.page.locator("#otp").fill(app.at(datetime.now(UTC)))
    window.press("Use this app from now on")
    window.press("Log out")
    give_password(window, person)
    assert window.page.get_by_label("Code of your authenticator app").is_visible()
    window.inspect("login-app")
    window.go(ask_for_mail_link(demo, person))
    assert "#" not in window.page.url
    window.inspect("activate-mail")
    window.press("Get codes by e-mail")
    assert window.heading == "You get codes by e-mail again"
    log_in_by_clicking(window, demo, person)
    assert window.path == "/projects"


def test_a_name_and_an_address_are_changed(window: Window, demo: Instance) -> None:
    person, new = somebody(demo), f"{a_name()}@demo.example"
    log_in_by_clicking(window, demo, person)
    window.go("/account")
    window.follow("Change the name")
    window.inspect("name")
    window.fill(Your_name="Åsa Öberg")
    window.press("Change the name")
    assert "Åsa Öberg" in window.text
    window.follow("Change the e-mail address")
    window.inspect("email")
    window.fill(**{"New_e-mail_address": new, "Your_password": GOOD})
    window.press("Send me the link")
    assert window.heading == "Open your mail"
    window.inspect("email-asked")
    window.go(link_in(newest_letter(demo, new, "Confirm your new")))
    assert "#" not in window.page.url
    window.inspect("confirm-email")
    window.press("Use this address")
    assert window.heading == "Your e-mail address is changed"
    window.inspect("email-changed")
    assert new in newest_letter(demo, f"{person}@demo.example", "address of your account")


def test_a_forgotten_password_is_reset(window: Window, demo: Instance) -> None:
    person = somebody(demo)
    address = f"{person}@demo.example"
    window.go("/login")
    window.follow("I forgot my password")
    window.inspect("forgot-password")
    window.page.locator("#email").fill(address)
    window.press("Send me a link")
    window.inspect("reset-requested")
    window.go(link_in(newest_letter(demo, address, "Password Reset")))
    window.page.locator("#password").wait_for()
    assert "#" not in window.page.url
    window.inspect("reset-password")
    window.fill(New_password=OTHER, The_same_password_again=OTHER)
    window.press("Reset the password, and lose access")
    window.inspect("reset-done")
    give_password(window, person, OTHER)
    assert window.path == "/login/code"


def test_an_account_is_deleted_by_its_person(window: Window, demo: Instance) -> None:
    person = somebody(demo)
    log_in_by_clicking(window, demo, person)
    window.go("/account/delete")
    window.inspect("delete-account")
    window.press("Send me the link")
    window.inspect("deletion-requested")
    window.go(link_in(newest_letter(demo, f"{person}@demo.example", "delet")))
    window.inspect("confirm-deletion")
    window.press("Delete my account")
    window.inspect("deleted")
    give_password(window, person)
    window.trouble.clear()  # the browser notes the 401
    assert "do not fit together" in window.text


def test_a_unit_admin_makes_a_recovery_kit(window: Window, demo: Instance) -> None:
    log_in_by_clicking(window, demo, "unitadmin_2", EVERYBODYS)
    window.go("/recovery-kit")
    window.inspect("kit-none")
    window.follow("Make a recovery kit")
    window.inspect("kit-new")
    window.fill(Your_password=EVERYBODYS)
    window.press("Show the words")
    window.inspect("kit-words")
    words = re.findall(r"\b[a-z]{3,8}\b", window.page.locator("ol").inner_text())
    assert len(words) == 24
    window.go("/recovery-kit")
    window.inspect("kit")
    window.follow("Restore access with the words")
    window.inspect("kit-restore")
    window.page.locator("#words").fill(" ".join(words))
    window.press("Restore access")
    assert window.heading == "Access is restored"
    window.inspect("kit-restored")
    window.go("/recovery-kit/new")
    window.inspect("kit-replace")
    window.fill(Your_password=EVERYBODYS)
    window.press("Replace it and show the words")
    assert words != re.findall(r"\b[a-z]{3,8}\b", window.page.locator("ol").inner_text())
    window.go("/recovery-kit/revoke")
    window.inspect("kit-revoke")
    window.fill(Your_password=EVERYBODYS)
    window.press("Revoke it")
    assert "has no recovery kit" in window.text
