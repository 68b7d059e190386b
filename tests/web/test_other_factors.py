"""The pages of passkeys and recovery codes, on both databases: what they ask for, refuse, and let through."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.users.security_key import SecurityKey
from tests.web.pages import Page, look, read, send
from tests.web.test_pages import with_instance
from tests.web.visits import another_browser, kinds_mailed, log_in, password_step, second_step
from tests.world import PASSWORD, World, make_world

WHO = "researcher1"


def options_in(page: Page) -> str:
    [form] = [one for one in page.all("form") if "data-options" in one.attributes]
    return form.attributes["data-options"]


async def add_passkey(world: World, key: SecurityKey, name: str = "Blue key") -> None:
    asked = await send(world, "/account/passkeys/new", start="/account/passkeys", current=PASSWORD)
    answer = key.create(options_in(asked))
    done = await world.http.post(
        "/account/passkeys", data=asked.fields | {"answer": answer, "name": name}
    )
    assert done.headers["Location"] == "/account/passkeys"


async def make_codes(world: World) -> list[str]:
    page = await send(world, "/account/recovery-codes", current=PASSWORD)
    return [one.text for one in page.all("code")]


async def test_a_passkey_is_the_second_step(world: World) -> None:
    key = SecurityKey()
    await log_in(world, WHO)
    await add_passkey(world, key)
    page = await look(world, "/account/passkeys")
    assert "Blue key" in page.text
    browser = another_browser(world)
    await password_step(browser, WHO)
    asked = await send(browser, "/login/passkey", start="/login/code")
    sent = asked.fields | {"answer": key.get(options_in(asked))}
    answer = await browser.http.post("/login/passkey/answer", data=sent)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/projects")
    await look(browser, "/account")


async def test_somebody_with_a_passkey_is_mailed_a_code_only_if_they_ask(world: World) -> None:
    await log_in(world, WHO)
    await add_passkey(world, SecurityKey())
    world.clock.advance(hours=1)
    before = (await kinds_mailed(world, WHO)).count("one_time_code")
    browser = another_browser(world)
    await password_step(browser, WHO)
    page = await look(browser, "/login/code")
    assert not page.all("input", id="otp")
    assert [one.text for one in page.all("button")][-3:] == [
        "Use a passkey",
        "Send me a code",
        "Cancel",
    ]
    assert (await kinds_mailed(world, WHO)).count("one_time_code") == before
    asked = await browser.http.post("/login/code/new", data=page.fields)
    assert asked.headers["Location"] == "/login/code"
    assert (await kinds_mailed(world, WHO)).count("one_time_code") == before + 1
    assert (await second_step(browser, WHO)).headers["Location"] == "/projects"


async def test_the_client_cannot_use_a_passkey_and_is_mailed_a_code(world: World) -> None:
    await log_in(world, WHO)
    await add_passkey(world, SecurityKey())
    world.clock.advance(hours=1)
    assert await world.login(WHO)


async def test_where_passkeys_no_longer_work_a_code_is_mailed(world: World, tmp_path: Path) -> None:
    await log_in(world, WHO)
    await add_passkey(world, SecurityKey())
    world.clock.advance(hours=1)
    moved = with_instance(world.services, tmp_path, public_url="http://192.0.2.1")
    browser = make_world(moved, world.clock)
    await password_step(browser, WHO)
    assert (await second_step(browser, WHO)).headers["Location"] == "/projects"


async def test_a_bad_answer_is_refused_with_a_new_challenge(world: World) -> None:
    key = SecurityKey()
    await log_in(world, WHO)
    await add_passkey(world, key)
    browser = another_browser(world)
    await password_step(browser, WHO)
    asked = await send(browser, "/login/passkey", start="/login/code")
    again = read(
        await browser.http.post("/login/passkey/answer", data=asked.fields | {"answer": "{}"}),
        status=401,
    )
    assert "is not good" in again.text
    assert options_in(again) != options_in(asked)
    assert (await browser.http.get("/account")).headers["Location"].startswith("/login/code")


async def test_the_password_is_asked_for_before_a_passkey_or_codes(world: World) -> None:
    await log_in(world, WHO)
    for path, start in (
        ("/account/passkeys/new", "/account/passkeys"),
        ("/account/recovery-codes", None),
    ):
        page = await send(world, path, start=start, status=400, current="Wrong-one-1")
        assert "This is not your password." in page.text
        assert not page.all("ol")
    page = await look(world, "/account/passkeys")
    sent = page.fields | {
        "answer": SecurityKey().create('{"rp": {"id": "localhost"}, "challenge": "AAAA"}'),
        "name": "x",
    }
    answer = read(await world.http.post("/account/passkeys", data=sent), status=400)
    assert "took too long" in answer.text
    assert "You have none yet." in (await look(world, "/account/passkeys")).text


@pytest.mark.parametrize("number", ["", "0", "-1", "1e3", "²", "9" * 30, "4294967296"])
async def test_a_passkey_that_is_not_there_cannot_be_removed(world: World, number: str) -> None:
    await log_in(world, WHO)
    await add_passkey(world, SecurityKey())
    page = await look(world, "/account/passkeys")
    sent = page.fields | {"passkey": number}
    read(await world.http.post("/account/passkeys/remove", data=sent), status=404)
    assert "Blue key" in (await look(world, "/account/passkeys")).text


async def test_a_recovery_code_is_the_second_step_once(world: World) -> None:
    await log_in(world, WHO)
    first, *rest = await make_codes(world)
    assert len(rest) == 9
    browser = another_browser(world)
    await password_step(browser, WHO)
    assert "/login/recovery" in (await look(browser, "/login/code")).source
    form = await look(browser, "/login/recovery")
    answer = await browser.http.post("/login/recovery", data=form.fields | {"recovery": first})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/projects")
    assert "9 unused codes" in (await look(browser, "/account/recovery-codes")).text
    third = another_browser(world)
    await password_step(third, WHO)
    page = await send(third, "/login/recovery", status=401, recovery=first)
    assert page.one("input", id="recovery").attributes["aria-invalid"] == "true"


async def test_other_ways_are_offered_only_to_who_has_them(world: World) -> None:
    await password_step(world, WHO)
    page = await look(world, "/login/code")
    assert "passkey" not in page.text
    assert "recovery code" not in page.text
    refused = await send(world, "/login/passkey", start="/login/code", status=404)
    assert "has no passkey" in refused.text


@pytest.mark.parametrize(
    "path", ["/account/passkeys", "/account/recovery-codes", "/login/recovery"]
)
async def test_nobody_sees_these_pages_without_a_login(world: World, path: str) -> None:
    answer = await world.http.get(path)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/login")


async def test_half_a_login_reaches_no_page_of_the_account(world: World) -> None:
    await password_step(world, WHO)
    for path in ("/account/passkeys", "/account/recovery-codes"):
        answer = await world.http.get(path)
        assert answer.headers["Location"].startswith("/login/code")
