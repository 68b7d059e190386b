"""The service as a set of containers under systemd, on a machine with Debian 13: docs/podman.md, typed as it stands.

The tests share the machine and follow the page; each leaves the daemon running.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.appliance import container_host, guide
from tests.appliance.conftest import CHECKOUT, deliver
from tests.appliance.containers import NAME, Podman
from tests.appliance.debian import Machine
from tests.daemon.process import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stock-client")]

DROP_IN: Final = "/etc/containers/systemd/ddsd.container.d/test.conf"
ALONE: Final = "As a service of systemd: quadlets"
WITH_PARTS: Final = "With MinIO and PostgreSQL"


@pytest.fixture(scope="module")
def host(image: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the image on it and the daemon started as a unit."""
    with container_host.started(tmp_path_factory.mktemp("host")) as machine:
        container_host.give_image(machine, image)
        machine.script(guide.script("The key", guide.PODMAN))
        machine.script(guide.script(ALONE, guide.PODMAN))
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


def test_after_a_reboot_it_serves_by_itself(host: Machine) -> None:
    host.reboot()
    host.until("ddsd", "SubState", "running")
    assert "Available" in projects(host)


def test_with_minio_and_postgresql_it_delivers_and_outlives_a_crash_of_its_database(
    host: Machine, minio_binary: Path, stock_client_binary: Path, tmp_path: Path
) -> None:
    container_host.make_part_images(host, minio_binary, tmp_path / "parts")
    set_up_parts(host)
    host.script("systemctl start ddsd-migrate; systemctl restart ddsd")
    deliver_by_stock_client(host, tmp_path, stock_client_binary)
    assert "s3, answers" in host.run("podman", "exec", NAME, "ddsctl", "status")
    began = host.shown("ddsd", "ExecMainStartTimestampMonotonic")
    host.run("podman", "kill", "--signal", "KILL", "ddsd-postgresql")
    host.until("ddsd-postgresql", "NRestarts", "1")
    asking = ("podman", "exec", NAME, "ddsctl", "project", "ls")
    wait_until(lambda: host.try_to(*asking).returncode == 0, "the database answers again")
    assert host.shown("ddsd", "ExecMainStartTimestampMonotonic") == began
    assert "Available" in projects(host)


def set_up_parts(machine: Machine) -> None:
    """Do what the page says, and make the daemon's user at MinIO."""
    machine.script(guide.script(WITH_PARTS, guide.PODMAN))
    place = machine.outside(container_host.ENVIRONMENT)
    embedded = ("DDSD_STORE__ADDRESS=", "DDSD_STORE__PORT=")
    kept = [line for line in place.read_text().splitlines() if not line.startswith(embedded)]
    place.write_text("\n".join([*kept, guide.text(WITH_PARTS, guide.PODMAN)]))
    machine.script("systemctl daemon-reload; systemctl stop ddsd; systemctl start ddsd-minio")
    names = ("minio-password", "store-secret-key")
    secrets = (str(machine.outside(f"/root/{name}")) for name in names)
    make_user = machine.beside(sys.executable, "-c", _MAKE_USER, *secrets)
    wait_until(
        lambda: subprocess.run(make_user, cwd=CHECKOUT, check=False).returncode == 0,
        "MinIO is there, and has the daemon's user",
    )


_MAKE_USER: Final = """
import asyncio, pathlib, sys
from ddsd.secret import SecretText
from ddsd.storage.minio import make_user
from ddsd.storage.stores import StoreAccount, StoreAddress, StoreUser, policy_for
from ddsd.units.units import ANY_BUCKET
administrators, users = (SecretText(pathlib.Path(one).read_text().strip()) for one in sys.argv[1:])
address = StoreAddress("http://127.0.0.1:9000", "http://127.0.0.1:9000", "us-east-1", "")
account = StoreAccount(address, "ddsd-administrator", administrators)
asyncio.run(make_user(account, StoreUser("ddsd", users, policy_for(ANY_BUCKET)), ca_file=None))
"""
