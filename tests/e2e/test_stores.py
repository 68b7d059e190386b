"""The stock client delivers through an installation whose objects are in a versitygw, with keys of its IAM service.

The embedded store and MinIO are under the demos of ``test_stock_client.py``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.process import Daemon
from tests.e2e.installation import PASSWORD, Installation, set_up
from tests.e2e.test_stock_client import assert_same_tree
from tests.parts.smtp import MailServer
from tests.parts.stock_client import StockClient
from tests.parts.versitygw import VersityServer, versitygw_server

pytestmark = [pytest.mark.xdist_group("stock-client"), pytest.mark.slow]

MIB = 1024 * 1024
STORE = """\
[store]
kind = "s3"
endpoint = "{endpoint}"
iam_endpoint = "{iam_endpoint}"
access_key = "{access_key}"
secret_key_file = "{secret_file}"
"""


@pytest.fixture
def versitygw(tmp_path: Path) -> Iterator[VersityServer]:
    directory = tmp_path / "versitygw"
    directory.mkdir()
    yield from versitygw_server(directory)


@pytest.fixture
def installation(
    versitygw: VersityServer, tmp_path: Path, stock_port: int, mail_server: MailServer
) -> Installation:
    secret_file = tmp_path / "store.secret"
    secret_file.touch(mode=0o600)
    secret_file.write_text(versitygw.secret_key.text())
    store = STORE.format(
        endpoint=versitygw.endpoint,
        iam_endpoint=versitygw.iam_endpoint,
        access_key=versitygw.access_key,
        secret_file=secret_file,
    )
    return set_up(tmp_path / "site", "", mail_server, port=stock_port, store=store)


@pytest.fixture
def daemon(installation: Installation) -> Iterator[Daemon]:
    running = installation.place.start().ready()
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.wait()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A data set: one file in several parts, an empty one, and many small ones."""
    random_bytes = random.Random(1)
    root = tmp_path / "data"
    (root / "many").mkdir(parents=True)
    (root / "empty.txt").touch()
    (root / "large.bin").write_bytes(random_bytes.randbytes(20 * MIB))
    for number in range(30):
        (root / "many" / f"{number}.txt").write_bytes(random_bytes.randbytes(number * 70))
    return root


def test_a_delivery_through_versitygw(
    installation: Installation,
    daemon: Daemon,
    tree: Path,
    stock_client_of: Callable[[str], StockClient],
) -> None:
    installation.ctl(
        "unit", "create", "genomics", "--name", "Genomics", "--display-name", "Genomics Core",
        "--contact", "genomics@example.org",
    )  # fmt: skip
    for admin in ("admin_one", "admin_two", "admin_three"):
        installation.add_person(admin, "unit-admin", "genomics")
    installation.add_person("reader", "researcher")

    sender = logged_in(stock_client_of("admin_one"), installation, "admin_one")
    created = sender.run(
        "project", "create", "--title", "Versity", "--description", "A test delivery",
        "--principal-investigator", "pi@example.org", "--researcher", "reader@example.org",
    )  # fmt: skip
    assert created.exit_code == 0, created.output
    project = str(installation.ctl("project", "ls")[0]["public_id"])
    sender.work.joinpath("in").symlink_to(tree)
    put = sender.run("data", "put", "-p", project, "-s", "in/.", "--silent")
    assert "Upload completed" in put.output, put.output + daemon.log
    released = sender.run("project", "status", "release", "-p", project)
    assert released.exit_code == 0, released.output

    recipient = logged_in(stock_client_of("reader"), installation, "reader")
    got = recipient.run(
        "data", "get", "-p", project, "-a", "--verify-checksum", "-d", "out", "--silent"
    )
    assert got.exit_code == 0, got.output
    received = next(path for path in (recipient.work / "out").rglob("empty.txt")).parent
    assert_same_tree(tree, received)


def logged_in(client: StockClient, installation: Installation, who: str) -> StockClient:
    ended = client.login(who, PASSWORD, lambda: asyncio.run(installation.read_code(who)))
    assert ended.exit_code == 0, ended.output
    return client
