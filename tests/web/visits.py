"""A browser that logs in, as tests of the pages need it."""

from __future__ import annotations

import base64

import httpx
import pyotp
from sqlalchemy import select

from ddsd.access import System
from ddsd.mail import outbox
from ddsd.users.tables import User
from ddsd.work import reading
from tests.web.pages import look
from tests.world import EMAIL, PASSWORD, World, make_world


def another_browser(world: World) -> World:
    """Return the same world, seen by a browser with no cookies."""
    return make_world(world.services, world.clock)


async def password_step(world: World, who: str, password: str = PASSWORD) -> httpx.Response:
    """Give username and password; return the answer, which asks for the second factor."""
    form = await look(world, "/login")
    answer = await world.http.post(
        "/login", data=form.fields | {"username": who, "password": password}
    )
    assert answer.status_code == 303, answer.text
    return answer


async def second_step(world: World, who: str, code: str = "") -> httpx.Response:
    """Give the mailed code, or the one said; return the answer, which leads to the first page."""
    form = await look(world, "/login/code")
    answer = await world.http.post(
        "/login/code", data=form.fields | {"otp": code or await world.code_of(who)}
    )
    assert answer.status_code == 303, answer.text
    return answer


async def log_in(world: World, who: str, password: str = PASSWORD) -> httpx.Response:
    """Log the browser in, through both steps."""
    await password_step(world, who, password)
    return await second_step(world, who)


async def account(world: World, who: str) -> User:
    """Return somebody's row as it is now."""
    async with reading(world.services, System()) as work:
        found = await work.session.execute(select(User).where(User.columns().username == who))
        return found.scalar_one()


async def kinds_mailed(world: World, who: str) -> list[str]:
    """Return the kinds of the letters written to somebody, newest first."""
    async with reading(world.services, System()) as work:
        return [one.kind for one in await outbox.listing(work, 1000, EMAIL.format(who))]


async def mailed_link(world: World, who: str, kind: str) -> str:
    """Return the link in the newest letter of a kind to somebody."""
    letter = await world.newest_mail(EMAIL.format(who), kind)
    return next(word for word in letter.split() if "#" in word)


def app_code(world: World, secret: str) -> str:
    """Return what an authenticator app with this secret (base32) shows now."""
    base64.b32decode(secret)
    return pyotp.TOTP(secret).at(world.clock.now())
