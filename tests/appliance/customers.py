"""People of a facility who use an installed daemon from its own machine: they get accounts and make a delivery.

A program, so that it can be run on the network of a booted machine, where nobody else reaches the daemon:
`python -m tests.appliance.customers SOCKET DIRECTORY URL [DDS [UNIT [CA]]]`. With the stock client's program `DDS` the
delivery is made by that one, which trusts the `CA` in a file. The unit is made if it is not there. The last line says
what was delivered. Letters are read by the operator: the daemon only keeps them.
"""

from __future__ import annotations

import asyncio
import filecmp
import io
import json
import re
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console

from ddsd.demo import dataset
from ddsd.demo.delivery import Credentials, deliver
from ddsd.demo.story import Story
from ddsd.secret import SecretText
from tests.parts.stock_client import Outcome, StockClient
from tests.web.pages import Page

PASSWORD: Final = "Only-for-this-Test-7"
ADMINS: Final = ("admin_one", "admin_two", "admin_three")
READER: Final = "reader"
URL: Final = "http://127.0.0.1:5000"


@dataclass(frozen=True)
class Site:
    """A daemon, as its operator and its people reach it: with a ``ca_file`` also where its letters say it is."""

    socket: Path
    url: str = URL
    unit: str = "test-unit"
    ca_file: Path | None = None

    def ctl(self, *arguments: str) -> Any:
        """Run ``ddsctl ARGUMENTS --json`` as the operator; return what it printed."""
        command = [sys.executable, "-m", "ddsctl", "--socket", str(self.socket)]
        done = subprocess.run(
            [*command, *arguments, "--json"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def invite_people(self) -> None:
        """Make a unit with three admins, and a researcher, as far as they are not there."""
        if any(one["username"] == READER for one in self.ctl("user", "ls")):
            return
        if not any(one["public_id"] == self.unit for one in self.ctl("unit", "ls")):
            self.ctl("unit", "create", self.unit, "--name", "Test", "--contact", "unit@example.org")
        for name in ADMINS:
            self._add_person(name, "unit-admin", "--unit", self.unit)
        self._add_person(READER, "researcher")

    def _add_person(self, username: str, role: str, *more: str) -> None:
        made = self.ctl(
            "user", "create", username, "--name", username, "--email", address(username),
            "--role", role, *more,
        )  # fmt: skip
        link, _, code = str(made["link"]).partition("#")
        page = link if self.ca_file else self.url + httpx.URL(link).path
        trust = ssl.create_default_context(cafile=self.ca_file)
        with httpx.Client(trust_env=False, timeout=30, verify=trust) as browser:
            form = Page(browser.get(page).text)
            fields = form.fields | {"code": code, "password": PASSWORD, "again": PASSWORD}
            answer = browser.post(page, data=fields)
        assert answer.status_code == 200, answer.text

    def code_of(self, username: str) -> str:
        """Return the one-time code that somebody was sent last."""
        letters = [one for one in self.ctl("mail", "ls") if one["recipient"] == address(username)]
        newest = max(one["id"] for one in letters if "One-Time" in one["subject"])
        text = str(self.ctl("mail", "show", str(newest))["text"])
        return next(word for word in text.split() if len(word) == 8 and word.isdigit())


def address(username: str) -> str:
    """Return somebody's mail address."""
    return f"{username}@example.org"


async def make_delivery(site: Site, source: Path, destination: Path) -> str:
    """Deliver the files by the demo's client; return the project."""

    async def read_code(username: str) -> str:
        return await asyncio.to_thread(site.code_of, username)

    facts = await deliver(
        site.url,
        unit_user=_credentials(ADMINS[0]),
        researcher=_credentials(READER),
        read_code=read_code,
        source=source,
        destination=destination,
        report=Story(Console(file=io.StringIO())),
    )
    return facts.project_id


def make_stock_delivery(site: Site, program: Path, source: Path, homes: Path) -> str:
    """Deliver the files by the stock client; return the project."""
    sender, recipient = (
        StockClient(program, homes / name, ca_file=site.ca_file) for name in (ADMINS[0], READER)
    )
    for client, name in ((sender, ADMINS[0]), (recipient, READER)):
        _succeeds(client.login(name, PASSWORD, lambda name=name: site.code_of(name)))  # type: ignore[misc]
    created = _succeeds(
        sender.run(
            "project", "create", "--title", "A test", "--description", "Of an installed daemon",
            "--principal-investigator", address(READER), "--researcher", address(READER),
        )
    )  # fmt: skip
    (project,) = set(re.findall(rf"{site.unit}\d{{5}}", created))
    sender.work.joinpath("in").symlink_to(source)
    _succeeds(sender.run("data", "put", "-p", project, "-s", "in/.", "--silent"))
    _succeeds(sender.run("project", "status", "release", "-p", project))
    getting = ("data", "get", "-p", project, "-a", "--verify-checksum", "-d", "out", "--silent")
    _succeeds(recipient.run(*getting))
    for file in (path for path in source.rglob("*") if path.is_file()):
        (received,) = recipient.work.joinpath("out").rglob(file.name)
        assert filecmp.cmp(file, received, shallow=False), file.name
    return str(project)


def _succeeds(outcome: Outcome) -> str:
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def _credentials(username: str) -> Credentials:
    return Credentials(username, address(username), SecretText(PASSWORD))


def main(
    socket: str,
    directory: str,
    url: str,
    stock_client: str = "",
    unit: str = "test-unit",
    ca_file: str = "",
) -> None:
    """Have people made and a delivery between them."""
    trusted = Path(ca_file) if ca_file else None
    site, place = Site(Path(socket), url, unit, trusted), Path(directory)
    site.invite_people()
    files = dataset.generate(place / "source", reads_per_file=50)
    if stock_client:
        project = make_stock_delivery(site, Path(stock_client), place / "source", place)
    else:
        project = asyncio.run(make_delivery(site, place / "source", place / "received"))
    sys.stdout.write(f"delivered {project}: {len(files)} files\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
