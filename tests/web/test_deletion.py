"""Deleting one's own account on the pages: asked for, confirmed with the mailed link, and gone."""

from __future__ import annotations

from sqlalchemy import select

from ddsd.access import System
from ddsd.users.tables import User
from ddsd.work import reading
from tests.v1.people import deactivate
from tests.web.pages import look, read, send
from tests.web.people import code_of
from tests.web.visits import another_browser, log_in, mailed_link
from tests.world import World


async def exists(world: World, who: str) -> bool:
    async with reading(world.services, System()) as work:
        found = await work.session.execute(select(User).where(User.columns().username == who))
        return found.first() is not None


async def test_asked_for_and_confirmed_the_account_is_gone(world: World) -> None:
    project = await world.project("admin1", "researcher1")
    await log_in(world, "researcher1")
    asked = await send(world, "/account/delete")
    assert "researcher1@example.org" in asked.text
    assert await exists(world, "researcher1")
    link = await mailed_link(world, "researcher1", "confirm_deletion")
    assert project in await world.newest_mail("researcher1@example.org", "confirm_deletion")
    done = await send(world, "/confirm-deletion", code=code_of(link))
    assert done.one("h1").text == "Your account is deleted"
    assert "ddsd-session" not in world.http.cookies
    assert not await exists(world, "researcher1")
    await send(world, "/login", status=401, username="researcher1", password="Correct-horse-1")


async def test_asking_twice_mails_once(world: World) -> None:
    await log_in(world, "researcher1")
    await send(world, "/account/delete")
    assert "was sent" in (await send(world, "/account/delete")).text


async def test_the_link_needs_a_login_and_is_not_used_up_without(world: World) -> None:
    await log_in(world, "researcher1")
    await send(world, "/account/delete")
    code = code_of(await mailed_link(world, "researcher1", "confirm_deletion"))
    other = another_browser(world)
    await look(other, "/confirm-deletion", status=401)
    form = await look(other, "/login")
    answer = await other.http.post("/confirm-deletion", data=form.fields | {"code": code})
    assert "Log in first" in read(answer, status=401).text
    await log_in(other, "researcher2")
    await send(other, "/confirm-deletion", status=403, code=code)
    assert await exists(world, "researcher1")
    await send(world, "/confirm-deletion", code=code)


async def test_an_admin_of_too_small_a_unit_stays(world: World) -> None:
    await log_in(world, "admin2")
    page = await send(world, "/account/delete", status=403)
    assert "Your unit only has 2 Unit Admins." in page.text


async def test_a_super_admin_is_told_that_this_is_not_for_them(world: World) -> None:
    await log_in(world, "super")
    await send(world, "/account/delete", status=403)


async def test_the_last_who_can_open_a_project_has_to_say_so(world: World) -> None:
    project = await world.project("admin1", "researcher1")
    await log_in(world, "researcher1")
    await send(world, "/account/delete")
    code = code_of(await mailed_link(world, "researcher1", "confirm_deletion"))
    for one in ("admin1", "admin1b", "admin1c", "staff1"):
        await deactivate(world, one)
    page = await send(world, "/confirm-deletion", status=403, code=code)
    assert f"Nobody else holds the key of {project}" in page.text
    assert project in page.one("label", **{"for": "lose"}).text
    assert await exists(world, "researcher1")
    await send(world, "/confirm-deletion", code=code, lose="yes")
    assert not await exists(world, "researcher1")
