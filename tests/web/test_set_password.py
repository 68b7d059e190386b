"""Choosing the first password: what a browser sees, from the link in the mail to the first login."""

from __future__ import annotations

import asyncio

import pytest

from ddsd.access import System
from ddsd.notices.tables import Switch
from ddsd.work import transaction
from tests.web.pages import look, read, send
from tests.web.people import GOOD, allowing_attempts, code_of, link_for_new_account
from tests.world import World


async def test_the_password_is_set_and_logs_in(world: World) -> None:
    link = await link_for_new_account(world)
    done = await send(world, "/set-password", code=code_of(link), password=GOOD, again=GOOD)
    assert "Your username is newcomer" in done.text
    assert "dds auth login" in done.text
    assert await world.login("newcomer", GOOD)


async def test_without_a_script_the_whole_link_is_pasted(world: World) -> None:
    link = await link_for_new_account(world)
    pasted = f" <{link[:40]}\r\n{link[40:]}>. "
    done = await send(world, "/set-password", code=pasted, password=GOOD, again=GOOD)
    assert "Your password is set" in done.text


async def test_the_code_is_a_field_until_a_script_hides_it(world: World) -> None:
    page = await look(world, "/set-password")
    field = page.one("input", name="code")
    assert field.attributes["type"] == "text"
    assert "hidden" not in field.attributes
    assert page.one("label", **{"for": "code"}).text == "The link in your mail"


@pytest.mark.parametrize(
    ("password", "misses"),
    [
        ("Aa1aaaaaaa", None),
        ("Aa1aaaaaa", "at least 10 characters"),
        ("Aa1" + "a" * 61, None),
        ("Aa1" + "a" * 62, "at most 64 characters"),
        ("AA1AAAAAAA", "a lower-case letter"),
        ("aa1aaaaaaa", "an upper-case letter"),
        ("Aaaaaaaaaa", "a digit or one of"),
        ("Aa-aaaaaaa", None),
        ("Aa1aaaaaa€", "only characters of Latin-1"),
        ("Äö1:aaaaaß", None),
        ("A\u0308o\u03081aaaaaaa", None),
        ("Aa1 + & = % ;", None),
        (" Aa1aaaaaa ", None),
        ("", "at least 10 characters"),
    ],
)
async def test_passwords_at_the_edges_of_the_rules(
    world: World, password: str, misses: str | None
) -> None:
    link = await link_for_new_account(world)
    page = await send(
        world,
        "/set-password",
        status=400 if misses else 200,
        code=code_of(link),
        password=password,
        again=password,
    )
    if misses:
        assert misses in page.text
        assert page.one("input", id="password").attributes["aria-invalid"] == "true"
        assert page.fields["code"] == code_of(link)
    else:
        assert await world.partial_token("newcomer", _composed(password))


def _composed(password: str) -> str:
    return password.replace("A\u0308", "Ä").replace("o\u0308", "ö")


async def test_a_password_is_never_sent_back(world: World) -> None:
    link = await link_for_new_account(world)
    page = await send(
        world, "/set-password", status=400, code=code_of(link), password=GOOD, again=GOOD + "x"
    )
    assert GOOD not in page.source
    assert page.one("a", href="#again").text.startswith("The two passwords differ")
    await send(world, "/set-password", code=code_of(link), password=GOOD, again=GOOD)


async def test_a_link_works_once(world: World) -> None:
    code, other = code_of(await link_for_new_account(world)), GOOD + "2"
    await send(world, "/set-password", code=code, password=GOOD, again=GOOD)
    page = await send(world, "/set-password", status=404, code=code, password=other, again=other)
    assert "was used already" in page.text
    assert page.all("a", href="#code")
    assert await world.partial_token("newcomer", GOOD)


async def test_of_two_browsers_at_once_one_sets_the_password(world: World) -> None:
    link = await link_for_new_account(world)
    form = await look(world, "/set-password")
    answers = await asyncio.gather(
        *(
            world.http.post(
                "/set-password",
                data=form.fields | {"code": code_of(link), "password": one, "again": one},
            )
            for one in (GOOD, GOOD + "2")
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 404]
    winner = (GOOD, GOOD + "2")[[answer.status_code for answer in answers].index(200)]
    assert await world.login("newcomer", winner)


async def test_a_link_expires_after_72_hours(world: World) -> None:
    link = await link_for_new_account(world)
    world.clock.advance(hours=72, seconds=-1)
    await send(world, "/set-password", status=400, code=code_of(link), password="x", again="x")
    world.clock.advance(seconds=1)
    await send(world, "/set-password", status=404, code=code_of(link), password=GOOD, again=GOOD)


@pytest.mark.parametrize(
    "code",
    ["", "x", "A" * 43, "A" * 42 + "é", "A" * 44, "\x00", "#", "𝟜" * 43, "A" * 10_000],
    ids=["none", "short", "forged", "é", "long", "nul", "hash", "digits", "huge"],
)
async def test_a_forged_or_truncated_link_is_refused(world: World, code: str) -> None:
    page = await send(world, "/set-password", status=404, code=code, password=GOOD, again=GOOD)
    assert "is not complete" in page.text


async def test_a_truncated_link_leaves_the_whole_one_good(world: World) -> None:
    code = code_of(await link_for_new_account(world))
    await send(world, "/set-password", status=404, code=code[:-1], password=GOOD, again=GOOD)
    await send(world, "/set-password", code=code, password=GOOD, again=GOOD)


async def test_attempts_from_one_address_are_limited(world: World) -> None:
    strict = allowing_attempts(world, 3)
    form = await look(strict, "/set-password")
    data = form.fields | {"code": "A" * 43, "password": GOOD, "again": GOOD}
    for _ in range(3):
        read(await strict.http.post("/set-password", data=data), status=404)
    answer = await strict.http.post("/set-password", data=data)
    page = read(answer, status=429)
    assert answer.headers["Retry-After"] == "3600"
    assert page.fields["code"] == "A" * 43
    world.clock.advance(hours=1)
    read(await strict.http.post("/set-password", data=data), status=404)


async def test_during_maintenance_the_link_stays_good(world: World) -> None:
    code = code_of(await link_for_new_account(world))
    async with transaction(world.services, System()) as work:
        work.session.add(Switch(name="maintenance", on=True))
    page = await send(world, "/set-password", status=503, code=code, password=GOOD, again=GOOD)
    assert "Maintenance" in page.text
    async with transaction(world.services, System()) as work:
        (await work.session.get_one(Switch, "maintenance")).on = False
    await send(world, "/set-password", code=code, password=GOOD, again=GOOD)
