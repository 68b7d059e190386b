"""Passkeys with the authenticator that Chromium itself simulates: what a person with a security key sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.people import GOOD, give_password, log_in_by_clicking, somebody
from tests.e2e.instance import Instance
from tests.parts.browser import Chromium, Window

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]

NAME = "Blue security key"


@pytest.fixture
def origin(demo: Instance) -> str:
    """The demo under its name: browsers offer no passkeys to a bare address."""
    return f"http://localhost:{demo.port}"


@pytest.fixture
def authenticator(window: Window) -> Iterator[str]:
    """A security key in the window's computer, touched whenever it blinks."""
    window.devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "usb",
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    added = window.devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield str(added["authenticatorId"])
    window.devtools.send("WebAuthn.disable")


def begin_adding(window: Window) -> None:
    window.go("/account/passkeys")
    window.fill(Your_password=GOOD)
    window.press("Continue")


def add(window: Window, name: str = NAME) -> None:
    begin_adding(window)
    window.fill(A_name_for_it=name)
    window.page.get_by_role("button", name="Make the passkey").click()
    window.page.wait_for_url("**/account/passkeys")
    window.page.get_by_role("cell", name=name, exact=True).wait_for()


def log_in_with_it(window: Window, username: str) -> None:
    give_password(window, username)
    window.page.get_by_role("button", name="Use a passkey").click()


def credential_of(window: Window, authenticator: str) -> dict[str, Any]:
    held = window.devtools.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})
    [credential] = held["credentials"]
    return dict(credential)


def test_a_passkey_is_added_logs_in_and_is_removed(
    window: Window, demo: Instance, authenticator: str
) -> None:
    person = somebody(demo)
    log_in_by_clicking(window, demo, person)
    window.go("/account")
    window.follow("passkeys")
    window.inspect("passkeys-none")
    begin_adding(window)
    window.inspect("passkey-new")
    add(window)
    window.inspect("passkeys")
    assert "never" in window.text
    window.press("Log out")
    give_password(window, person)
    window.inspect("login-passkey-first")
    window.page.get_by_role("button", name="Use a passkey").click()
    window.page.wait_for_url("**/projects")
    assert credential_of(window, authenticator)["signCount"] > 1
    window.go("/account/passkeys")
    assert "never" not in window.text
    window.press(f"Remove {NAME}")
    assert "You have none yet." in window.text


def test_the_login_goes_on_to_the_page_that_was_asked_for(
    window: Window, demo: Instance, authenticator: str
) -> None:
    person = somebody(demo)
    log_in_by_clicking(window, demo, person)
    add(window)
    window.press("Log out")
    window.go("/account")
    assert window.path == "/login"
    window.fill(Username=person, Password=GOOD)
    window.press("Continue")
    window.page.get_by_role("button", name="Use a passkey").click()
    window.page.wait_for_url("**/account")


def test_a_key_is_not_added_twice(window: Window, demo: Instance, authenticator: str) -> None:
    log_in_by_clicking(window, demo, somebody(demo))
    add(window)
    begin_adding(window)
    window.fill(A_name_for_it="Again")
    window.page.get_by_role("button", name="Make the passkey").click()
    window.page.get_by_text("holds a passkey of your account already").wait_for()
    window.inspect("passkey-twice")


def test_a_name_is_asked_for_before_the_key(
    window: Window, demo: Instance, authenticator: str
) -> None:
    log_in_by_clicking(window, demo, somebody(demo))
    begin_adding(window)
    window.page.get_by_role("button", name="Make the passkey").click()
    assert window.page.evaluate("document.activeElement.id") == "name"
    held = window.devtools.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})
    assert held["credentials"] == []


def test_a_login_without_the_key_at_hand_can_be_tried_again_or_left(
    window: Window, demo: Instance, authenticator: str
) -> None:
    person = somebody(demo)
    log_in_by_clicking(window, demo, person)
    add(window)
    credential = credential_of(window, authenticator)
    window.devtools.send("WebAuthn.clearCredentials", {"authenticatorId": authenticator})
    window.press("Log out")
    log_in_with_it(window, person)
    window.page.get_by_text("The passkey was not used").wait_for()
    window.inspect("login-passkey-refused")
    window.devtools.send(
        "WebAuthn.addCredential", {"authenticatorId": authenticator, "credential": credential}
    )
    window.page.get_by_role("button", name="Use the passkey").click()
    window.page.wait_for_url("**/projects")


def test_a_copied_key_is_refused(window: Window, demo: Instance, authenticator: str) -> None:
    person = somebody(demo)
    log_in_by_clicking(window, demo, person)
    add(window)
    copy = credential_of(window, authenticator)
    window.press("Log out")
    log_in_with_it(window, person)
    window.page.wait_for_url("**/projects")
    window.devtools.send("WebAuthn.clearCredentials", {"authenticatorId": authenticator})
    window.devtools.send(
        "WebAuthn.addCredential",
        {"authenticatorId": authenticator, "credential": copy | {"signCount": 0}},
    )
    window.press("Log out")
    log_in_with_it(window, person)
    window.page.get_by_text("may have been copied").wait_for()
    window.trouble.clear()  # the browser notes the 401
    window.inspect("login-passkey-copied")
    window.go("/projects")
    assert window.path == "/login/code"


def test_at_another_address_the_page_says_where_passkeys_work(
    chromium: Chromium, demo: Instance, origin: str
) -> None:
    with chromium.window(f"http://127.0.0.1:{demo.port}") as window:
        log_in_by_clicking(window, demo, somebody(demo))
        begin_adding(window)
        window.page.get_by_text(f"work only at its address {origin}").wait_for()
        assert window.page.get_by_role("button", name="Make the passkey").is_disabled()
        window.inspect("passkey-elsewhere")


def test_without_scripts_the_page_says_what_is_needed(
    chromium: Chromium, demo: Instance, origin: str
) -> None:
    with chromium.window(origin, scripts=False) as window:
        log_in_by_clicking(window, demo, somebody(demo))
        begin_adding(window)
        assert "Passkeys need JavaScript" in window.text
