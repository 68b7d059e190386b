"""The stock client, unmodified, on messages of the day, maintenance, units and the addresses of unit users."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import Instance, running_demo
from tests.e2e.test_people_stock_client import PASSWORD, refused, row_of, succeeded
from tests.parts import ports
from tests.parts.stock_client import StockClient

pytestmark = [pytest.mark.xdist_group("stock-client"), pytest.mark.slow]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A running demo on the stock client's port."""
    directory = tmp_path_factory.mktemp("notices") / "demo"
    with ports.stock_port_alone() as port, running_demo(directory, port) as running:
        yield running


@pytest.fixture(scope="module")
def logged_in(
    demo: Instance, stock_client_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], StockClient]:
    """Give a named person a client that is logged in."""
    homes = tmp_path_factory.mktemp("homes")

    def client_of(person: str) -> StockClient:
        client = StockClient(stock_client_binary, homes / person)
        login = client.login(person, PASSWORD, lambda: demo.code_of(person))
        assert login.exit_code == 0, login.output
        return client

    return client_of


def until_written(demo: Instance) -> None:
    """Wait until no job has anything to do."""
    limit = time.monotonic() + 30
    waiting = True
    while waiting:
        assert time.monotonic() < limit, demo.printed()
        jobs = demo.ctl("status")["jobs"]
        waiting = bool(jobs["queued"] + jobs["running"])


def test_a_super_admin_speaks_to_everybody_and_closes_the_service(
    demo: Instance, logged_in: Callable[[str], StockClient]
) -> None:
    boss, researcher = logged_in("superadmin"), logged_in("researchuser_1")
    succeeded(boss.run("motd", "ls"), "There are no active MOTDs.")
    succeeded(
        boss.run("motd", "add", "Closed on Sunday."),
        "The MOTD was successfully added to the database.",
    )
    refused(researcher.run("motd", "add", "Hello"), "Insufficient credentials")
    listed = boss.run("motd", "ls")
    succeeded(listed, "Active MOTDs")
    assert row_of(listed, "Closed on Sunday.")[:2] == ["1", "Closed on Sunday."]
    succeeded(researcher.run("ls"), "Closed on Sunday.")  # at every command
    succeeded(
        boss.run("motd", "send", "1", "--unit-only"),
        "MOTD #1 is scheduled for delivery to unit personnel",
    )
    succeeded(boss.run("motd", "send", "1"), "MOTD #1 is scheduled for delivery to all users")
    refused(boss.run("motd", "send", "7"), "There is no active MOTD with ID '7'.")
    units = boss.run("unit", "ls")
    succeeded(units, "Sequencing Unit", "unit_2")
    refused(researcher.run("unit", "ls"), "Insufficient credentials")
    succeeded(boss.run("maintenance", "status"), "Maintenance mode is set to: OFF")
    succeeded(boss.run("maintenance", "on"), "Maintenance set to: ON")
    refused(researcher.run("ls"), "Maintenance of DDS is ongoing.")
    succeeded(boss.run("maintenance", "off"), "Maintenance set to: OFF")
    succeeded(researcher.run("ls"))
    until_written(demo)
    succeeded(
        boss.run("motd", "deactivate", "1"),
        "The MOTD was successfully deactivated in the database.",
    )
    refused(boss.run("motd", "deactivate", "1"), "MOTD with id 1 is not active.")
    letters = [one for one in demo.ctl("mail", "ls", "--limit", "1000") if one["kind"] == "motd"]
    addresses = [one["recipient"] for one in letters]
    assert sorted(addresses) == sorted(set(addresses))
    assert set(addresses) == {one["email"] for one in demo.ctl("user", "ls") if one["active"]}
