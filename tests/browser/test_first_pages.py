"""From a letter to an account, by clicking: what somebody sees who has never been here."""

from __future__ import annotations

import pytest

from tests.browser.people import GOOD, a_name, invite, link_for_new_account, link_in, newest_letter
from tests.e2e.instance import Instance
from tests.parts.browser import Chromium, Window

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]


def test_the_first_page(window: Window) -> None:
    window.go("/")
    assert window.heading == "Data delivery"
    window.inspect("home")


def test_a_page_that_is_not_there(window: Window) -> None:
    window.go("/nothing")
    assert window.heading == "There is no such page"
    # The browser itself says in its console that this was a 404.
    assert len(window.trouble) == 1
    window.trouble.clear()
    window.inspect("not-found")


def test_the_keyboard_reaches_the_content_first(window: Window) -> None:
    window.go("/")
    window.page.keyboard.press("Tab")
    assert window.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    window.page.keyboard.press("Enter")
    assert window.page.evaluate("document.activeElement.id") == "main"


def test_a_letter_leads_to_a_password(window: Window, demo: Instance) -> None:
    name = a_name()
    window.go(link_for_new_account(demo, name))
    assert "#" not in window.page.url
    assert not window.page.get_by_label("The link in your mail").is_visible()
    window.inspect("set-password")
    window.fill(New_password="short", The_same_password_again="other")
    window.press("Set the password")
    window.trouble.clear()  # the browser notes the 400
    assert window.page.evaluate("document.activeElement.className") == "problems"
    window.inspect("set-password-wrong")
    window.fill(New_password=GOOD, The_same_password_again=GOOD)
    window.press("Set the password")
    assert window.heading == "Your password is set"
    assert name in window.text
    window.inspect("welcome")


def test_an_invitation_leads_to_an_account(window: Window, demo: Instance) -> None:
    name = a_name()
    invite(demo, f"{name}@demo.example")
    window.go("/")
    window.follow("Read its mail")
    window.inspect("demo-mail")
    letter = window.page.get_by_role("row").filter(has_text=f"{name}@demo.example")
    letter.get_by_role("link").click()
    window.inspect("demo-letter")
    window.page.locator("pre a[href*=register]").click()
    window.page.get_by_label("Your name").wait_for()
    assert "#" not in window.page.url
    window.inspect("register")
    window.fill(
        Your_name="Åsa Öberg", Username=name, New_password=GOOD, The_same_password_again=GOOD
    )
    window.press("Make the account")
    assert window.heading == "Your account is made"


def test_without_scripts_the_links_are_pasted(
    chromium: Chromium, origin: str, demo: Instance
) -> None:
    name, invited = a_name(), a_name()
    with chromium.window(origin, scripts=False) as window:
        window.go("/set-password")
        window.fill(
            The_link_in_your_mail=link_for_new_account(demo, name),
            New_password=GOOD,
            The_same_password_again=GOOD,
        )
        window.press("Set the password")
        assert window.heading == "Your password is set"
        invite(demo, f"{invited}@demo.example")
        letter = newest_letter(demo, f"{invited}@demo.example", "invites you")
        window.go("/register")
        window.fill(The_link_in_your_mail=link_in(letter))
        window.press("Continue")
        window.fill(
            Your_name="Nn", Username=invited, New_password=GOOD, The_same_password_again=GOOD
        )
        window.press("Make the account")
        assert window.heading == "Your account is made"
