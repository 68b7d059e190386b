"""Logging a browser in: both steps, what its cookie is worth, and how it is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ddsd.access import System
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import MasterSplit
from ddsd.secret import SecretText
from ddsd.users.tables import Session, SessionKind, User
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.services import CHEAP
from tests.web.pages import look, read, send
from tests.web.people import allowing_attempts
from tests.web.test_pages import with_instance
from tests.web.visits import log_in, password_step, second_step
from tests.world import PASSWORD, World, make_world


async def test_both_steps_lead_to_the_projects(world: World) -> None:
    answer = await log_in(world, "researcher1")
    assert answer.headers["Location"] == "/projects"
    page = await look(world, "/projects")
    assert "researcher1" in page.one("nav").text


async def test_the_password_alone_opens_no_page(world: World) -> None:
    await password_step(world, "researcher1")
    for path in ("/projects", "/account"):
        answer = await world.http.get(path)
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (
            303,
            "/login/code",
        )


async def test_the_cookie_is_out_of_reach_and_holds_the_token_of_the_api(world: World) -> None:
    answer = await log_in(world, "researcher1")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("ddsd-session=")
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    token = world.http.cookies["ddsd-session"]
    assert (await world.call("GET", "/user/info", token=token)).status_code == 200


async def test_over_tls_the_cookie_is_for_this_host_alone(world: World, tmp_path: Path) -> None:
    https = with_instance(world.services, tmp_path, public_url="https://dds.example.org")
    secure = make_world(https, world.clock)
    secure.http.base_url = "https://dds.example.org"
    cookie = (await log_in(secure, "researcher1")).headers["set-cookie"]
    assert cookie.startswith("__Host-ddsd-session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))


async def test_each_step_brings_a_new_token(world: World) -> None:
    await password_step(world, "researcher1")
    half = world.http.cookies["ddsd-session"]
    await second_step(world, "researcher1")
    assert world.http.cookies["ddsd-session"] != half
    assert (await world.call("GET", "/user/info", token=half)).status_code == 403


async def test_a_session_knows_that_it_is_a_browsers(world: World) -> None:
    world.http.headers["User-Agent"] = "Browser\t7 " + "x" * 300
    await log_in(world, "researcher1")
    async with reading(world.services, System()) as work:
        session = (await work.session.execute(select(Session))).scalar_one()
    assert (session.kind, session.agent) == (SessionKind.WEB, ("Browser7 " + "x" * 300)[:200])


async def test_a_browser_is_sent_to_the_login_and_back(world: World) -> None:
    asked = await world.http.get("/account")
    assert (asked.status_code, asked.headers["Location"]) == (303, "/login?next=/account")
    first = await look(world, "/login?next=/account")
    action = first.all("form")[0].attributes["action"]
    answer = await world.http.post(
        action, data=first.fields | {"username": "researcher1", "password": PASSWORD}
    )
    assert answer.headers["Location"] == "/login/code?next=/account"
    second = await look(world, answer.headers["Location"])
    code = await world.code_of("researcher1")
    action = second.all("form")[0].attributes["action"]
    answer = await world.http.post(action, data=second.fields | {"otp": code})
    assert answer.headers["Location"] == "/account"


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/%0d%0aX: y",
        "javascript:x",
        "",
    ],
)
async def test_nobody_is_sent_elsewhere_after_the_login(world: World, wanted: str) -> None:
    first = await look(world, "/login")
    data = first.fields | {"username": "researcher1", "password": PASSWORD}
    answer = await world.http.post("/login", params={"next": wanted}, data=data)
    assert answer.headers["Location"] == "/login/code"


async def test_a_browser_that_is_logged_in_needs_no_login(world: World) -> None:
    await log_in(world, "researcher1")
    assert (await world.http.get("/login")).headers["Location"] == "/projects"


async def test_an_unknown_user_and_a_wrong_password_get_the_same_page(world: World) -> None:
    form = await look(world, "/login")
    sources = set()
    for username in ("researcher1", "nobody-1234"):
        answer = await world.http.post(
            "/login", data=form.fields | {"username": username, "password": "Wrong-horse-1"}
        )
        page = read(answer, status=401)
        assert "do not fit together" in page.text
        sources.add(page.source.replace(username, "…"))
        assert "ddsd-session" not in answer.headers.get("set-cookie", "")
    assert len(sources) == 1


class CountingDeriver(Deriver):
    """The real one; it remembers with which cost it was asked."""

    def __init__(self) -> None:
        super().__init__(CHEAP)
        self.costs: list[object] = []

    async def derive(self, password: SecretText, salt: bytes, cost: Any) -> MasterSplit:
        self.costs.append(cost)
        return await super().derive(password, salt, cost)


async def test_an_unknown_user_costs_as_much_work_as_a_wrong_password(world: World) -> None:
    deriver = CountingDeriver()
    counted = make_world(replace(world.services, deriver=deriver), world.clock)
    for username in ("researcher1", "nobody-1234", "no\x00body"):
        await send(counted, "/login", status=401, username=username, password="Wrong-horse-1")
    assert deriver.costs == [CHEAP] * 3


async def test_a_wrong_code_is_told_and_another_try_is_good(world: World) -> None:
    await password_step(world, "researcher1")
    page = await send(world, "/login/code", status=401, otp="00000000")
    assert page.one("a", href="#otp").text == "Invalid one-time authentication code."
    assert (await second_step(world, "researcher1")).headers["Location"] == "/projects"


async def test_a_code_that_is_too_old_can_be_replaced(world: World) -> None:
    await password_step(world, "researcher1")
    old = await world.code_of("researcher1")
    world.clock.advance(seconds=16 * 60)
    await send(world, "/login/code", status=401, otp=old)
    form = await look(world, "/login/code")
    assert (await world.http.post("/login/code/new", data=form.fields)).status_code == 303
    assert await world.code_of("researcher1") != old
    assert (await second_step(world, "researcher1")).headers["Location"] == "/projects"


async def test_codes_are_limited_and_the_page_says_when_to_try_again(world: World) -> None:
    await password_step(world, "researcher1")
    form = await look(world, "/login/code")
    for _ in range(world.services.settings.security.codes_per_window):
        await world.http.post("/login/code", data=form.fields | {"otp": "00000000"})
    answer = await world.http.post(
        "/login/code", data=form.fields | {"otp": await world.code_of("researcher1")}
    )
    read(answer, status=429)
    assert 0 < int(answer.headers["Retry-After"]) <= 15 * 60


async def test_pages_and_api_share_one_budget_and_another_address_is_not_locked_out(
    world: World,
) -> None:
    form = await look(world, "/login")
    data = form.fields | {"username": "researcher1", "password": "Wrong-horse-1"}
    for _ in range(world.services.settings.security.logins_per_hour):
        read(await world.http.post("/login", data=data), status=401)
    answer = await world.http.post("/login", data=data)
    read(answer, status=429)
    assert int(answer.headers["Retry-After"]) <= 3600
    from_here = await world.http.get(
        "/api/v1/user/encrypted_token",
        headers={"X-CLI-Version": "2.15.1"},
        auth=("researcher1", PASSWORD),
    )
    assert from_here.status_code == 429
    other = make_world(world.services, world.clock, client="192.0.2.99")
    assert (await log_in(other, "researcher1")).headers["Location"] == "/projects"


async def test_attempts_from_one_address_are_limited(world: World) -> None:
    strict = allowing_attempts(world, 3)
    for number in range(3):
        await send(strict, "/login", status=401, username=f"nobody{number}", password="x")
    await send(strict, "/login", status=429, username="nobody9", password="x")


async def test_logging_out_ends_the_session_for_good(world: World) -> None:
    await log_in(world, "researcher1")
    token = world.http.cookies["ddsd-session"]
    form = await look(world, "/projects")
    answer = await world.http.post("/logout", data=form.fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "ddsd-session" not in world.http.cookies
    assert (await world.call("GET", "/user/info", token=token)).status_code == 401


async def test_a_deactivated_account_is_told_so_only_with_its_password(world: World) -> None:
    async with transaction(world.services, System()) as work:
        user = (
            await work.session.execute(select(User).where(User.columns().username == "researcher1"))
        ).scalar_one()
        user.active = False
    page = await send(world, "/login", status=401, username="researcher1", password="x")
    assert "deactivated" not in page.text
    page = await send(world, "/login", status=403, username="researcher1", password=PASSWORD)
    assert "has been deactivated" in page.text


async def test_deactivating_logs_a_browser_out(world: World) -> None:
    await log_in(world, "researcher1")
    async with transaction(world.services, System()) as work:
        user = (
            await work.session.execute(select(User).where(User.columns().username == "researcher1"))
        ).scalar_one()
        user.active = False
    assert (await world.http.get("/projects")).headers["Location"] == "/login"


@pytest.mark.parametrize("cookie", ["x", "a.b.c.d.e", "A" * 3000])
async def test_a_made_up_cookie_is_no_login(world: World, cookie: str) -> None:
    world.http.cookies.set("ddsd-session", cookie, domain="ddsd.test")
    answer = await world.http.get("/projects")
    assert answer.headers["Location"] == "/login"
    assert "ddsd-session" not in world.http.cookies


async def test_a_login_without_proof_of_our_form_is_refused(services: Services) -> None:
    world = make_world(services, SettableClock())
    answer = await world.http.post("/login", data={"username": "x", "password": "y"})
    read(answer, status=403)


async def test_a_session_ends_with_its_lifetime(world: World) -> None:
    await log_in(world, "researcher1")
    world.clock.advance(hours=168)
    assert (await world.http.get("/projects")).headers["Location"] == "/login"
