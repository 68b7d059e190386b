"""The disk of database and embedded store is full in the middle of a delivery: it fails, and nothing else does."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from ddsd.demo.delivery import DeliveryFacts, DemoFailed, deliver
from ddsd.demo.story import Story
from tests.daemon.process import wait_until
from tests.daemon.test_faults import SmallDisk, can_mount
from tests.e2e.installation import Installation, credentials, set_up
from tests.parts import absent
from tests.parts.smtp import MailServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("DDSD_TEST_APPLIANCE"),
        reason="makes deliveries on a disk of its own: set DDSD_TEST_APPLIANCE=1",
    ),
]
MB = 1_000_000


@pytest.fixture
def installation(tmp_path: Path, mail_server: MailServer) -> Installation:
    return set_up(tmp_path / "site", "", mail_server)


@pytest.fixture
def disk(installation: Installation) -> Iterator[SmallDisk]:
    if not can_mount():
        absent("a small disk", "only root may mount one")
    small = SmallDisk(installation.place, read_only=False, size="20m")
    yield small
    small.daemon.process.kill()
    small.daemon.process.wait()


def some_files(directory: Path, count: int) -> Path:
    noise = random.Random(count)
    directory.mkdir()
    for number in range(count):
        (directory / f"{number}.bin").write_bytes(noise.randbytes(3 * MB))
    return directory


async def test_a_delivery_that_does_not_fit_fails_and_the_next_one_succeeds(
    installation: Installation, disk: SmallDisk, tmp_path: Path
) -> None:
    disk.daemon.ready()
    genomics = ("genomics", "--name", "Genomics", "--contact", "g@example.org")
    installation.ctl("unit", "create", *genomics)
    for admin in ("admin_one", "admin_two"):
        installation.add_person(admin, "unit-admin", "genomics")
    installation.add_person("reader", "researcher")

    async def delivered(source: Path) -> DeliveryFacts:
        return await deliver(
            installation.url,
            unit_user=credentials("admin_one"),
            researcher=credentials("reader"),
            read_code=installation.read_code,
            source=source,
            destination=tmp_path / f"received-{source.name}",
            report=Story(Console(file=io.StringIO())),
        )

    with pytest.raises(DemoFailed, match="the store did not take it"):
        await delivered(some_files(tmp_path / "large", 10))
    project = installation.ctl("project", "ls")[0]
    assert 0 < project["file_count"] < 10
    assert installation.ctl("files", "lost", "ls", "--compare") == []
    assert disk.objects() == project["file_count"]
    assert "no space left on device" in disk.daemon.log
    installation.ctl("project", "abort", project["public_id"], "--yes")
    wait_until(lambda: disk.objects() == 0, "the removal of its objects")
    facts = await delivered(some_files(tmp_path / "small", 2))
    assert len(facts.files) == 2
    assert "Traceback" not in disk.daemon.log
