"""The service as a set of containers under systemd, on a machine with Debian 13: docs/podman.md, typed as it stands.

The tests share the machine and follow the page; each leaves the daemon running.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.appliance import container_host, guide
from tests.appliance.conftest import deliver
from tests.appliance.container_host import Disk
from tests.appliance.containers import NAME, Podman
from tests.appliance.debian import Machine
from tests.daemon.process import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stock-client")]

DROP_IN: Final = "/etc/containers/systemd/ddsd.container.d/test.conf"
ALONE: Final = "As a service of systemd: quadlets"
WITH_PARTS: Final = "With MinIO and PostgreSQL"


@pytest.fixture(scope="module")
def disk(appliance: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """What the machine keeps."""
    with container_host.new_disk(tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.fixture(scope="module")
def host(disk: Disk, image: Podman) -> Iterator[Machine]:
    """The machine with the image on it and the daemon started as a unit."""
    with disk.booted() as machine:
        container_host.give_image(machine, image)
        machine.script(guide.script("The key", guide.PODMAN))
        machine.script(guide.script(ALONE, guide.PODMAN))
        yield machine


@pytest.fixture(scope="module")
def rebooted(host: Machine, disk: Disk) -> Iterator[Machine]:
    """The machine after a reboot."""
    host.power_off()
    with disk.booted() as machine:
        yield machine


def deliver_by_stock_client(machine: Machine, directory: Path, program: Path) -> None:
    """Make a delivery through what the machine publishes."""
    socket = container_host.admin_socket(machine)
    assert "delivered" in deliver(machine, directory, program, socket=socket)


def projects(machine: Machine) -> str:
    return machine.run("podman", "exec", NAME, "ddsctl", "project", "ls", "--tsv")


def ended_and_started_again(machine: Machine, restarts: int) -> None:
    machine.until("ddsd", "NRestarts", str(restarts + 1))
    machine.until("ddsd", "SubState", "running")


def test_the_stock_client_delivers_to_the_unit(
    host: Machine, stock_client_binary: Path, tmp_path: Path
) -> None:
    assert "empty → 0001" in host.journal("ddsd-migrate")
    assert re.fullmatch(r"ddsd [\d.]+ is serving", host.shown("ddsd", "StatusText"))
    deliver_by_stock_client(host, tmp_path, stock_client_binary)
    assert "Available" in projects(host)


def test_a_unit_that_is_told_to_stop_drains(host: Machine) -> None:
    host.run("systemctl", "stop", "ddsd")
    assert host.shown("ddsd", "Result") == "success"
    assert host.shown("ddsd", "ExecMainStatus") == "0"
    assert re.search(r"daemon\.draining(.|\n)*daemon\.stopped", host.journal("ddsd"))
    host.run("systemctl", "start", "ddsd")


def test_a_killed_container_is_started_again(host: Machine) -> None:
    restarts = int(host.shown("ddsd", "NRestarts"))
    host.run("podman", "kill", "--signal", "KILL", NAME)
    ended_and_started_again(host, restarts)
    assert "Available" in projects(host)


def test_a_daemon_that_hangs_is_killed_and_started_again(host: Machine) -> None:
    host.outside(DROP_IN).write_text(
        "[Container]\nEnvironment=WATCHDOG_USEC=3000000\nStopTimeout=1\n[Service]\nWatchdogSec=3s\n"
    )
    host.script("systemctl daemon-reload; systemctl restart ddsd")
    restarts = int(host.shown("ddsd", "NRestarts"))
    host.run("podman", "kill", "--signal", "STOP", NAME)
    ended_and_started_again(host, restarts)
    assert "Watchdog timeout" in host.journal("ddsd")
    host.script(f"rm {DROP_IN}; systemctl daemon-reload; systemctl restart ddsd")


def test_a_mistake_in_the_configuration_is_told_and_not_tried_again(host: Machine) -> None:
    place = host.outside(container_host.ENVIRONMENT)
    good = place.read_text()
    place.write_text(f"{good}DDSD_LISEN__PORT=1\n")
    assert host.try_to("systemctl", "restart", "ddsd").returncode
    assert host.shown("ddsd", "ExecMainStatus") == "78"
    assert host.shown("ddsd", "SubState") == "failed"
    assert "DDSD_LISEN__PORT: unknown key lisen" in host.journal("ddsd")
    place.write_text(good)
    host.run("systemctl", "start", "ddsd")


def test_after_a_reboot_it_serves_by_itself(rebooted: Machine) -> None:
    rebooted.until("ddsd", "SubState", "running")
    assert "Available" in projects(rebooted)


def test_with_minio_and_postgresql_it_delivers_and_outlives_a_crash_of_its_database(
    rebooted: Machine, minio_binary: Path, stock_client_binary: Path, tmp_path: Path
) -> None:
    container_host.make_part_images(rebooted, minio_binary, tmp_path / "parts")
    configure_parts(rebooted)
    assert "made the user ddsd at the store" in rebooted.script(
        guide.script(WITH_PARTS, guide.PODMAN)
    )
    deliver_by_stock_client(rebooted, tmp_path, stock_client_binary)
    assert "s3, answers" in rebooted.run("podman", "exec", NAME, "ddsctl", "status")
    began = rebooted.shown("ddsd", "ExecMainStartTimestampMonotonic")
    rebooted.run("podman", "kill", "--signal", "KILL", "ddsd-postgresql")
    rebooted.until("ddsd-postgresql", "NRestarts", "1")
    asking = ("podman", "exec", NAME, "ddsctl", "project", "ls")
    wait_until(lambda: rebooted.try_to(*asking).returncode == 0, "the database answers again")
    assert rebooted.shown("ddsd", "ExecMainStartTimestampMonotonic") == began
    assert "Available" in projects(rebooted)


def configure_parts(machine: Machine) -> None:
    """Change the variables as the page says."""
    place = machine.outside(container_host.ENVIRONMENT)
    embedded = ("DDSD_STORE__ADDRESS=", "DDSD_STORE__PORT=")
    kept = [line for line in place.read_text().splitlines() if not line.startswith(embedded)]
    place.write_text("\n".join([*kept, guide.text(WITH_PARTS, guide.PODMAN)]))
