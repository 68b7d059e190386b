"""The bundle: installed, used, upgraded and removed on a machine that has no network and no package of ours."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance import debian, guide
from tests.appliance.conftest import CHECKOUT, deliver, give, make_package, new_machine
from tests.appliance.debian import Machine

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("appliance")]

PYTHONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def machine(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the archive on it, installed as the page says."""
    with new_machine(debian.base(), tmp_path_factory.mktemp("offline")) as running:
        give(running, bundle)
        running.script(guide.script("The bundle"))
        yield running


@pytest.fixture(scope="module")
def directory(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, unpacked."""
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(bundle) as archive:
        archive.extractall(place, filter="data")
    (unpacked,) = place.iterdir()
    return unpacked


def test_the_same_commit_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    again = make_package("bundle.py", tmp_path / "again")
    assert again.read_bytes() == bundle.read_bytes()


def test_the_sums_are_those_of_every_file(directory: Path) -> None:
    lines = (directory / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    files = {
        str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()
    }
    assert set(sums) == set(files) - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("version", PYTHONS)
def test_there_is_a_wheel_for_everything_that_is_locked(version: str, directory: Path) -> None:
    lock = (CHECKOUT / "packaging/requirements.txt").read_text()
    locked = re.findall(r"^([a-z0-9-]+)==(\S+)(.*)", lock, re.MULTILINE)
    wanted = {
        (name.replace("-", "_"), release)
        for name, release, marker in locked
        if "win32'" not in marker or "!=" in marker
    }
    listed = (directory / "wheels" / f"{version}.sha256").read_text().splitlines()
    names = [line.partition("  ")[2].lower().split("-")[:2] for line in listed]
    assert {(name.replace(".", "_"), release) for name, release in names} >= wanted
    tag = f"cp{version.replace('.', '')}"
    foreign = [f"cp{one.replace('.', '')}-cp" for one in PYTHONS if one != version]
    assert any(tag in line for line in listed)
    assert not [
        line for line in listed if any(one in line for one in foreign) and "abi3" not in line
    ]


def test_a_damaged_bundle_is_not_installed(directory: Path, bundle: Path, tmp_path: Path) -> None:
    assert directory.name == bundle.name.removesuffix(".tar.gz")
    wheel = next((directory / "wheels").glob("*.whl"))
    with debian.layer(debian.base(), tmp_path / "disk") as root:
        (root / "root" / directory.name).mkdir()
        with tarfile.open(bundle) as archive:
            archive.extractall(root / "root", filter="data")
        damaged = root / "root" / directory.name / "wheels" / wheel.name
        damaged.write_bytes(wheel.read_bytes()[:-1] + b"x")
        done = debian.enter(root, f"/root/{directory.name}/install.sh")
        assert done.returncode == 1
        assert "this directory is damaged" in done.stderr
        assert not (root / "opt/ddsd").exists()


def test_the_demo_delivers_without_a_network(machine: Machine) -> None:
    said = machine.script("ddsd demo --once --dir /root/try --port 5001")
    assert re.search(r"Delivered project unit\d+", said)


def test_the_service_delivers(machine: Machine, stock_client_binary: Path, tmp_path: Path) -> None:
    machine.script(guide.script("The first start"))
    assert "delivered" in deliver(machine, tmp_path, stock_client_binary)


def test_an_upgrade_keeps_configuration_and_data_and_starts_again(
    machine: Machine, tmp_path: Path
) -> None:
    configuration = machine.outside("/etc/ddsd/ddsd.toml")
    changed = configuration.read_text().replace("Data Delivery System", "Genomics Core")
    configuration.write_text(changed)
    before = machine.shown("ddsd", "MainPID")
    said = machine.script(
        guide.commands("The bundle")[-1].replace("./", "/root/ddsd-0.1.0-bundle/")
    )
    assert "stays as it is" in said
    assert configuration.read_text() == changed
    assert machine.outside("/etc/ddsd/ddsd.toml.new").is_file()
    assert machine.shown("ddsd", "SubState") == "running"
    assert machine.shown("ddsd", "MainPID") != before
    assert "delivered" in deliver(machine, tmp_path)


def test_an_upgrade_that_fails_puts_back_what_was_there(machine: Machine) -> None:
    machine.script("cp -r ddsd-0.1.0-bundle broken; : > broken/environment.py")
    machine.script("cd broken; sed -i '/environment.py/d' SHA256SUMS")
    failed = machine.try_to("/root/broken/install.sh")
    assert failed.returncode
    assert "the version that was here before is in place again" in failed.stderr
    assert machine.shown("ddsd", "SubState") == "running"
    assert "genomics" in machine.run("ddsctl", "unit", "ls")


def test_an_upgrade_that_was_killed_is_finished_by_running_it_again(machine: Machine) -> None:
    install = "/root/ddsd-0.1.0-bundle/install.sh"
    machine.script(
        f"{install} >/dev/null 2>&1 & while [ ! -e /opt/ddsd.before ]; do sleep 0.05; done; "
        "kill -9 $!; wait $! || true"
    )
    assert machine.shown("ddsd", "ActiveState") == "inactive"
    machine.script(install)
    assert machine.shown("ddsd", "SubState") == "running"
    assert "genomics" in machine.run("ddsctl", "unit", "ls")
    left = ("/opt/ddsd.before", "/opt/ddsd.unfinished", "/run/ddsd-upgrade")
    assert not [one for one in left if machine.outside(one).exists()]


def test_an_upgrade_that_is_interrupted_puts_back_what_was_there(machine: Machine) -> None:
    said = machine.script(
        "/root/ddsd-0.1.0-bundle/install.sh & while [ ! -e /opt/ddsd.before ]; do sleep 0.05; done; "
        "kill -TERM $!; wait $! || echo status $?"
    )
    assert "the version that was here before is in place again" in said
    assert "status 143" in said
    assert machine.shown("ddsd", "SubState") == "running"


def test_a_removal_leaves_the_data_and_says_where(machine: Machine) -> None:
    installed = machine.outside("/opt/ddsd/installed-files").read_text().splitlines()
    said = machine.script(guide.commands("Remove")[1])
    for place in ("/var/lib/ddsd", "/etc/ddsd", "/etc/credstore"):
        assert place in said
    assert machine.outside("/var/lib/ddsd/ddsd.sqlite3").is_file()
    assert machine.outside("/etc/ddsd/ddsd.toml").is_file()
    assert machine.outside("/etc/credstore/ddsd.instance-key").is_file()
    places = [machine.outside(path) for path in (*installed, "/opt/ddsd")]
    assert not [one for one in places if one.is_symlink() or one.exists()]
    assert machine.try_to("systemctl", "is-active", "ddsd").stdout.strip() == "inactive"
