"""Recovery codes by clicking: kept on paper, typed in when the phone is gone."""

from __future__ import annotations

import pytest

from tests.browser.people import GOOD, give_password, log_in_by_clicking, newest_letter, somebody
from tests.e2e.instance import Instance
from tests.parts.browser import Chromium, Window

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]


def make(window: Window) -> list[str]:
    window.go("/account/recovery-codes")
    window.fill(Your_password=GOOD)
    window.press("Make new codes")
    assert window.heading == "Your new recovery codes"
    return window.page.locator(".codes code").all_inner_texts()


def use(window: Window, username: str, code: str) -> None:
    give_password(window, username)
    window.follow("Use a recovery code")
    window.fill(Recovery_code=code)
    window.press("Log in")


def test_codes_are_made_used_once_and_counted(window: Window, demo: Instance) -> None:
    person = somebody(demo)
    log_in_by_clicking(window, demo, person)
    window.go("/account")
    window.follow("recovery codes")
    window.inspect("recovery-codes-none")
    first, *rest = make(window)
    assert len({first, *rest}) == 10
    window.inspect("recovery-codes-made")
    window.press("Log out")
    give_password(window, person)
    window.inspect("login-code-with-ways")
    window.follow("Use a recovery code")
    window.inspect("login-recovery")
    window.fill(Recovery_code=first.lower().replace("-", " "))
    window.press("Log in")
    assert window.path == "/projects"
    window.go("/account/recovery-codes")
    assert "You have 9 unused codes" in window.text
    window.inspect("recovery-codes")
    assert "9 of them left" in newest_letter(demo, f"{person}@demo.example", "recovery code")
    window.press("Log out")
    use(window, person, first)
    window.trouble.clear()  # the browser notes the 401
    assert "was used already" in window.text
    window.inspect("login-recovery-wrong")


def test_they_work_without_scripts(chromium: Chromium, origin: str, demo: Instance) -> None:
    person = somebody(demo)
    with chromium.window(origin, scripts=False) as window:
        log_in_by_clicking(window, demo, person)
        first, *_ = make(window)
        window.press("Log out")
        use(window, person, first)
        assert window.path == "/projects"


def test_nobody_makes_them_without_the_password(window: Window, demo: Instance) -> None:
    log_in_by_clicking(window, demo, somebody(demo))
    window.go("/account/recovery-codes")
    window.fill(Your_password="Another-one-9")
    window.press("Make new codes")
    window.trouble.clear()  # the browser notes the 400
    assert "This is not your password." in window.text
    assert "You have no unused recovery codes." in window.text
