"""Two daemons on one PostgreSQL and one MinIO, as docs/install.md tells: one facility, two doors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance import debian, guide
from tests.appliance.conftest import deliver, give, new_machine
from tests.appliance.debian import Machine

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("appliance")]

ACCESS_KEY, SECRET_KEY = "administrator", "a-secret-of-this-test-only"
SOCKET = "/run/ddsd-{}/admin.sock"


@pytest.fixture(scope="module")
def machine(
    deb: Path, minio_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A machine with a PostgreSQL, a MinIO, the package, and two daemons that serve."""
    directory = tmp_path_factory.mktemp("several")
    with new_machine(debian.with_postgresql(), directory, minio_binary.parent) as running:
        give(running, deb)
        running.script(guide.script("The Debian package"))
        running.run(
            "systemd-run", "--unit=minio", f"--setenv=MINIO_ROOT_USER={ACCESS_KEY}",
            f"--setenv=MINIO_ROOT_PASSWORD={SECRET_KEY}", str(minio_binary), "server", "/srv/minio",
        )  # fmt: skip
        running.script("runuser -u postgres -- createuser ddsd")
        running.script("runuser -u postgres -- createdb --owner ddsd ddsd")
        configure(running)
        running.script(guide.commands("The first start")[0])
        secret = "install -m 0600 /dev/stdin /etc/credstore/ddsd.store-secret-key"
        running.run("sh", "-ec", secret, stdin=SECRET_KEY)
        running.script("systemctl start ddsd-migrate")
        running.script(guide.script("Several daemons"))
        yield running


def configure(machine: Machine) -> None:
    """Name the database and the store in the configuration."""
    place = machine.outside("/etc/ddsd/ddsd.toml")
    content = place.read_text()
    for before, after in (
        ('url = ""', 'url = "postgresql://ddsd@/ddsd?host=/var/run/postgresql"'),
        ('kind = "embedded"', 'kind = "s3"'),
        ('endpoint = ""', 'endpoint = "http://127.0.0.1:9000"'),
        ('access_key = ""', f'access_key = "{ACCESS_KEY}"'),
    ):
        content, changed = re.subn(f"^{before}$", after, content, flags=re.MULTILINE)
        assert changed == 1, before
    place.write_text(content)


def test_each_serves_on_its_port_and_its_socket(machine: Machine) -> None:
    for port in (5001, 5002):
        status = machine.run("ddsctl", "--socket", SOCKET.format(port), "status")
        assert re.search(r"database +postgresql", status)
        assert re.search(r"store +s3.*answers", status)


def test_what_is_delivered_through_one_is_there_in_the_other(
    machine: Machine, tmp_path: Path
) -> None:
    first, second = SOCKET.format(5001), SOCKET.format(5002)
    assert "delivered" in deliver(machine, tmp_path, socket=first, url="http://127.0.0.1:5001")
    projects = machine.run("ddsctl", "--socket", second, "project", "ls", "--tsv")
    assert "Available" in projects
    assert "delivered" in deliver(
        machine, tmp_path / "other", socket=second, url="http://127.0.0.1:5002"
    )


def test_one_goes_on_when_the_other_is_stopped(machine: Machine, tmp_path: Path) -> None:
    machine.script("systemctl stop ddsd@5002")
    assert "delivered" in deliver(
        machine, tmp_path, socket=SOCKET.format(5001), url="http://127.0.0.1:5001"
    )
    assert machine.shown("ddsd@5001", "NRestarts") == "0"
