"""A real MinIO goes away in the middle of what the stock client does: everything is said, nothing is lost."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.process import Daemon, wait_until
from tests.e2e.installation import Installation, set_up
from tests.e2e.test_stores import daemon as daemon
from tests.e2e.test_stores import logged_in
from tests.parts.minio_server import MinioServer, minio_server
from tests.parts.smtp import MailServer
from tests.parts.stock_client import StockClient

pytestmark = [
    pytest.mark.xdist_group("stock-client"),
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("DDSD_TEST_APPLIANCE"),
        reason="takes a minute: set DDSD_TEST_APPLIANCE=1",
    ),
]
STORE = """\
[store]
kind = "s3"
endpoint = "{endpoint}"
access_key = "{access_key}"
secret_key_file = "{secret_file}"
"""
FILES = 6
EACH_BYTES = 3 * 1024 * 1024


@pytest.fixture
def minio(tmp_path: Path) -> Iterator[MinioServer]:
    directory = tmp_path / "minio"
    directory.mkdir()
    yield from minio_server(directory)


@pytest.fixture
def installation(
    minio: MinioServer, tmp_path: Path, stock_port: int, mail_server: MailServer
) -> Installation:
    secret_file = tmp_path / "store.secret"
    secret_file.touch(mode=0o600)
    secret_file.write_text(minio.secret_key.text())
    store = STORE.format(
        endpoint=minio.endpoint, access_key=minio.access_key, secret_file=secret_file
    )
    return set_up(tmp_path / "site", "", mail_server, port=stock_port, store=store)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    noise = random.Random(7)
    directory = tmp_path / "run42"
    directory.mkdir()
    for number in range(FILES):
        (directory / f"{number}.bin").write_bytes(noise.randbytes(EACH_BYTES))
    return directory


@pytest.fixture
def sender(
    installation: Installation, daemon: Daemon, stock_client_of: Callable[[str], StockClient]
) -> StockClient:
    """A unit admin's client, logged in. It tries a store that is away for minutes before it gives up a file."""
    genomics = ("genomics", "--name", "Genomics", "--contact", "g@example.org")
    installation.ctl("unit", "create", *genomics)
    for admin in ("admin_one", "admin_two", "admin_three"):
        installation.add_person(admin, "unit-admin", "genomics")
    return logged_in(stock_client_of("admin_one"), installation, "admin_one")


def a_project(sender: StockClient, installation: Installation) -> str:
    made = sender.run(
        "project", "create", "--title", "Away", "--description", "A test delivery",
        "--principal-investigator", "pi@example.org", "--non-sensitive",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    return str(installation.ctl("project", "ls")[0]["public_id"])


def registered(daemon: Daemon) -> int:
    return sum(
        one["path"] == "/api/v1/file/new" and one["status"] == 200
        for one in daemon.events("request")
    )


def ending(installation: Installation) -> dict[str, Any]:
    (job,) = (one for one in installation.ctl("jobs", "ls") if one["kind"] == "end_project")
    return dict(job)


def test_an_upload_outlives_it_and_a_removal_waits_for_it(
    sender: StockClient,
    installation: Installation,
    daemon: Daemon,
    minio: MinioServer,
    source: Path,
) -> None:
    project = a_project(sender, installation)
    with ThreadPoolExecutor(1) as thread:
        words = ("data", "put", "-p", project, "-s", str(source), "--silent", "-nt", "1")
        sending = thread.submit(sender.run, *words)
        wait_until(lambda: registered(daemon) >= 2, "two files to be there")
        minio.stop()
        status = installation.ctl("status")
        assert "store.endpoint" in status["store"]["problem"]
        assert sender.run("ls", "-p", project).exit_code == 0
        minio.start()
        sent = sending.result()
    assert sent.exit_code == 0, sent.output
    assert installation.ctl("project", "ls")[0]["file_count"] == FILES

    minio.stop()
    got = sender.run("data", "get", "-p", project, "-a", "-d", "out", "--silent")
    assert "Download completed" not in got.output
    assert not [*(sender.work / "out" / "files").rglob("*.bin")]
    refused = sender.run("data", "rm", "-p", project, "--file", "run42/0.bin")
    assert "The object store does not answer. Please try again in a moment." in refused.output
    assert installation.ctl("project", "ls")[0]["file_count"] == FILES

    installation.ctl("project", "abort", project, "--yes")
    wait_until(lambda: bool(ending(installation)["last_error"]), "the first try to fail")
    assert "store.endpoint" in ending(installation)["last_error"]
    minio.start()
    done = installation.ctl("jobs", "retry", str(ending(installation)["id"]), "--wait")
    assert (done["state"], done["attempts"], done["done"]) == ("done", 2, FILES)
    assert installation.ctl("files", "lost", "ls", "--compare") == []
    assert "Traceback" not in daemon.log
