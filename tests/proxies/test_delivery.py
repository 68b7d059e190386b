"""Whole deliveries through a proxy with TLS, for both kinds of store, and whom the daemon then sees asking."""

from __future__ import annotations

import io
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from ddsd.demo import dataset
from ddsd.demo.delivery import CLIENT_VERSION, deliver
from ddsd.demo.story import Story
from tests.daemon.process import Daemon
from tests.e2e.installation import PASSWORD, Installation, credentials, set_up
from tests.parts.certificates import Authority
from tests.parts.minio_server import MinioServer
from tests.parts.ports import free_port
from tests.parts.proxies import PROXIES, Site
from tests.parts.smtp import MailServer

pytestmark = pytest.mark.slow

ADMINS = ("admin_one", "admin_two")


@dataclass(frozen=True)
class Outside:
    """An installation with a proxy before it, seen from outside."""

    installation: Installation
    daemon: Daemon
    site: Site

    @property
    def trust(self) -> ssl.SSLContext:
        return self.site.authority.trusting()

    def browser(self, local_address: str) -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.trust, local_address=local_address)
        return httpx.Client(base_url=self.site.daemon_url, transport=transport, timeout=30)


@pytest.fixture(params=[("nginx", "minio"), ("caddy", "embedded")], ids="-".join)
def outside(
    request: pytest.FixtureRequest, tmp_path: Path, mail_server: MailServer
) -> Iterator[Outside]:
    proxy, store = request.param
    store_port = free_port()
    environment: dict[str, str] = {"DDSD_STORE__PORT": str(store_port)}
    if store == "minio":
        server: MinioServer = request.getfixturevalue("minio")
        (tmp_path / "store.secret").touch(0o600)
        (tmp_path / "store.secret").write_text(server.secret_key.text())
        store_port = int(server.endpoint.rpartition(":")[2])
        environment = {
            "DDSD_STORE__KIND": "s3",
            "DDSD_STORE__ENDPOINT": server.endpoint,
            "DDSD_STORE__ACCESS_KEY": server.access_key,
            "DDSD_STORE__SECRET_KEY_FILE": str(tmp_path / "store.secret"),
        }
    installation = set_up(tmp_path / "site", "", mail_server)
    place = tmp_path / "proxy"
    place.mkdir()
    site = Site(place, Authority(), installation.place.port, store_port)
    with PROXIES[proxy](site):
        daemon = installation.place.start(
            DDSD_INSTANCE__PUBLIC_URL=site.daemon_url,
            DDSD_LISTEN__TRUSTED_PROXIES="127.0.0.1",
            DDSD_STORE__PUBLIC_ENDPOINT=site.store_url,
            **environment,
        )
        try:
            yield Outside(installation, daemon.ready(), site)
        finally:
            daemon.process.kill()
            daemon.process.wait()


async def test_a_delivery_is_made_through_it(outside: Outside, tmp_path: Path) -> None:
    installation = outside.installation
    installation.ctl(
        "unit", "create", "genomics", "--name", "Genomics", "--display-name", "Genomics Core",
        "--contact", "genomics@example.org",
    )  # fmt: skip
    for name in ADMINS:
        installation.add_person(name, "unit-admin", "genomics", trust=outside.trust)
    installation.add_person("reader", "researcher", trust=outside.trust)
    dataset.generate(tmp_path / "source", reads_per_file=50)
    facts = await deliver(
        outside.site.daemon_url,
        unit_user=credentials("admin_one"),
        researcher=credentials("reader"),
        read_code=installation.read_code,
        source=tmp_path / "source",
        destination=tmp_path / "received",
        report=Story(Console(file=io.StringIO())),
        trust=outside.trust,
    )
    assert len(facts.files) == 5
    _says_who_asks_and_guards_answers(outside)


def _says_who_asks_and_guards_answers(outside: Outside) -> None:
    """Begin a login from another address of this machine, with a forged one beside it."""
    forged = {"X-Forwarded-For": "203.0.113.7", "X-CLI-Version": CLIENT_VERSION}
    with outside.browser(local_address="127.0.0.2") as browser:
        answer = browser.get("/login", headers=forged)
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
        assert "secure" in answer.headers["set-cookie"].lower()
        begun = browser.get(
            "/api/v1/user/encrypted_token", headers=forged, auth=("reader", PASSWORD)
        )
        assert begun.status_code == 200
        large = browser.post("/api/v1/user/second_factor", content=b"x" * (64 * 1024 * 1024 + 1))
        assert large.status_code == 413
    sessions = outside.installation.ctl("session", "ls")
    assert {one["address"] for one in sessions} == {"127.0.0.1", "127.0.0.2"}
