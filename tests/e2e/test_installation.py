"""A real installation, from the first key to the first delivery, and what is in its log and its database after it."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from sqlalchemy import select

from ddsd.db.engine import Database
from ddsd.demo import dataset
from ddsd.demo.delivery import DemoFailed, deliver
from ddsd.demo.story import Story
from ddsd.tables import METADATA
from tests.daemon.process import Daemon, wait_until
from tests.e2e.installation import PASSWORD, Installation, credentials, set_up
from tests.parts.smtp import MailServer
from tests.thorough import KINDS, KINDS_ABOVE

pytestmark = pytest.mark.slow

ADMINS = ("admin_one", "admin_two", "admin_three")


@pytest.fixture(params=KINDS_ABOVE)
def installation(
    request: pytest.FixtureRequest, tmp_path: Path, mail_server: MailServer
) -> Installation:
    """An installation on either database that nobody has started yet."""
    database = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    return set_up(tmp_path / "site", database, mail_server)


@pytest.fixture
def daemon(installation: Installation) -> Iterator[Daemon]:
    """Its daemon, serving."""
    running = installation.place.start().ready()
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.wait()


@pytest.fixture
def people(installation: Installation, daemon: Daemon) -> list[str]:
    """A unit with three admins, and a researcher; the links they set their passwords with."""
    assert daemon.process.poll() is None
    installation.ctl(
        "unit", "create", "genomics", "--name", "Genomics", "--display-name", "Genomics Core",
        "--contact", "genomics@example.org",
    )  # fmt: skip
    links = [installation.add_person(name, "unit-admin", "genomics") for name in ADMINS]
    return [*links, installation.add_person("reader", "researcher")]


async def make_delivery(installation: Installation, directory: Path) -> list[str]:
    """Deliver a small data set; return every secret that was seen on the way."""
    seen: list[str] = []

    async def read_code(username: str) -> str:
        seen.append(await installation.read_code(username))
        return seen[-1]

    dataset.generate(directory / "source", reads_per_file=50)
    await deliver(
        installation.url,
        unit_user=credentials("admin_one"),
        researcher=credentials("reader"),
        read_code=read_code,
        source=directory / "source",
        destination=directory / "received",
        report=Story(Console(file=io.StringIO())),
    )
    return seen


async def ask(installation: Installation, path: str, headers: dict[str, str]) -> httpx.Response:
    """Send one GET on the stock wire."""
    async with httpx.AsyncClient(base_url=installation.url, trust_env=False) as http:
        return await http.get(f"/api/v1{path}", headers={"X-CLI-Version": "2.15.1"} | headers)


@pytest.mark.parametrize("installation", KINDS, indirect=True)
async def test_from_nothing_to_a_delivery_and_no_secret_in_the_log_or_in_any_row(
    installation: Installation, daemon: Daemon, people: list[str], tmp_path: Path
) -> None:
    codes = await make_delivery(installation, tmp_path)
    wrong = await ask(installation, "/user/info", {"Authorization": "Bearer eyJ.this-is-a-token"})
    assert wrong.status_code == 401
    assert len(daemon.requests(20)) >= 20

    log = daemon.log
    secrets = [PASSWORD, "eyJ.this-is-a-token", "X-Amz-Signature", *codes]
    secrets += [link.partition("#")[2] for link in people]
    secrets += [path.read_text().strip() for path in (installation.place.key,)]
    for secret in secrets:
        assert secret not in log, f"{secret[:4]}… is in the log"
    assert "Traceback" not in log
    assert any(one.get("actor") == "user admin_one" for one in daemon.events("request"))

    daemon.tell(signal.SIGTERM)
    assert daemon.exit_code() == 0
    rows = await every_value(installation.database_url)
    assert b"admin_one@example.org" in rows
    for secret in [PASSWORD, *codes, *(link.partition("#")[2] for link in people)]:
        assert secret.encode() not in rows


async def every_value(url: str) -> bytes:
    """Return all that the database holds, in one piece: text as it is, bytes as they are."""
    database, values = Database(url), []
    async with database.reading() as session:
        for table in METADATA.sorted_tables:
            for row in await session.execute(select(table)):
                values += [
                    value if isinstance(value, bytes) else str(value).encode() for value in row
                ]
    await database.close()
    return b"\n".join(values)


async def test_without_mail_only_the_login_that_needs_a_code_is_refused(
    installation: Installation, daemon: Daemon, people: list[str], tmp_path: Path
) -> None:
    assert people
    installation.mail.refuse(451)
    with pytest.raises(DemoFailed) as refused:
        await make_delivery(installation, tmp_path)
    assert refused.value.status == 503
    assert "We could not send your one-time code right now" in refused.value.message
    assert (await ask(installation, "/motd", {})).status_code == 200
    installation.mail.accept()
    await make_delivery(installation, tmp_path / "again")
    wait_until(
        lambda: any(
            "made available" in one.subject for one in installation.mail.to("reader@example.org")
        ),
        "the mail about the release",
    )


async def test_a_daemon_that_was_killed_goes_on_where_it_was(
    installation: Installation, people: list[str], tmp_path: Path, daemon: Daemon
) -> None:
    assert people
    await make_delivery(installation, tmp_path)
    daemon.process.kill()
    daemon.process.wait()
    again = installation.place.start().ready(times=2)
    try:
        await make_delivery(installation, tmp_path / "again")
        assert len(installation.ctl("project", "ls")) == 2
    finally:
        again.tell(signal.SIGTERM)
        assert again.exit_code() == 0
