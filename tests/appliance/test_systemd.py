"""The service under a real systemd, with all its hardening: it delivers, it is started again, it drains.

The tests share a machine; each leaves the daemon running.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from ddsd.settings import CREDENTIALS
from tests.appliance import guide
from tests.appliance.conftest import CHECKOUT, deliver
from tests.appliance.debian import Machine
from tests.daemon.process import wait_until
from tests.parts import absent

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("appliance")]

UNITS = sorted((CHECKOUT / "systemd").glob("*.service"))
MOST_EXPOSED = 1.5
MAIL_PASSWORD = "a-Mail-Password-nobody-may-see"
DROP_IN = "/etc/systemd/system/ddsd.service.d/test.conf"


def drop_in(machine: Machine, *lines: str) -> None:
    """Change the unit as an operator would, and start it anew."""
    content = "\n".join(["[Service]", *lines, ""])
    machine.script(f"mkdir -p $(dirname {DROP_IN})")
    machine.outside(DROP_IN).write_text(content)
    machine.script("systemctl daemon-reload; systemctl restart ddsd")


def main_pid(machine: Machine) -> int:
    """Return the daemon's process ID in there."""
    return int(machine.shown("ddsd", "MainPID"))


def signal_main(machine: Machine, name: str) -> None:
    machine.run("systemctl", "kill", "--kill-who=main", f"--signal={name}", "ddsd")


def started_again(machine: Machine, before: int, restarts: int) -> None:
    """Return when systemd has started another process and that one serves."""
    machine.until("ddsd", "NRestarts", str(restarts + 1))
    machine.until("ddsd", "SubState", "running")
    assert main_pid(machine) != before


@pytest.mark.parametrize("unit", UNITS, ids=lambda one: str(one.name))
def test_systemd_calls_a_unit_hardly_exposed(unit: Path) -> None:
    if not shutil.which("systemd-analyze"):
        absent("systemd", "no program systemd-analyze")
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level .*: ([\d.]+)", told.stdout)
    assert found, told.stdout + told.stderr
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("unit", UNITS, ids=lambda one: str(one.name))
def test_a_unit_hands_over_every_secret(unit: Path) -> None:
    loaded = re.findall(r"^LoadCredential=(\S+):ddsd\.(\S+)$", unit.read_text(), re.MULTILINE)
    assert sorted(loaded) == sorted((name, name) for name in CREDENTIALS.values())


def test_the_unit_for_several_daemons_differs_in_port_and_socket_only() -> None:
    one, several = (
        {line for line in (CHECKOUT / "systemd" / name).read_text().splitlines() if "=" in line}
        for name in ("ddsd.service", "ddsd@.service")
    )
    changed = {line.partition("=")[0].lstrip("# ") for line in one ^ several if line[0] != "#"}
    assert changed == {"Description", "Environment", "RuntimeDirectory"}


def test_systemd_finds_nothing_wrong_with_the_units(served: Machine) -> None:
    units = ("ddsd.service", "ddsd@5001.service", "ddsd-migrate.service")
    assert served.try_to("systemd-analyze", "verify", "--man=no", *units).stderr == ""


def test_the_stock_client_delivers_through_the_service(
    served: Machine, stock_client_binary: Path, tmp_path: Path
) -> None:
    assert "delivered test-unit00001: " in deliver(served, tmp_path, stock_client_binary)


def test_operators_may_ask_and_nobody_else(served: Machine) -> None:
    served.script("useradd anna; useradd eve")
    served.script(guide.commands("What is where")[0])
    assert "genomics" in served.run("runuser", "-u", "anna", "--", "ddsctl", "unit", "ls")
    refused = served.try_to("runuser", "-u", "eve", "--", "ddsctl", "unit", "ls")
    assert refused.returncode == 77, refused.stderr
    assert "Traceback" not in refused.stderr
    for words in (("ddsd", "check-config"), ("ddsctl", "setup", "--non-interactive")):
        refused = served.try_to("runuser", "-u", "eve", "--", *words)
        assert refused.returncode == 78, refused.stderr
        assert "ddsd.toml may not be read by this user: be root" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert served.try_to("runuser", "-u", "eve", "--", "ls", "/var/lib/ddsd").returncode
    assert served.try_to("runuser", "-u", "eve", "--", "cat", "/etc/ddsd/ddsd.toml").returncode


def test_a_killed_daemon_is_started_again_and_goes_on(served: Machine, tmp_path: Path) -> None:
    before, restarts = main_pid(served), int(served.shown("ddsd", "NRestarts"))
    signal_main(served, "SIGKILL")
    started_again(served, before, restarts)
    assert "delivered" in deliver(served, tmp_path)


