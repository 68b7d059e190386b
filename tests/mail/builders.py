"""Services for the tests of mail and jobs: several daemons at one database, a chosen transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

from ddsd.access import Operator
from ddsd.db.engine import Database
from ddsd.mail.port import MailTransport
from ddsd.mail.smtp import SmtpTransport
from ddsd.settings import Instance, MailSection, MailSecurity, Settings
from ddsd.work import Services
from tests.builders import SettableClock
from tests.parts.smtp import MailServer
from tests.services import make_services

ROOT: Final = Operator(uid=0, name="root")
SENDER: Final = "Sequencing Core <deliveries@core.example>"


class NewServices(Protocol):
    """Makes the services of one more daemon at the test's database."""

    async def __call__(
        self, post: MailTransport | None = None, wake: Callable[[], None] | None = None
    ) -> Services: ...


def settings() -> Settings:
    return Settings(
        instance=Instance(
            facility="Sequencing Core",
            contact="help@core.example",
            public_url="https://dds.core.example",
        ),
        mail=MailSection(attempts=3),
    )


def post_to(
    server: MailServer, *, security: MailSecurity = MailSecurity.NONE, timeout_s: float = 20
) -> SmtpTransport:
    return SmtpTransport(server.host, server.port, security, "", None, SENDER, timeout_s)


@pytest.fixture
async def new_services(
    database_url: str, clock: SettableClock, tmp_path: Path
) -> AsyncIterator[NewServices]:
    """A maker of services at one migrated database, with one instance key."""
    made: list[Services] = []
    async with AsyncExitStack() as at_the_end:

        async def make(
            post: MailTransport | None = None, wake: Callable[[], None] | None = None
        ) -> Services:
            database = Database(database_url)
            at_the_end.push_async_callback(database.close)
            parts: dict[str, Any] = {"settings": settings(), "wake_jobs": wake or _nothing}
            if made:
                parts["instance_key"] = made[0].instance_key
            if post is not None:
                parts["post"] = post
            made.append(make_services(database, clock, tmp_path, **parts))
            return made[-1]

        yield make
        for services in made:
            services.deriver.close()


@pytest.fixture
async def services(new_services: NewServices) -> Services:
    """The services of an installation that keeps its mail."""
    return await new_services()


@pytest.fixture
async def sending(new_services: NewServices, mail_server: MailServer) -> Services:
    """The services of an installation that sends its mail."""
    return await new_services(post_to(mail_server))


def let_pass(clock: SettableClock, time: timedelta) -> None:
    clock.advance(seconds=time.total_seconds())


async def until(fact: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Wait until ``fact`` is so; fail the test if it does not come true."""
    async with asyncio.timeout(seconds):
        while not await fact():  # noqa: ASYNC110  # rows ring no bell
            await asyncio.sleep(0.01)


def _nothing() -> None:
    pass
