"""The pages on which somebody changes their own name and address."""

from __future__ import annotations

import pytest

from tests.web.pages import look, read, send
from tests.web.people import code_of
from tests.web.visits import account, another_browser, log_in, mailed_link
from tests.world import PASSWORD, World

WHO = "researcher1"


@pytest.fixture
def kind() -> str:
    """What the pages do with the database is tested on both kinds elsewhere."""
    return "sqlite"


async def want(world: World, address: str) -> str:
    return (await send(world, "/account/email", email=address, current=PASSWORD)).text


async def test_a_name_is_changed_and_shown(world: World) -> None:
    await log_in(world, WHO)
    form = await look(world, "/account/name")
    assert form.one("input", id="name").attributes["value"] == "Researcher1"
    answer = await world.http.post("/account/name", data=form.fields | {"name": " Åsa   Öberg "})
    assert answer.headers["Location"] == "/account"
    assert "Åsa Öberg" in (await look(world, "/account")).text
    assert (await account(world, WHO)).name == "Åsa Öberg"


@pytest.mark.parametrize("name", ["", "x", "a\u202eb", "n" * 256], ids=len)
async def test_a_name_that_cannot_be_shown_changes_nothing(world: World, name: str) -> None:
    await log_in(world, WHO)
    page = await send(world, "/account/name", status=400, name=name)
    assert page.all("a", href="#name")
    assert page.one("input", id="name").attributes.get("value", "") == name
    assert (await account(world, WHO)).name == "Researcher1"


async def test_an_address_is_changed_by_the_link_mailed_to_it(world: World) -> None:
    project = await world.project("admin1", WHO)
    await log_in(world, WHO)
    assert "new@example.org" in await want(world, "new@example.org")
    link = await mailed_link(world, "new", "confirm_email")
    assert "/confirm-email#" in link
    done = await send(world, "/confirm-email", code=code_of(link))
    assert done.one("h1").text == "Your e-mail address is changed"
    assert "new@example.org" in (await look(world, "/account")).text
    await world.release(project)
    assert project in await world.newest_mail("new@example.org", "project_released")
    await send(world, "/confirm-email", status=404, code=code_of(link))


async def test_the_link_needs_a_login_and_is_not_used_up_without(world: World) -> None:
    await log_in(world, WHO)
    await want(world, "new@example.org")
    code = code_of(await mailed_link(world, "new", "confirm_email"))
    other = another_browser(world)
    await look(other, "/confirm-email", status=401)
    form = await look(other, "/login")
    answer = await other.http.post("/confirm-email", data=form.fields | {"code": code})
    assert "Log in first" in read(answer, status=401).text
    await log_in(other, "researcher2")
    await send(other, "/confirm-email", status=404, code=code)
    await send(world, "/confirm-email", code=code)


async def test_a_taken_address_gets_the_same_answer(world: World) -> None:
    await log_in(world, WHO)
    free = await want(world, "new@example.org")
    taken = await want(world, "researcher2@example.org")
    assert taken == free.replace("new@example.org", "researcher2@example.org")


async def test_what_does_not_fit_is_told_at_its_field(world: World) -> None:
    await log_in(world, WHO)
    page = await send(
        world, "/account/email", status=400, email="new@example.org", current="Wrong-horse-1"
    )
    assert page.one("a", href="#current").text == "This is not your password."
    assert page.one("input", id="email").attributes["value"] == "new@example.org"
    page = await send(world, "/account/email", status=400, email="new", current=PASSWORD)
    assert page.all("a", href="#email")


@pytest.mark.parametrize("path", ["/account/name", "/account/email"])
async def test_these_pages_need_a_login(world: World, path: str) -> None:
    answer = await world.http.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/login?next={path}")
    form = await look(world, "/login")
    answer = await world.http.post(path, data=form.fields | {"name": "x", "email": "x@y.org"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