def test_a_daemon_that_hangs_is_killed_and_started_again(served: Machine) -> None:
    drop_in(served, "WatchdogSec=3s")
    before, restarts = main_pid(served), int(served.shown("ddsd", "NRestarts"))
    signal_main(served, "SIGSTOP")
    started_again(served, before, restarts)
    assert "Watchdog timeout" in served.journal()
    stores = served.run("sh", "-c", "cat /proc/[0-9]*/comm | grep -cx rclone || true")
    assert stores.strip() == "1", "the killed daemon's store outlived it"


def test_a_reload_takes_the_changed_log_level_and_keeps_the_process(served: Machine) -> None:
    before = main_pid(served)
    place = served.outside("/etc/ddsd/ddsd.toml")
    good = place.read_text()
    for level in ("debug", "info"):
        place.write_text(good.replace('level = "info"', f'level = "{level}"'))
        served.run("systemctl", "reload", "ddsd")
        wait_until(partial(has_reloaded, served, level), f"the level {level}")
    assert "genomics" in served.run("ddsctl", "unit", "ls")
    assert main_pid(served) == before


def has_reloaded(machine: Machine, level: str) -> bool:
    """Say whether that is the level of the log that the last reload has set."""
    return re.findall(r"daemon\.reloaded +log_level=(\w+)", machine.journal())[-1:] == [level]


def test_a_stop_waits_for_a_drain_that_takes_longer_than_the_unit_says(served: Machine) -> None:
    drop_in(served, "TimeoutStopSec=1s", "Environment=DDSD_LISTEN__DRAIN_S=4")
    program = served.beside(sys.executable, "-c", _UNFINISHED)
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as unfinished:
        assert unfinished.stdout is not None
        assert unfinished.stdout.readline() == "sent\n"
        served.run("systemctl", "stop", "ddsd")
    assert served.shown("ddsd", "Result") == "success", served.lately()
    assert served.shown("ddsd", "ExecMainStatus") == "0"
    assert "daemon.stopped" in served.journal()
    served.script(f"rm {DROP_IN}; systemctl daemon-reload; systemctl start ddsd")


_UNFINISHED = """
import socket
with socket.create_connection(("127.0.0.1", 5000)) as one:
    one.sendall(b"POST /api/v1/proj/create HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\n{")
    print("sent", flush=True)
    while one.recv(1000):
        pass
"""


def test_a_mistake_in_the_configuration_is_told_and_not_tried_again(served: Machine) -> None:
    served.run("systemctl", "stop", "ddsd")
    place = served.outside("/etc/ddsd/ddsd.toml")
    good = place.read_text()
    place.write_text(good + "\n[lisen]\nport = 1\n")
    try:
        assert served.try_to("systemctl", "start", "ddsd").returncode
        assert served.shown("ddsd", "ExecMainStatus") == "78"
        assert served.shown("ddsd", "SubState") == "failed"
        assert "/etc/ddsd/ddsd.toml: unknown key lisen" in served.journal()
        assert served.try_to("systemctl", "start", "ddsd-migrate").returncode
    finally:
        place.write_text(good)
    served.script("systemctl reset-failed ddsd; systemctl start ddsd")


def test_without_the_instance_key_the_daemon_says_where_it_belongs(served: Machine) -> None:
    key = "/etc/credstore/ddsd.instance-key"
    served.script(f"systemctl stop ddsd; mv {key} /root/kept")
    assert served.try_to("systemctl", "start", "ddsd").returncode
    assert "instance.key_file: there is no instance key" in served.journal()
    served.script(f"mv /root/kept {key}; systemctl reset-failed ddsd; systemctl start ddsd")


def test_secrets_reach_the_daemon_and_nobody_else(served: Machine) -> None:
    install, restart = guide.commands("Secrets")
    served.run("sh", "-ec", install, stdin=MAIL_PASSWORD)
    served.script(restart)
    given = served.outside("/run/credentials/ddsd.service/mail-password")
    assert given.read_text() == MAIL_PASSWORD
    private = served.try_to(
        "runuser", "-u", "eve", "--", "cat", "/run/credentials/ddsd.service/mail-password"
    )
    assert private.returncode
    assert served.run("stat", "-c", "%U %a", "/etc/credstore/ddsd.mail-password") == "root 600\n"


def test_every_command_about_the_service_can_be_typed(served: Machine) -> None:
    served.script(guide.script("The service"))
    assert served.shown("ddsd", "ReadWritePaths") == "-/srv/ddsd"


def test_the_journal_tells_no_secret_and_no_traceback(served: Machine) -> None:
    journal = served.journal()
    key = served.outside("/etc/credstore/ddsd.instance-key").read_text().strip()
    assert "daemon.ready" in journal
    for secret in (key, MAIL_PASSWORD, "Only-for-this-Test-7", "X-Amz-Signature"):
        assert secret not in journal
    assert "Traceback" not in journal
