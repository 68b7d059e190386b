"""Logins for tests of second factors: half done and done, without a plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import select

from ddsd.access import System
from ddsd.mail import outbox
from ddsd.mail.tables import Mail
from ddsd.users import login, sessions
from ddsd.users.sessions import Caller
from ddsd.users.tables import User
from ddsd.work import Services, Work, reading, transaction
from tests.users.people import PASSWORD


async def half_in(services: Services, user: User) -> str:
    """Give the password; return the partial token."""
    return (await login.check_password(services, user.username, PASSWORD, "192.0.2.7")).token


async def fully_in(services: Services, user: User) -> str:
    """Log in with a mailed code; return the session token."""
    partial = await half_in(services, user)
    letter = await newest_letter(services, "one_time_code")
    code = next(word for word in letter.split() if len(word) == 8 and word.isdigit())
    return await login.check_second_factor(services, partial, mailed=code, app=None)


@asynccontextmanager
async def calling(services: Services, token: str) -> AsyncIterator[tuple[Work, Caller]]:
    """Open a transaction for whose token this is."""
    async with transaction(services, System()) as work:
        yield work, await sessions.find(work, token)


async def caller_of(services: Services, token: str) -> Caller:
    """Return whose token this is."""
    async with calling(services, token) as (_, caller):
        return caller


async def newest_letter(services: Services, kind: str) -> str:
    """Return the text of the newest letter of a kind."""
    async with reading(services, System()) as work:
        found = await work.session.execute(
            select(Mail.columns().id)
            .where(Mail.columns().kind == kind)
            .order_by(Mail.columns().id.desc())
            .limit(1)
        )
        return (await outbox.show(work, found.scalar_one())).text
