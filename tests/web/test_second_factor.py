"""Switching the second factor: on the pages, by mailed links, and what logs in afterwards."""

from __future__ import annotations

import base64
import re

import pytest

from ddsd.users.tables import SecondFactor
from tests.web.pages import Page, look, read, send
from tests.web.people import code_of
from tests.web.visits import (
    account,
    another_browser,
    app_code,
    kinds_mailed,
    log_in,
    mailed_link,
    password_step,
    second_step,
)
from tests.world import EMAIL, PASSWORD, World, basic


def secret_on(page: Page) -> str:
    return page.one("pre").text.replace(" ", "").strip()


async def begin(world: World) -> str:
    page = await send(world, "/account/app", current=PASSWORD)
    return secret_on(page)


async def use_app(world: World, who: str = "researcher1") -> str:
    """Log in and make an app the second factor; return its secret."""
    await log_in(world, who)
    secret = await begin(world)
    form = await look(world, "/account")
    done = await world.http.post(
        "/account/app/confirm", data=form.fields | {"otp": app_code(world, secret)}
    )
    assert done.headers["Location"] == "/account/second-factor-changed"
    world.clock.advance(seconds=120)
    return secret


async def ask_for_mail(world: World, who: str, password: str = PASSWORD) -> str:
    answer = await world.http.post(
        "/api/v1/user/hotp/activate",
        headers={"X-CLI-Version": "2.15.1", "Authorization": basic(who, password)},
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["message"])


async def test_an_app_that_shows_the_right_code_logs_in_from_then_on(world: World) -> None:
    secret = await use_app(world)
    other = another_browser(world)
    await password_step(other, "researcher1")
    assert "authenticator app" in (await look(other, "/login/code")).text
    answer = await second_step(other, "researcher1", app_code(world, secret))
    assert answer.headers["Location"] == "/projects"


async def test_the_client_is_asked_for_the_app_from_then_on(world: World) -> None:
    secret = await use_app(world)
    partial = await world.partial_token("researcher1")
    answer = await world.call(
        "GET", "/user/second_factor", token=partial, json={"TOTP": app_code(world, secret)}
    )
    assert answer.status_code == 200


async def test_the_code_that_confirmed_does_not_log_in_as_well(world: World) -> None:
    await log_in(world, "researcher1")
    secret = await begin(world)
    code = app_code(world, secret)
    form = await look(world, "/account")
    await world.http.post("/account/app/confirm", data=form.fields | {"otp": code})
    other = another_browser(world)
    await password_step(other, "researcher1")
    page = await send(other, "/login/code", status=401, otp=code)
    assert "at least 90 seconds apart" in page.text


async def test_until_the_code_is_typed_nothing_changes(world: World) -> None:
    await log_in(world, "researcher1")
    await begin(world)
    form = await look(world, "/account")
    answer = await world.http.post("/account/app/confirm", data=form.fields | {"otp": "000000"})
    page = read(answer, status=400)
    assert page.all("a", href="#otp")
    assert (await account(world, "researcher1")).second_factor is SecondFactor.MAIL
    await log_in(another_browser(world), "researcher1")


@pytest.mark.parametrize("otp", ["", "12345", "1234567", "abcdef", "१२३४५६", "\x00" * 6], ids=ascii)
async def test_no_code_at_all_is_told(world: World, otp: str) -> None:
    await log_in(world, "researcher1")
    await begin(world)
    form = await look(world, "/account")
    read(await world.http.post("/account/app/confirm", data=form.fields | {"otp": otp}), status=400)


async def test_a_code_for_nothing_is_told(world: World) -> None:
    await log_in(world, "researcher1")
    form = await look(world, "/account")
    answer = await world.http.post("/account/app/confirm", data=form.fields | {"otp": "123456"})
    assert "Nothing waits to be confirmed" in read(answer, status=400).text


async def test_the_qr_code_says_what_the_key_says_and_needs_no_style(world: World) -> None:
    await log_in(world, "researcher1")
    page = await send(world, "/account/app", current=PASSWORD)
    assert re.fullmatch("[A-Z2-7]{32}", secret_on(page))
    assert (
        page.one("div", role="img").attributes["aria-label"] == "QR code for the authenticator app"
    )
    assert page.all("svg")
    assert secret_on(page) not in (await look(world, "/account")).source


async def test_the_app_needs_the_password_once_more(world: World) -> None:
    await log_in(world, "researcher1")
    page = await send(world, "/account/app", status=400, current="Wrong-horse-1")
    assert page.one("a", href="#current").text == "This is not your password."


