"""The package for Debian: what is in it, and what an upgrade and a removal leave. After the service's own tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.appliance import debian, guide
from tests.appliance.conftest import CHECKOUT, deliver, give, make_package, new_machine, remade
from tests.appliance.debian import Machine

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("appliance")]

MOST_EXPOSED = 1.5
REGISTRIES = (b"pypi.org", b"pythonhosted.org", b"proxy.golang.org", b"registry.npmjs.org")


def test_every_command_of_the_page_is_run_by_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [heading for heading in guide.everything() if f'("{heading}")' not in tests] == []


def test_setup_does_all_in_one_go(deb: Path, tmp_path: Path) -> None:
    with new_machine(debian.base(), tmp_path / "fresh") as machine:
        give(machine, deb)
        machine.script(guide.script("The Debian package"))
        said = machine.script(guide.script("In one go"))
        assert "every byte was compared" in said
        assert machine.shown("ddsd", "SubState") == "running"
        assert "Genomics Core" in machine.run("ddsctl", "unit", "ls")
        assert "Traceback" not in machine.journal()


def test_on_the_newer_debian_it_serves_and_after_a_reboot_it_delivers(
    appliance: None, stock_client_binary: Path, tmp_path: Path
) -> None:
    package = make_package("deb.py", tmp_path / "made", "deb13")
    with debian.layer(debian.base(debian.NEWER), tmp_path / "newer") as root:
        shutil.copyfile(package, root / "root" / package.name)
        with debian.booted(root) as machine:
            machine.script(f"apt-get install --yes ./{package.name}")
            machine.script(guide.script("The first start"))
            units = ("ddsd.service", "ddsd@5001.service", "ddsd-migrate.service")
            assert machine.try_to("systemd-analyze", "verify", "--man=no", *units).stderr == ""
            told = machine.run("systemd-analyze", "security", "--no-pager", "ddsd.service")
            assert float(told.split("ddsd.service: ")[-1].split()[0]) <= MOST_EXPOSED
        with debian.booted(root) as machine:
            machine.until("ddsd", "SubState", "running")
            assert "delivered" in deliver(machine, tmp_path / "people", stock_client_binary)
            assert "genomics" in machine.run("ddsctl", "unit", "ls")
            assert "Traceback" not in machine.journal()


def listing(package: Path) -> list[list[str]]:
    """Return mode, owner and name of everything in a package."""
    told = subprocess.run(
        ["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True
    )
    fields = (line.split(None, 5) for line in told.stdout.splitlines())
    return [[mode, owner, name] for mode, owner, _, _, _, name in fields]


def test_the_same_commit_gives_the_same_bytes(deb: Path, tmp_path: Path) -> None:
    again = make_package("deb.py", tmp_path / "again", "deb12")
    assert again.read_bytes() == deb.read_bytes()


def test_everything_in_it_is_roots_and_nothing_can_be_written_to_by_others(deb: Path) -> None:
    for mode, owner, name in listing(deb):
        assert owner == "root/root", name
        assert mode.startswith("l") or mode[8] == "-", name
        assert "s" not in mode, name


def test_our_own_part_names_no_registry_and_no_place_of_the_builder(
    deb: Path, tmp_path: Path
) -> None:
    subprocess.run(["dpkg-deb", "--raw-extract", deb, tmp_path / "root"], check=True)
    foreign = tmp_path / "root/opt/ddsd"
    for path in (tmp_path / "root").rglob("*"):
        if path.is_file() and not path.is_symlink() and foreign not in path.parents:
            content = path.read_bytes()
            assert not [one for one in REGISTRIES if one in content], path
            assert os.fsencode(CHECKOUT) not in content, path
    assert os.fsencode(sys.prefix) not in (foreign / "bin/ddsctl").read_bytes()


def test_an_upgrade_drains_and_starts_again_and_keeps_configuration_and_data(
    served: Machine, deb: Path
) -> None:
    configuration = served.outside("/etc/ddsd/ddsd.toml")
    changed = configuration.read_text().replace("Data Delivery System", "Genomics Core")
    configuration.write_text(changed)
    before = served.shown("ddsd", "MainPID")
    served.script(f"apt-get install --yes --reinstall ./{deb.name}")
    assert configuration.read_text() == changed
    assert served.shown("ddsd", "SubState") == "running"
    assert served.shown("ddsd", "MainPID") != before
    assert "Genomics Core" in served.run("ddsctl", "status")
    served.script(guide.script("Upgrade"))
    assert "genomics" in served.run("ddsctl", "unit", "ls")


def test_nobody_is_asked_about_the_configuration_at_an_upgrade(
    served: Machine, newer: Path
) -> None:
    give(served, newer)
    configuration = served.outside("/etc/ddsd/ddsd.toml")
    configuration.write_text(configuration.read_text() + "# Ours.\n")
    said = served.script(f"dpkg --install {newer.name}")  # nobody is at the terminal
    assert "stays as it is" in said
    assert configuration.read_text().endswith("# Ours.\n")
    assert served.run("stat", "-c", "%U %G %a", "/etc/ddsd/ddsd.toml") == "root ddsd 640\n"
    assert served.shown("ddsd", "SubState") == "running"
    assert served.run("dpkg-query", "-W", "-f", "${Version}", "ddsd") == "9.1.0"


def test_an_upgrade_that_fails_starts_again_what_ran(
    served: Machine, newer: Path, tmp_path: Path
) -> None:
    bad = remade(newer, tmp_path, "9.2.0", preinst="#!/bin/sh\nexit 1\n")
    give(served, bad)
    before = served.shown("ddsd", "MainPID")
    assert served.try_to("dpkg", "--install", f"/root/{bad.name}").returncode
    assert served.shown("ddsd", "SubState") == "running"
    assert served.shown("ddsd", "MainPID") != before
    assert "genomics" in served.run("ddsctl", "unit", "ls")


def test_an_upgrade_that_was_killed_is_finished_by_another_one(
    served: Machine, deb: Path, newer: Path
) -> None:
    kill = (
        f"dpkg --install {newer.name} >/dev/null & "
        "while [ ! -e /run/ddsd-upgrade ]; do sleep 0.05; done; "
        "while systemctl is-active --quiet ddsd; do sleep 0.05; done; kill -9 $!; wait $! || true"
    )
    served.script(kill)
    assert served.shown("ddsd", "ActiveState") == "inactive"
    served.script(f"dpkg --install --force-downgrade {deb.name}")
    assert served.shown("ddsd", "SubState") == "running"
    assert not served.outside("/run/ddsd-upgrade").exists()


def test_manual_pages_and_completions_are_where_they_are_looked_for(served: Machine) -> None:
    for path in (
        "/usr/share/man/man8/ddsd.8.gz",
        "/usr/share/man/man1/ddsctl-unit.1.gz",
        "/usr/share/man/man5/ddsd.toml.5.gz",
        "/usr/share/bash-completion/completions/ddsctl",
        "/usr/share/zsh/vendor-completions/_ddsctl",
        "/usr/share/fish/vendor_completions.d/ddsctl.fish",
        "/usr/share/doc/ddsd/docs/install.md",
    ):
        assert served.outside(path).is_file(), path


def test_the_shell_completes_commands_and_names_that_the_daemon_knows(served: Machine) -> None:
    complete = (
        "source /usr/share/bash-completion/completions/ddsctl; COMP_WORDS=(ddsctl {0}); "
        "COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _ddsctl_completion ddsctl; echo ${{COMPREPLY[@]}}"
    )
    assert "maintenance" in served.run("bash", "-c", complete.format("maint")).split()
    assert "genomics" in served.run("bash", "-c", complete.format("unit show geno")).split()


def test_a_removal_leaves_the_data_and_says_where(served: Machine) -> None:
    served.script("systemctl enable --quiet ddsd@5001")
    said = served.script(guide.commands("Remove")[0])
    for place in ("/var/lib/ddsd", "/etc/ddsd", "/etc/credstore"):
        assert place in said
    assert served.outside("/var/lib/ddsd/ddsd.sqlite3").is_file()
    assert served.outside("/var/lib/ddsd/store/objects").is_dir()
    assert served.outside("/etc/ddsd/ddsd.toml").is_file()
    assert served.outside("/etc/credstore/ddsd.instance-key").is_file()
    assert not served.outside("/opt/ddsd").exists()
    assert served.shown("ddsd", "LoadState") == "not-found"
    wanted = served.outside("/etc/systemd/system/multi-user.target.wants")
    assert [one.name for one in wanted.glob("ddsd*")] == []


def test_what_was_removed_goes_on_where_it_was_when_installed_again(
    served: Machine, tmp_path: Path
) -> None:
    assert "systemctl enable --now ddsd" in served.script(guide.script("The Debian package"))
    served.script("systemctl enable --now ddsd")
    assert "delivered" in deliver(served, tmp_path)
    served.script("apt-get purge --yes ddsd")
    assert not served.outside("/etc/ddsd").exists()
    assert served.outside("/var/lib/ddsd/ddsd.sqlite3").is_file()
    assert served.outside("/etc/credstore/ddsd.instance-key").is_file()
