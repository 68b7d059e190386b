"""Accepting an invite: what a browser sees, and what the stock client can do afterwards."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from ddsd.access import Role, System
from ddsd.units.tables import Unit
from ddsd.users.tables import User
from ddsd.work import reading, transaction
from tests.builders import a_user
from tests.web.pages import Page, look, read, send
from tests.web.people import (
    GOOD,
    allowing_attempts,
    code_of,
    invite,
    invite_link,
    link_for_new_account,
)
from tests.world import EMAIL, World

WHO = {"name": "New Comer", "username": "newcomer", "password": GOOD, "again": GOOD}


async def register(world: World, link: str, *, status: int = 200, **fields: str) -> Page:
    """Open the link and fill in the form."""
    opened = await send(world, "/register/open", start="/register", code=code_of(link))
    answer = await world.http.post("/register", data=opened.fields | WHO | fields)
    return read(answer, status=status)


async def test_an_invited_researcher_registers_opens_the_key_and_downloads(world: World) -> None:
    project = await world.project("admin1", "newcomer")
    await world.add_file(project, "top.txt", size=10)
    done = await register(world, await invite_link(world))
    assert "Your username is newcomer" in done.text
    await world.release(project)
    world.tokens["newcomer"] = await world.login("newcomer", GOOD)

    listed = await world.call("GET", "/proj/list", "newcomer", json={"usage": False})
    assert [one["Project ID"] for one in listed.json()["project_info"]] == [project]
    assert listed.json()["project_info"][0]["Access"] is True
    theirs = await world.call("GET", f"/proj/private?project={project}", "newcomer")
    units = await world.call("GET", f"/proj/private?project={project}", "admin1")
    assert len(theirs.json()["private"]) == 64
    assert theirs.json() == units.json()
    facts = await world.call("GET", f"/file/all/info?project={project}", "newcomer", json=[])
    assert set(facts.json()["files"]) == {"top.txt"}
    fetched = await world.call(
        "PUT", f"/file/update?project={project}", "newcomer", json={"name": "top.txt"}
    )
    assert fetched.status_code == 200
    people = await world.call("GET", f"/proj/users?project={project}", "admin1")
    assert [one["User Name"] for one in people.json()["research_users"]] == ["newcomer"]


async def test_the_form_shows_the_address_and_does_not_let_it_be_changed(world: World) -> None:
    link = await invite(world)
    page = await send(world, "/register/open", start="/register", code=code_of(link))
    email = page.one("input", id="email").attributes
    assert email["value"] == "newcomer@example.org"
    assert "readonly" in email
    assert "name" not in email
    await register(world, link, email="somebody.else@example.org")
    assert await world.login("newcomer", GOOD)


async def test_a_unit_member_keeps_role_and_unit(world: World) -> None:
    async with reading(world.services, System()) as work:
        unit_id = (
            await work.session.execute(
                select(Unit.columns().id).where(Unit.columns().public_id == "unit1")
            )
        ).scalar_one()
    await register(world, await invite(world, role=Role.UNIT_PERSONNEL, unit_id=unit_id))
    async with reading(world.services, System()) as work:
        user = (
            await work.session.execute(select(User).where(User.columns().username == "newcomer"))
        ).scalar_one()
    assert (user.role, user.unit_id) == (Role.UNIT_PERSONNEL, unit_id)


async def test_without_a_script_the_whole_link_is_pasted(world: World) -> None:
    link = await invite(world)
    page = await send(world, "/register/open", start="/register", code=f"\n{link}\n")
    assert page.one("h1").text == "Make your account"


async def test_every_wrong_field_is_named_at_once_and_the_link_stays_good(world: World) -> None:
    link = await invite(world)
    page = await register(
        world, link, status=400, name="x", username="a b", password="short", again="other"
    )
    linked = [one.attributes["href"] for one in page.all("a") if "#" in one.attributes["href"]]
    assert linked == ["#main", "#name", "#username", "#password", "#again"]
    for name in ("name", "username", "password", "again"):
        field = page.one("input", id=name).attributes
        assert field["aria-invalid"] == "true"
        assert f"{name}-complaint1" in field["aria-describedby"]
    assert page.fields["username"] == "a b"
    assert page.fields["password"] == page.fields["again"] == ""
    assert page.one("title").text.startswith("Error: ")
    assert page.one("input", id="email").attributes["value"] == "newcomer@example.org"
    await register(world, link)


async def test_a_taken_username_is_told_and_the_link_stays_good(world: World) -> None:
    link = await invite(world)
    for taken in ("researcher1", "ReSearcher1"):
        page = await register(world, link, status=400, username=taken)
        assert page.one("a", href="#username").text == (
            "This username is taken, or looks like one that is. Choose another one."
        )
    await register(world, link)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Åsa Öberg", "Åsa Öberg"),
        ("A\u030asa O\u0308berg", "Åsa Öberg"),
        ("  李\u00a0 雷 ", "李 雷"),
        ("نرگس\u200cزاده", "نرگس\u200cزاده"),
        ("O'Neil <b>&amp;", "O'Neil <b>&amp;"),
        ("é" * 255, "é" * 255),
        ("𝒳𝒴", "𝒳𝒴"),
    ],
)
async def test_names_of_all_scripts_are_kept(world: World, typed: str, kept: str) -> None:
    await register(world, await invite(world), name=typed)
    answer = await world.call("GET", "/user/info", token=await world.login("newcomer", GOOD))
    assert answer.json()["info"]["name"] == kept


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "x",
        "é" * 256,
        "a\x00b",
        "a\x1bb",
        "a\u202eb",
        "\u200c\u200c",
        "ab\u2028cd\ud7ff\ufffe",
    ],
    ids=ascii,
)
async def test_names_that_cannot_be_shown_are_refused(world: World, name: str) -> None:
    page = await register(world, await invite(world), status=400, name=name)
    assert page.all("a", href="#name")


@pytest.mark.parametrize("username", ["ab", "a" * 31, "å-b-c", "a b c", "a\x00bc", "abc\n", "<b>x"])
async def test_usernames_outside_the_rules_are_refused(world: World, username: str) -> None:
    page = await register(world, await invite(world), status=400, username=username)
    assert page.all("a", href="#username")


async def test_an_invite_works_once(world: World) -> None:
    link = await invite(world)
    opened = await send(world, "/register/open", start="/register", code=code_of(link))
    await register(world, link)
    again = await world.http.post("/register", data=opened.fields | WHO | {"username": "second"})
    assert "was used already" in read(again, status=404).text
    await send(world, "/register/open", start="/register", status=404, code=code_of(link))


async def test_of_two_submits_at_once_one_wins_and_the_other_is_told(world: World) -> None:
    project = await world.project("admin1", "newcomer")
    link = await invite_link(world)
    opened = await send(world, "/register/open", start="/register", code=code_of(link))
    answers = await asyncio.gather(
        *(
            world.http.post("/register", data=opened.fields | WHO | {"username": one})
            for one in ("first", "second")
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 404]
    people = await world.call("GET", f"/proj/users?project={project}", "admin1")
    assert [one["Primary email"] for one in people.json()["research_users"]] == [
        "newcomer@example.org"
    ]


async def test_of_two_people_who_want_one_username_one_gets_it(world: World) -> None:
    links = [await invite(world, "one"), await invite(world, "two")]
    forms = [
        await send(world, "/register/open", start="/register", code=code_of(link)) for link in links
    ]
    answers = await asyncio.gather(
        *(world.http.post("/register", data=form.fields | WHO) for form in forms)
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    loser = next(number for number, one in enumerate(answers) if one.status_code == 400)
    assert "This username is taken" in answers[loser].text
    await register(world, links[loser], username="another")


async def test_an_address_that_has_an_account_by_now_is_told(world: World) -> None:
    link = await invite(world)
    async with transaction(world.services, System()) as work:
        await a_user(work.session, email=EMAIL.format("newcomer"))
    page = await register(world, link, status=409, username="other")
    assert "belongs to an account already" in page.text


async def test_an_invite_expires_after_seven_days(world: World) -> None:
    code = code_of(await invite(world))
    world.clock.advance(days=7, seconds=-1)
    await send(world, "/register/open", start="/register", code=code)
    world.clock.advance(seconds=1)
    await send(world, "/register/open", start="/register", status=404, code=code)


@pytest.mark.parametrize("code", ["", "x", "A" * 43, "A" * 44, "é" * 43, "\x00"], ids=ascii)
async def test_a_forged_or_truncated_invite_is_refused(world: World, code: str) -> None:
    page = await send(world, "/register/open", start="/register", status=404, code=code)
    assert page.all("a", href="#code")


async def test_a_link_for_one_page_opens_nothing_on_the_other(world: World) -> None:
    password_link = await link_for_new_account(world)
    invite_code = code_of(await invite(world, "other"))
    await send(world, "/register/open", start="/register", status=404, code=code_of(password_link))
    await send(world, "/set-password", status=404, code=invite_code, password=GOOD, again=GOOD)


async def test_registrations_from_one_address_are_limited(world: World) -> None:
    link, strict = await invite(world), allowing_attempts(world, 3)
    opened = await send(strict, "/register/open", start="/register", code=code_of(link))
    data = opened.fields | WHO | {"username": "researcher1"}
    for _ in range(3):
        assert (await strict.http.post("/register", data=data)).status_code == 400
    page = read(await strict.http.post("/register", data=data), status=429)
    assert "your link stays good" in page.text
    world.clock.advance(hours=1)
    await register(strict, link)


async def test_the_pages_can_be_looked_at_without_using_up_a_link(world: World) -> None:
    link = await invite(world)
    for _ in range(3):
        await look(world, "/register")
        await send(world, "/register/open", start="/register", code=code_of(link))
    await register(world, link)
