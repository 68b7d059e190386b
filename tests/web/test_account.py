"""The account's page: the password changes without losing access, logins are listed and ended."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.users.tables import User
from ddsd.work import reading
from tests.web.pages import look, read, send
from tests.web.people import GOOD
from tests.web.visits import account, another_browser, log_in
from tests.world import EMAIL, PASSWORD, World

CHANGE = {"current": PASSWORD, "password": GOOD, "again": GOOD}


async def private_key(world: World, project: str, token: str) -> str:
    answer = await world.call("GET", f"/proj/private?project={project}", token=token)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["private"])


async def change_password(world: World, status: int = 303, **fields: str) -> str:
    form = await look(world, "/account")
    answer = await world.http.post("/account/password", data=form.fields | CHANGE | fields)
    assert answer.status_code == status, answer.text
    if status == 303:
        return (await look(world, answer.headers["Location"])).text
    return read(answer, status=status).text


async def test_the_page_says_who_one_is(world: World) -> None:
    await log_in(world, "admin1")
    page = await look(world, "/account")
    for fact in ("Admin1", "admin1", "admin1@example.org", "Unit Admin"):
        assert fact in page.text


async def test_a_changed_password_keeps_access_to_the_keys(world: World) -> None:
    project = await world.project("admin1")
    before = await private_key(world, project, await world.token_of("admin1"))
    await log_in(world, "admin1")
    assert "You kept all your access" in await change_password(world)
    new = await world.login("admin1", GOOD)
    assert await private_key(world, project, new) == before
    assert await private_key(world, project, world.http.cookies["ddsd-session"]) == before


async def test_a_changed_password_ends_every_other_login(world: World) -> None:
    client, other = await world.login("researcher1"), another_browser(world)
    await log_in(other, "researcher1")
    await log_in(world, "researcher1")
    await change_password(world)
    assert (await look(world, "/account")).one("h1").text == "Your account"
    answer = await world.call("GET", "/user/info", token=client)
    assert (answer.status_code, answer.json()["message"]) == (401, "Expired token")
    assert (await other.http.get("/account")).headers["Location"].startswith("/login")


async def test_the_old_password_stops_and_the_person_is_told(world: World) -> None:
    await log_in(world, "researcher1")
    await change_password(world)
    await send(
        another_browser(world), "/login", status=401, username="researcher1", password=PASSWORD
    )
    letter = await world.newest_mail(EMAIL.format("researcher1"), "password_changed")
    assert "/forgot-password" in letter
    async with reading(world.services, System()) as work:
        entries = (await work.session.execute(select(AuditEntry))).scalars().all()
    assert ("user researcher1", "researcher1") in [
        (one.actor, one.subject) for one in entries if one.action == "user.change_password"
    ]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"current": "Wrong-horse-1"}, "This is not your password."),
        ({"current": ""}, "This is not your password."),
        ({"password": "short", "again": "short"}, "The password needs"),
        ({"again": "Other-horse-1"}, "The two passwords differ"),
        ({"password": PASSWORD, "again": PASSWORD}, "This is the password you have"),
        ({"password": "Aa1aaaaaa€", "again": "Aa1aaaaaa€"}, "only characters of Latin-1"),
    ],
)
async def test_what_does_not_fit_changes_nothing(
    world: World, fields: dict[str, str], complaint: str
) -> None:
    await log_in(world, "researcher1")
    assert complaint in await change_password(world, 400, **fields)
    await log_in(another_browser(world), "researcher1")


async def test_guessing_the_password_again_is_limited(world: World) -> None:
    await log_in(world, "researcher1")
    for _ in range(world.services.settings.security.logins_per_hour - 1):
        await change_password(world, 400, current="Wrong-horse-1")
    await change_password(world, 429)
    world.clock.advance(hours=1)
    await change_password(world)


async def test_of_two_changes_at_once_one_wins(world: World) -> None:
    project = await world.project("admin1")
    second = another_browser(world)
    await log_in(world, "admin1")
    await log_in(second, "admin1")
    forms = [(one, await look(one, "/account")) for one in (world, second)]
    wanted = [GOOD, GOOD + "2"]
    answers = await asyncio.gather(
        *(
            one.http.post(
                "/account/password",
                data=form.fields | {"current": PASSWORD, "password": new, "again": new},
            )
            for (one, form), new in zip(forms, wanted, strict=True)
        )
    )
    # Whoever comes later is refused, or finds that their login has ended.
    where = [answer.headers.get("Location", "") for answer in answers]
    assert where.count("/account/password-changed") == 1
    winner = wanted[where.index("/account/password-changed")]
    assert await private_key(world, project, await world.login("admin1", winner))


async def test_a_key_is_not_lost_when_the_password_changes_while_another_login_works(
    world: World,
) -> None:
    project = await world.project("admin1")
    token = await world.token_of("admin1")
    await log_in(world, "admin1")
    form = await look(world, "/account")
    changed, *used = await asyncio.gather(
        world.http.post("/account/password", data=form.fields | CHANGE),
        *(world.call("GET", f"/proj/private?project={project}", token=token) for _ in range(5)),
    )
    assert changed.status_code == 303
    assert {one.status_code for one in used} <= {200, 401}
    assert await private_key(world, project, await world.login("admin1", GOOD))


async def test_logins_are_listed_and_can_be_ended_one_by_one(world: World) -> None:
    client, other = await world.login("researcher1"), another_browser(world)
    other.http.headers["User-Agent"] = "Another browser"
    await log_in(other, "researcher1")
    world.http.headers["User-Agent"] = "This browser"
    await log_in(world, "researcher1")
    page = await look(world, "/account")
    assert "This browser 127.0.0.1 2026-03-02 12:00 This is here" in page.text
    row = next(one for one in page.all("tr") if "Another browser" in one.text)
    uids = [one.attributes["value"] for one in page.all("input", name="session")]
    assert len(uids) == 2
    assert row.text
    for uid in uids:
        answer = await world.http.post("/account/sessions/end", data=page.fields | {"session": uid})
        assert answer.headers["Location"] == "/account"
    assert (await other.http.get("/account")).headers["Location"].startswith("/login")
    assert (await world.call("GET", "/user/info", token=client)).status_code == 401
    assert not (await look(world, "/account")).all("input", name="session")


async def test_logins_are_called_what_people_call_their_devices(world: World) -> None:
    await world.login("researcher1")
    linux = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
    world.http.headers["User-Agent"] = linux
    await log_in(world, "researcher1")
    page = await look(world, "/account")
    assert "Firefox on Linux 127.0.0.1" in page.text
    assert "dds command line 2.15.1 127.0.0.1" in page.text


async def test_nobody_ends_somebody_elses_login(world: World) -> None:
    other = another_browser(world)
    await log_in(other, "researcher2")
    third = another_browser(world)
    await log_in(third, "researcher2")
    uid = (await look(other, "/account")).one("input", name="session").attributes["value"]
    await log_in(world, "researcher1")
    form = await look(world, "/account")
    await world.http.post("/account/sessions/end", data=form.fields | {"session": uid})
    assert (await look(third, "/account")).one("h1").text == "Your account"


async def test_signing_out_everywhere_ends_this_login_too(world: World) -> None:
    client = await world.login("researcher1")
    await log_in(world, "researcher1")
    form = await look(world, "/account")
    answer = await world.http.post("/account/sessions/end-all", data=form.fields)
    assert answer.headers["Location"] == "/login"
    assert (await world.http.get("/account")).headers["Location"].startswith("/login")
    assert (await world.call("GET", "/user/info", token=client)).status_code == 401


async def test_a_password_at_a_new_cost_is_stored_with_its_change(world: World) -> None:
    await log_in(world, "researcher1")
    await change_password(world)
    user: User = await account(world, "researcher1")
    assert user.kdf_memory_kib == world.services.deriver.cost.memory_kib
    assert user.password_set_at == world.clock.now()


@pytest.mark.parametrize(
    "path",
    [
        "/account",
        "/account/app",
        "/account/mail",
        "/account/delete",
        "/projects",
        "/account/password-changed",
        "/account/second-factor-changed",
    ],
)
async def test_every_page_of_an_account_needs_a_login(world: World, path: str) -> None:
    answer = await world.http.get(path)
    assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (303, "/login")


@pytest.mark.parametrize(
    "path",
    [
        "/account/password",
        "/account/sessions/end",
        "/account/sessions/end-all",
        "/account/app",
        "/account/app/confirm",
        "/account/mail",
        "/account/delete",
    ],
)
async def test_every_change_needs_a_login_and_a_form_of_ours(world: World, path: str) -> None:
    form = await look(world, "/login")
    answer = await world.http.post(path, data=form.fields | CHANGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    await log_in(world, "researcher1")
    read(await world.http.post(path, data=CHANGE), status=403)
    await log_in(another_browser(world), "researcher1")
