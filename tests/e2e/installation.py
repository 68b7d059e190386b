"""An installation as the operator's guide makes it: a configuration, a key, a migrated database, `ddsd serve`."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ddsd.demo.delivery import Credentials
from ddsd.secret import SecretText
from tests.daemon.process import Place
from tests.parts.smtp import MailServer
from tests.web.pages import Page

PASSWORD = "Only-for-this-Test-7"
CONFIG = """\
[instance]
facility = "Test Facility"
contact = "help@example.org"
public_url = "http://127.0.0.1:{port}"
state_dir = "{directory}/state"
key_file = "{directory}/instance.key"
[listen]
port = {port}
admin_socket = "{directory}/run/admin.sock"
drain_s = 10
[database]
url = "{database}"
[mail]
kind = "smtp"
host = "127.0.0.1"
port = {mail_port}
security = "none"
sender = "Deliveries <dds@example.org>"
[log]
level = "debug"
format = "json"
"""


@dataclass(frozen=True)
class Installation:
    """A place that was set up, and the mail server its people read."""

    place: Place
    mail: MailServer
    database_url: str

    @property
    def url(self) -> str:
        """Where people reach it."""
        return f"http://127.0.0.1:{self.place.port}"

    def ctl(self, *arguments: str) -> Any:
        """Run ``ddsctl --json ARGUMENTS`` as the operator; return what it printed."""
        command = [sys.executable, "-m", "ddsctl", "--socket", str(self.place.socket)]
        done = subprocess.run(
            [*command, *arguments, "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def add_person(
        self,
        username: str,
        role: str,
        unit: str | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> str:
        """Make an account, follow its link in a browser and set the password; return the link."""
        options = ("--unit", unit) if unit else ()
        made = self.ctl(
            "user", "create", username, "--name", f"Person {username}",
            "--email", f"{username}@example.org", "--role", role, *options,
        )  # fmt: skip
        link = str(made["link"])
        page, _, code = link.partition("#")
        with httpx.Client(trust_env=False, timeout=30, verify=trust or True) as browser:
            form = Page(browser.get(page).text)
            answer = browser.post(
                page, data=form.fields | {"code": code, "password": PASSWORD, "again": PASSWORD}
            )
        assert answer.status_code == 200, answer.text
        return link

    async def read_code(self, username: str) -> str:
        """Return the newest one-time code somebody was mailed: it was sent before the login was answered."""
        letters = self.mail.to(f"{username}@example.org")
        return next(one.code for one in reversed(letters) if "One-Time" in one.subject)


def set_up(
    directory: Path, database: str, mail: MailServer, *, port: int | None = None, store: str = ""
) -> Installation:
    """Do what the operator's guide says, up to `ddsd serve`; ``store`` is the section of that name."""
    directory.mkdir(parents=True)
    place = Place(directory) if port is None else Place(directory, port)
    url = database or f"sqlite:///{place.database}"
    config = CONFIG.format(directory=directory, port=place.port, database=url, mail_port=mail.port)
    place.config.write_text(config + store)
    for words in (["new-instance-key", str(place.key)], ["migrate"], ["check-config"]):
        done = place.run(*words, config=words[0] != "new-instance-key")
        assert done.returncode == 0, done.stderr
    return Installation(place, mail, url)


def credentials(username: str) -> Credentials:
    """Return how somebody made with :meth:`Installation.add_person` logs in."""
    return Credentials(username, f"{username}@example.org", SecretText(PASSWORD))
