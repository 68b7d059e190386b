"""The stock client delivers from a unit with an account of its own, through new keys and a move to another store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.process import Daemon
from tests.e2e.installation import Installation, set_up
from tests.e2e.test_stock_client import assert_same_tree
from tests.e2e.test_stores import daemon as daemon
from tests.e2e.test_stores import logged_in
from tests.e2e.test_stores import tree as tree
from tests.e2e.test_stores import versitygw as versitygw
from tests.parts.minio_server import MinioServer, minio_server
from tests.parts.smtp import MailServer
from tests.parts.stock_client import StockClient
from tests.parts.versitygw import VersityServer

pytestmark = [
    pytest.mark.xdist_group("stock-client"),
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("DDSD_TEST_APPLIANCE"),
        reason="takes half a minute: set DDSD_TEST_APPLIANCE=1",
    ),
]

STORE = """\
[store]
kind = "s3"
endpoint = "{endpoint}"
access_key = "{access_key}"
secret_key_file = "{secret_file}"
"""


@pytest.fixture
def minio(tmp_path: Path) -> Iterator[MinioServer]:
    directory = tmp_path / "minio"
    directory.mkdir()
    yield from minio_server(directory)


def secret_file(directory: Path, name: str, server: MinioServer | VersityServer) -> str:
    path = directory / f"{name}.secret"
    path.touch(mode=0o600)
    path.write_text(server.secret_key.text())
    return str(path)


@pytest.fixture
def installation(
    minio: MinioServer, tmp_path: Path, stock_port: int, mail_server: MailServer
) -> Installation:
    store = STORE.format(
        endpoint=minio.endpoint,
        access_key=minio.access_key,
        secret_file=secret_file(tmp_path, "store", minio),
    )
    return set_up(tmp_path / "site", "", mail_server, port=stock_port, store=store)


def test_a_delivery_with_the_units_own_account_new_keys_and_a_move(
    installation: Installation,
    daemon: Daemon,
    minio: MinioServer,
    versitygw: VersityServer,
    tree: Path,
    tmp_path: Path,
    stock_client_of: Callable[[str], StockClient],
) -> None:
    installation.ctl(
        "unit", "create", "genomics", "--name", "Genomics", "--contact", "genomics@example.org",
        "--store-admin-key", minio.access_key,
        "--store-admin-secret-file", secret_file(tmp_path, "admin", minio),
    )  # fmt: skip
    for admin in ("admin_one", "admin_two", "admin_three"):
        installation.add_person(admin, "unit-admin", "genomics")
    installation.add_person("reader", "researcher")

    sender = logged_in(stock_client_of("admin_one"), installation, "admin_one")
    created = sender.run(
        "project", "create", "--title", "Moved", "--description", "A test delivery",
        "--principal-investigator", "pi@example.org", "--researcher", "reader@example.org",
    )  # fmt: skip
    assert created.exit_code == 0, created.output
    project = str(installation.ctl("project", "ls")[0]["public_id"])
    put(sender, project, tree / "many", daemon)
    rotated = installation.ctl("store", "rotate-keys", "genomics")
    assert [(one["access_key"], one["keys"]) for one in rotated] == [("ddsd-genomics", 1)]
    put(sender, project, tree / "large.bin", daemon)
    moved = installation.ctl(
        "store", "migrate", "--unit", "genomics", "--to", versitygw.endpoint,
        "--iam-endpoint", versitygw.iam_endpoint, "--access-key", versitygw.access_key,
        "--secret-file", secret_file(tmp_path, "new", versitygw), "--wait",
    )  # fmt: skip
    assert (moved["projects"], moved["files"]) == (1, 31)
    put(sender, project, tree / "empty.txt", daemon)
    installation.ctl("store", "forget", "--unit", "genomics", "--yes", "--wait")
    minio.stop()
    released = sender.run("project", "status", "release", "-p", project)
    assert released.exit_code == 0, released.output

    recipient = logged_in(stock_client_of("reader"), installation, "reader")
    got = recipient.run(
        "data", "get", "-p", project, "-a", "--verify-checksum", "-d", "out", "--silent"
    )
    assert got.exit_code == 0, got.output
    received = next(path for path in (recipient.work / "out").rglob("empty.txt")).parent
    assert_same_tree(tree, received)


def put(sender: StockClient, project: str, path: Path, daemon: Daemon) -> None:
    link = sender.work / path.name
    link.symlink_to(path)
    done = sender.run("data", "put", "-p", project, "-s", path.name, "--silent")
    assert "Upload completed" in done.output, done.output + daemon.log
