"""``ddsctl setup`` on a bare Debian with the package: secrets as systemd's credentials, and the service running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance import debian, guide
from tests.appliance.conftest import deliver, give, new_machine
from tests.appliance.debian import Machine

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("appliance")]

KEY = "/etc/credstore/ddsd.instance-key"
SETUP = (
    "ddsctl", "setup", "--non-interactive", "--set", "instance.contact=help@example.org",
    "--unit", "genomics", "--unit-name", "Genomics Core", "--unit-contact", "dna@example.org",
    "--admin", "sam", "--admin-name", "Sam Berg", "--admin-email", "sam@example.org",
)  # fmt: skip


@pytest.fixture(scope="module")
def machine(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the package installed, and nothing else done."""
    with new_machine(debian.base(), tmp_path_factory.mktemp("bare")) as booted:
        give(booted, deb)
        booted.script(guide.script("The Debian package"))
        yield booted


def test_one_command_leads_from_the_package_to_deliveries(machine: Machine, tmp_path: Path) -> None:
    told = machine.run(*SETUP)
    assert "every byte was compared" in told, told
    assert "✓ made the super admin sam" in told
    assert machine.shown("ddsd", "ActiveState") == "active"
    assert machine.run("stat", "-c", "%U %a", KEY).strip() == "root 600"
    assert machine.run("stat", "-c", "%U %G %a", "/etc/ddsd/ddsd.toml").strip() == "root ddsd 640"
    assert machine.run("stat", "-c", "%U", "/var/lib/ddsd/ddsd.sqlite3").strip() == "ddsd"
    assert deliver(machine, tmp_path)

    moved = machine.run(*SETUP, "--set", "store.directory=/srv/all objects")
    assert "ddsd.service.d/setup.conf: the service may write where the data is" in moved
    assert deliver(machine, tmp_path / "elsewhere")
    assert machine.run("sh", "-c", "ls '/srv/all objects/objects'").startswith("test-unit")
    back = machine.run(*SETUP, "--no-trial", "--set", "store.directory=")
    assert "setup.conf" in back
    assert not machine.outside("/etc/systemd/system/ddsd.service.d/setup.conf").exists()

    key = machine.run("cat", KEY)
    again = machine.run(*SETUP, "--set", "instance.facility=Kärnan")
    assert "instance.facility = Kärnan" in again
    assert "every byte was compared" in again  # beside the running service
    assert machine.run("cat", KEY) == key
    assert "Kärnan" in machine.run("ddsctl", "status")
    assert key.strip() not in machine.run("journalctl", "--no-pager")
