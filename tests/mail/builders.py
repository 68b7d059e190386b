"""Services for the tests of mail and jobs: real databases, a clock that can be set, a chosen transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

import pytest

from ddsd.access import Operator
from ddsd.db.engine import Database
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import KdfCost
from ddsd.keys.instance import InstanceKey
from ddsd.mail.kept import KeptTransport
from ddsd.mail.port import MailTransport
from ddsd.mail.smtp import SmtpTransport
from ddsd.secret import SecretText
from ddsd.settings import Instance, MailSection, MailSecurity, Settings
from ddsd.storage.minio import S3Store
from ddsd.tables import METADATA
from ddsd.work import Services
from tests.parts.smtp import MailServer

ROOT: Final = Operator(uid=0, name="root")
SENDER: Final = "Sequencing Core <deliveries@core.example>"


class SetClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the moment it was set to."""
        return self.moment

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self.moment += by


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


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ddsd.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def new_services(database_url: str, clock: SetClock) -> AsyncIterator[NewServices]:
    """A maker of services at one database whose tables exist."""
    key = InstanceKey.generate()
    deriver = Deriver(KdfCost(8192, 1, 1), parallel=1)
    store = S3Store(
        endpoint="http://127.0.0.1:9", access_key="x" * 16, secret_key=SecretText("y" * 16)
    )
    async with AsyncExitStack() as at_the_end:
        at_the_end.callback(deriver.close)

        async def make(
            post: MailTransport | None = None, wake: Callable[[], None] | None = None
        ) -> Services:
            database = Database(database_url)
            at_the_end.push_async_callback(database.close)
            return Services(
                settings=settings(),
                clock=clock,
                database=database,
                store=store,
                post=post or KeptTransport(),
                instance_key=key,
                deriver=deriver,
                wake_jobs=wake or _nothing,
            )

        first = await make()
        async with first.database.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        yield make


@pytest.fixture
async def services(new_services: NewServices) -> Services:
    """The services of an installation that keeps its mail."""
    return await new_services()


@pytest.fixture
async def sending(new_services: NewServices, mail_server: MailServer) -> Services:
    """The services of an installation that sends its mail."""
    return await new_services(post_to(mail_server))


async def until(fact: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Wait until ``fact`` is so; fail the test if it does not come true."""
    async with asyncio.timeout(seconds):
        while not await fact():  # noqa: ASYNC110  # rows ring no bell
            await asyncio.sleep(0.01)


def _nothing() -> None:
    pass