async def test_the_secret_at_rest_is_sealed(world: World) -> None:
    secret = await use_app(world)
    user = await account(world, "researcher1")
    assert user.totp_secret is not None
    assert base64.b32decode(secret) not in user.totp_secret
    assert user.totp_pending is None


async def test_back_to_mail_with_the_password(world: World) -> None:
    await use_app(world)
    await send(world, "/account/mail", status=400, current="Wrong-horse-1")
    form = await look(world, "/account/mail")
    answer = await world.http.post("/account/mail", data=form.fields | {"current": PASSWORD})
    assert answer.headers["Location"] == "/account/second-factor-changed"
    user = await account(world, "researcher1")
    assert (user.second_factor, user.totp_secret) == (SecondFactor.MAIL, None)
    await log_in(another_browser(world), "researcher1")


async def test_each_switch_is_told_by_mail(world: World) -> None:
    await use_app(world)
    letter = await world.newest_mail(EMAIL.format("researcher1"), "second_factor_changed")
    assert "an authenticator app" in letter
    await ask_for_mail(world, "researcher1")
    link = await mailed_link(world, "researcher1", "activate_mail")
    await send(another_browser(world), "/activate-mail", code=code_of(link))
    letter = await world.newest_mail(EMAIL.format("researcher1"), "second_factor_changed")
    assert "codes sent by e-mail" in letter


async def test_the_clients_link_begins_with_an_app_for_whoever_is_logged_in(world: World) -> None:
    answer = await world.call("POST", "/user/totp/activate", "researcher1")
    assert answer.json()["message"] == (
        "Please check your email and follow the attached link to activate two-factor with "
        "authenticator app."
    )
    link = await mailed_link(world, "researcher1", "activate_app")
    assert "Log in first" in (await look(world, "/activate-app", status=401)).text
    await log_in(world, "researcher1")
    page = await send(world, "/activate-app", code=code_of(link))
    form = await look(world, "/account")
    done = await world.http.post(
        "/account/app/confirm", data=form.fields | {"otp": app_code(world, secret_on(page))}
    )
    assert done.status_code == 303
    await send(world, "/activate-app", status=404, code=code_of(link))
    again = await world.call("POST", "/user/totp/activate", "researcher1")
    assert again.json()["message"] == (
        "Nothing to do, two-factor authentication with app is already enabled for this user."
    )


async def test_somebody_elses_link_begins_nothing(world: World) -> None:
    await world.call("POST", "/user/totp/activate", "researcher1")
    link = await mailed_link(world, "researcher1", "activate_app")
    await log_in(world, "researcher2")
    await send(world, "/activate-app", status=404, code=code_of(link))
    mine = another_browser(world)
    await log_in(mine, "researcher1")
    await send(mine, "/activate-app", code=code_of(link))


async def test_without_the_app_the_password_and_a_mailed_link_lead_back(world: World) -> None:
    await use_app(world)
    assert await ask_for_mail(world, "researcher1") == (
        "Please check your email and follow the attached link to activate two-factor with email."
    )
    code = code_of(await mailed_link(world, "researcher1", "activate_mail"))
    other = another_browser(world)
    for _ in range(2):
        await look(other, "/activate-mail")
    assert (await account(world, "researcher1")).second_factor is SecondFactor.APP
    await send(other, "/activate-mail", code=code)
    assert (await account(world, "researcher1")).second_factor is SecondFactor.MAIL
    await send(other, "/activate-mail", status=404, code=code)
    await log_in(other, "researcher1")
    assert await ask_for_mail(world, "researcher1") == (
        "Nothing to do, two-factor authentication with email is already enabled for this user."
    )


async def test_a_link_back_to_mail_works_for_an_hour(world: World) -> None:
    await use_app(world)
    await ask_for_mail(world, "researcher1")
    code = code_of(await mailed_link(world, "researcher1", "activate_mail"))
    world.clock.advance(hours=1)
    await send(another_browser(world), "/activate-mail", status=404, code=code)
    assert (await account(world, "researcher1")).second_factor is SecondFactor.APP


async def test_a_wrong_password_mails_no_link(world: World) -> None:
    await use_app(world)
    for who in ("researcher1", "nobody-1234"):
        answer = await world.http.post(
            "/api/v1/user/hotp/activate",
            headers={"X-CLI-Version": "2.15.1", "Authorization": basic(who, "Wrong-horse-1")},
        )
        assert (answer.status_code, answer.json()) == (
            401,
            {"message": "Missing or incorrect credentials"},
        )
    assert "activate_mail" not in await kinds_mailed(world, "researcher1")
