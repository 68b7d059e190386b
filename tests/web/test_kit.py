"""The pages of the recovery kit: for admins alone, the words once, and a password before anything is made or ended."""

from __future__ import annotations

import pytest

from ddsd.keys import kits
from ddsd.secret import SecretText
from tests.projects.test_recovery import lose, opens, project
from tests.web.pages import Page, look, read, send
from tests.web.visits import another_browser, log_in
from tests.world import PASSWORD, World

PAGES = ["", "/new", "/revoke", "/restore"]


def words_on(page: Page) -> str:
    (listed,) = page.all("ol")
    return " ".join(listed.text.split())


async def make(world: World) -> Page:
    return await send(world, "/recovery-kit/new", current=PASSWORD)


@pytest.mark.parametrize("path", PAGES)
async def test_only_unit_admins_see_the_pages(world: World, path: str) -> None:
    await log_in(world, "staff1")
    await look(world, f"/recovery-kit{path}", status=403)
    page = await look(world, "/account")
    assert "/recovery-kit" not in [one.attributes.get("href") for one in page.all("a")]


@pytest.mark.parametrize("path", PAGES)
async def test_a_browser_without_a_login_is_sent_to_it(world: World, path: str) -> None:
    answer = await world.http.get(f"/recovery-kit{path}")
    assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (303, "/login")


async def test_the_words_are_shown_once_as_text_and_as_a_picture(world: World) -> None:
    await log_in(world, "admin1")
    assert "no recovery kit" in (await look(world, "/recovery-kit")).text
    page = await make(world)
    words = words_on(page)
    assert len(words.split()) == kits.WORDS
    kits.open_kit(SecretText(words))
    assert page.one("svg").attributes.keys() <= {"xmlns", "viewbox"}
    for path in PAGES:
        assert words not in (await look(world, f"/recovery-kit{path}")).source


async def test_the_words_that_were_shown_restore_what_was_lost(world: World) -> None:
    await log_in(world, "admin1")
    number, uid, private = await project(world.services)
    words = words_on(await make(world))
    await lose(world.services, "admin1", "admin1b")
    world.http.cookies.clear()
    await log_in(world, "admin1b")
    form = await look(world, "/recovery-kit/restore")
    answer = await world.http.post(
        "/recovery-kit/restore", data=form.fields | {"words": words, "everyone": "yes"}
    )
    assert answer.status_code == 200
    assert "2 keys were given back, to 4 people" in Page(answer.text).text
    assert words not in answer.text
    for username in ("admin1", "admin1b"):
        assert await opens(world.services, username, number, uid) == private


async def test_wrong_words_are_told_and_not_shown_again(world: World) -> None:
    await log_in(world, "admin1")
    await make(world)
    typed = kits.new_words().text()
    page = await send(world, "/recovery-kit/restore", words=typed, status=400)
    assert "another kit" in page.text
    assert typed not in page.source


async def test_trying_words_is_limited_for_each_admin(world: World) -> None:
    await log_in(world, "admin1")
    words = words_on(await make(world))
    form = await look(world, "/recovery-kit/restore")
    statuses = set()
    for _ in range(world.services.settings.security.logins_per_hour):
        tried = {"words": kits.new_words().text()}
        answer = await world.http.post("/recovery-kit/restore", data=form.fields | tried)
        statuses.add(answer.status_code)
    assert statuses == {400}
    answer = await world.http.post("/recovery-kit/restore", data=form.fields | {"words": words})
    assert "Too many words" in read(answer, status=429).text
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
    other = another_browser(world)
    await log_in(other, "admin1b")
    assert "Access is restored" in (await send(other, "/recovery-kit/restore", words=words)).text
    world.clock.advance(hours=1)
    assert "Access is restored" in (await send(world, "/recovery-kit/restore", words=words)).text


async def test_nothing_is_made_or_revoked_without_the_password(world: World) -> None:
    await log_in(world, "admin1")
    page = await send(world, "/recovery-kit/new", current="Another-pass-1", status=400)
    assert "not your password" in page.text
    assert "no recovery kit" in (await look(world, "/recovery-kit")).text
    await make(world)
    await send(world, "/recovery-kit/revoke", current="Another-pass-1", status=400)
    assert "no recovery kit" not in (await look(world, "/recovery-kit")).text


async def test_a_form_sent_twice_leaves_the_paper_that_was_printed_good(world: World) -> None:
    await log_in(world, "admin1")
    form = await look(world, "/recovery-kit/new")
    data = form.fields | {"current": PASSWORD}
    words = words_on(Page((await world.http.post("/recovery-kit/new", data=data)).text))
    again = await world.http.post("/recovery-kit/new", data=data)
    assert again.status_code == 409
    answer = await send(world, "/recovery-kit/restore", words=words)
    assert "Access is restored" in answer.text


async def test_a_kit_is_replaced_and_revoked(world: World) -> None:
    await log_in(world, "admin1")
    old = words_on(await make(world))
    new = words_on(await make(world))
    assert old != new
    await send(world, "/recovery-kit/restore", words=old, status=400)
    form = await look(world, "/recovery-kit/revoke")
    answer = await world.http.post("/recovery-kit/revoke", data=form.fields | {"current": PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/recovery-kit")
    assert "no recovery kit" in (await look(world, "/recovery-kit")).text


async def test_the_last_paper_is_revoked_only_after_a_second_question(world: World) -> None:
    await log_in(world, "admin1")
    _, uid, _ = await project(world.services)
    await make(world)
    await lose(world.services, "admin1", "admin1b", "admin1c", "staff1")
    page = await send(world, "/recovery-kit/revoke", current=PASSWORD, status=403)
    assert uid in page.text
    page.one("input", name="confirmed")
    answer = await world.http.post(
        "/recovery-kit/revoke", data=page.fields | {"current": PASSWORD, "confirmed": "yes"}
    )
    assert answer.status_code == 303


async def test_projects_a_kit_lacks_are_named_and_added_by_who_opens_them(world: World) -> None:
    _, uid, _ = await project(world.services)
    await lose(world.services, "admin1")
    await log_in(world, "admin1")
    assert uid in (await make(world)).text
    world.http.cookies.clear()
    await log_in(world, "admin1b")
    page = await look(world, "/recovery-kit")
    assert uid in page.text
    await world.http.post("/recovery-kit/complete", data=page.fields)
    assert uid not in (await look(world, "/recovery-kit")).text
