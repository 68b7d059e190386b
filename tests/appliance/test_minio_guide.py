"""docs/minio.md, word for word: a MinIO on the same server, and on another one with an address of its own.

Users are on the network of ddsd's machine, know the names that the page uses, and trust the facility's own CA.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.appliance import debian, guide
from tests.appliance.conftest import CHECKOUT, give, new_machine
from tests.appliance.customers import URL
from tests.appliance.debian import Machine
from tests.parts.certificates import Authority

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("appliance")]

PAGE: Final = "minio.md"
DDSD, STORE = "dds.genomics.example", "data.genomics.example"
TLS: Final = "/etc/ssl/ddsd"
ADDRESSES: Final = ("10.20.0.5", "10.20.0.9")
SOCKET: Final = "/run/ddsd/admin.sock"
LENT: Final = "/etc/credstore/minio.root-password"
NO_ANSWER: Final = (
    "import socket, time; full = socket.create_server(('127.0.0.1', 9999), backlog=0);"
    "waiting = [socket.socket() for _ in range(4)];"
    "[one.setblocking(False) or one.connect_ex(('127.0.0.1', 9999)) for one in waiting];"
    "time.sleep(600)"
)
TRY: Final = "ddsctl setup --non-interactive --dry-run"
FOR_USERS: Final = f"{STORE}/minio/admin/v3/info"
NGINX: Final = "/etc/nginx/sites-enabled/store.conf"
FAILURES: Final = {
    "MinIO does not run": f"systemctl stop minio; {TRY}; systemctl start minio",
    "a firewall drops what is sent": (
        f'systemd-run --quiet --unit=full python3 -c "{NO_ANSWER}"; '
        f"{TRY} --set store.endpoint=http://127.0.0.1:9999; systemctl stop full"
    ),
    "the name is not known here": f"{TRY} --set store.endpoint=https://date.genomics.example",
    "the lent secret is wrong": (
        "install -m 0600 /dev/null wrong; echo not-its-secret >wrong; "
        f"{TRY} --store-admin-key minio-admin --store-admin-secret-file wrong"
    ),
    "the service's account is gone from MinIO": f"{TRY} --set store.access_key=nobody",
    "the certificate is from a CA of your own": (
        f"{TRY} --set store.endpoint=https://{STORE} --set store.ca_file="
    ),
    "the certificate is for another host": (
        f"{TRY} --set store.endpoint=https://other.genomics.example"
    ),
    "the proxy changes the Host header": (
        f"sed -i 's/Host $http_host/Host minio/' {NGINX}; systemctl restart nginx; "
        "ddsctl setup --non-interactive; "
        f"sed -i 's/Host minio/Host $http_host/' {NGINX}; systemctl restart nginx"
    ),
    "the proxy does not run": (
        "systemctl stop nginx; ddsctl setup --non-interactive; systemctl start nginx"
    ),
    "the proxy refuses ddsd the administration": (
        "ddsctl unit create other --name Other --contact other@genomics.example; "
        f"ddsctl store set-credentials other --endpoint https://{STORE} "
        f"--admin-key minio-admin --secret-file {LENT}"
    ),
    "the clocks differ by 20 minutes": (
        "export LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 "
        f"FAKETIME=+20m FAKETIME_DONT_FAKE_MONOTONIC=1; {TRY}"
    ),
}


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The facility's own CA."""
    return Authority()


@pytest.fixture(scope="module")
def ca_file(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate, on the users' machines."""
    place = tmp_path_factory.mktemp("users") / "ca.pem"
    place.write_bytes(authority.root)
    return place


@pytest.fixture(scope="module")
def one_server(
    deb: Path,
    minio_binary: Path,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Machine]:
    """A machine with all of it, set up as the page says."""
    directory = tmp_path_factory.mktemp("one-server")
    with new_machine(debian.with_nginx(), directory, minio_binary.parent) as machine:
        give(machine, deb)
        prepare(machine, authority, {"127.0.0.1": f"{DDSD} {STORE} other.genomics.example"})
        bring_minio(machine, minio_binary)
        for heading in ("Install ddsd", "Start MinIO", "The way in"):
            machine.script(guide.script(heading, PAGE))
        said = machine.script(guide.script("Set ddsd up", PAGE))
        assert "every byte was compared" in said
        assert "passed, 0 warnings, 0 failed, 0 not tried" in said, said
        yield machine


@pytest.fixture(scope="module")
def two_servers(
    deb: Path,
    minio_binary: Path,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Machine, Machine]]:
    """ddsd's machine and MinIO's, with a cable between them and nothing done yet."""
    below = debian.with_nginx()
    ours, theirs = (tmp_path_factory.mktemp(name) for name in ("ddsd", "minio"))
    with (
        new_machine(below, ours) as server,
        new_machine(below, theirs, minio_binary.parent) as store,
    ):
        connect(server, store)
        give(server, deb)
        bring_minio(store, minio_binary)
        names = {"127.0.0.1": DDSD, ADDRESSES[1]: STORE}
        for machine in (server, store):
            prepare(machine, authority, names)
        yield server, store


def prepare(machine: Machine, authority: Authority, names: dict[str, str]) -> None:
    """Give a machine what the page takes for granted: names, and a certificate from the facility's CA."""
    machine.script(f"install -d -m 0755 {TLS}")
    pair = authority.issue(DDSD, STORE)
    for name, content in (
        ("fullchain.pem", pair.chain),
        ("privkey.pem", pair.key),
        ("ca.pem", authority.root),
    ):
        (machine.outside(TLS) / name).write_bytes(content)
    machine.outside("/etc/hosts").write_text("".join(f"{ip} {of}\n" for ip, of in names.items()))


def bring_minio(machine: Machine, program: Path) -> None:
    """Put MinIO's program and our examples into root's home."""
    machine.script(f"ln -s {program} minio")
    machine.script("mkdir config")
    for name in ("minio", "nginx"):
        (machine.outside("/root/config") / name).mkdir()
        for file in (CHECKOUT / "config" / name).iterdir():
            (machine.outside("/root/config") / name / file.name).write_bytes(file.read_bytes())


def connect(*machines: Machine) -> None:
    """Lay a cable between two machines."""
    one, other = (str(machine.leader) for machine in machines)
    run("ip", "link", "add", "cable", "netns", one, "type", "veth", "peer", "cable", "netns", other)
    for machine, address in zip(machines, ADDRESSES, strict=True):
        run(*machine.beside("ip", "address", "add", f"{address}/24", "dev", "cable"))
        run(*machine.beside("ip", "link", "set", "cable", "up"))


def run(*words: str) -> str:
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def delivered(machine: Machine, directory: Path, program: Path, ca_file: Path) -> str:
    """Have the unit deliver with the stock client, from machines that know the names; return what was delivered."""
    customers = (sys.executable, "-m", "tests.appliance.customers")
    told = (machine.outside(SOCKET), directory, URL, program, "genomics", ca_file)
    names = directory / "hosts"
    names.write_bytes(machine.outside("/etc/hosts").read_bytes())
    knowing = 'mount --bind "$0" /etc/hosts && exec "$@"'
    users = ("unshare", "--mount", "sh", "-c", knowing, str(names))
    return run(*machine.beside(*users, *customers, *map(str, told)))


def asked(machine: Machine, place: str) -> str:
    """Ask for something from a machine, without a key; return the status and what was said."""
    program = (
        "import ssl, urllib.error, urllib.request\n"
        f"trust = ssl.create_default_context(cafile='{TLS}/ca.pem')\n"
        f"try: answer = urllib.request.urlopen('https://{place}', context=trust)\n"
        "except urllib.error.HTTPError as refused: answer = refused\n"
        "print(answer.status, answer.read().decode())\n"
    )
    return machine.run("python3", "-c", program)


def is_the_proxys(answer: str) -> bool:
    """Say whether the proxy has refused, and not MinIO behind it."""
    return answer.startswith("403 ") and "<center>nginx" in answer


def buckets(machine: Machine) -> str:
    """List what MinIO keeps."""
    return machine.run("ls", "/srv/minio")


def failures() -> dict[str, str]:
    """Return what the page says is said, by when."""
    text = (
        guide.DOCS.joinpath(PAGE).read_text(encoding="utf-8").partition("## When a step fails")[2]
    )
    rows = re.findall(r"^\| (.+?) \| `(.+?)` \| .+ \|$", text, flags=re.MULTILINE)
    return dict(rows)


def by_hand() -> list[str]:
    """Return the commands that the page says are printed for a unit."""
    section = guide.DOCS.joinpath(PAGE).read_text(encoding="utf-8").partition("### By hand")[2]
    _, block = re.findall(r"```text\n(.+?)```", section, flags=re.DOTALL)
    return list(block.splitlines())


def in_order(pieces: Sequence[str], text: str) -> bool:
    """Say whether all pieces are in the text, one after the other."""
    return re.search(".*".join(map(re.escape, pieces)), text, flags=re.DOTALL) is not None


def test_every_command_of_the_page_is_run_here() -> None:
    tests = Path(__file__).read_text()
    assert [one for one in guide.everything(PAGE) if f'"{one}"' not in tests] == []


def test_every_failure_of_the_page_is_tried_here() -> None:
    assert failures().keys() == FAILURES.keys()


def test_the_example_for_minio_is_hardened(one_server: Machine) -> None:
    said = one_server.script("systemd-analyze security --threshold=15 --no-pager minio | tail -1")
    assert "OK" in said
    assert one_server.script("systemd-analyze verify /etc/systemd/system/minio.service") == ""
    assert one_server.run("stat", "-c", "%U %a", "/srv/minio").strip() == "minio 750"


def test_with_minio_on_the_same_server_a_unit_delivers_from_its_own_account(
    one_server: Machine, stock_client_binary: Path, ca_file: Path, tmp_path: Path
) -> None:
    one_server.script(guide.script("The first delivery", PAGE))
    assert "delivered genomics" in delivered(one_server, tmp_path, stock_client_binary, ca_file)
    assert buckets(one_server).count("genomics") == 1
    said = one_server.script(guide.script("Another unit", PAGE))
    assert re.search(r"imaging +current .* ddsd-imaging .* yes", said), said
    printed = one_server.script(guide.script("By hand", PAGE))
    assert "arn:aws:s3:::genomics" in printed
    assert [
        line
        for line in by_hand()
        if not re.search(rf"^ *{re.escape(line)}$", printed, re.MULTILINE)
    ] == []


def test_the_administration_of_minio_is_not_to_be_had_from_outside(one_server: Machine) -> None:
    assert asked(one_server, f"{DDSD}/status").startswith("200 ")
    assert is_the_proxys(asked(one_server, f"{STORE}/minio/health/live"))
    assert is_the_proxys(asked(one_server, FOR_USERS))


@pytest.mark.parametrize("when", FAILURES)
def test_what_fails_is_told_as_the_page_says(one_server: Machine, when: str) -> None:
    said = one_server.run("sh", "-c", f"cd /root; exec 2>&1; {FAILURES[when]}; true")
    assert in_order(failures()[when].split(" … "), " ".join(said.split())), said
    assert "Traceback" not in said


def test_after_all_these_failures_it_delivers_as_before(
    one_server: Machine, stock_client_binary: Path, ca_file: Path, tmp_path: Path
) -> None:
    one_server.script("ddsctl setup --non-interactive --no-trial")
    assert "delivered genomics" in delivered(one_server, tmp_path, stock_client_binary, ca_file)


def test_with_minio_on_another_server_the_data_goes_there_and_ddsd_waits_for_it(
    two_servers: tuple[Machine, Machine], stock_client_binary: Path, ca_file: Path, tmp_path: Path
) -> None:
    server, store = two_servers
    store.script(guide.script("On the server of MinIO", PAGE))
    commands = guide.commands("On the server of ddsd", PAGE)
    lending = next(at for at, one in enumerate(commands) if "/dev/stdin" in one)
    server.script("\n".join(commands[:lending]))
    secret = store.run("cat", LENT)
    server.run("sh", "-ec", f"cd /root; {commands[lending]}", stdin=secret)
    said = server.script("\n".join(commands[lending + 1 :]))
    assert "every byte was compared" in said
    assert "passed, 0 warnings, 0 failed, 0 not tried" in said, said
    assert secret.strip() not in server.script("cat /etc/ddsd/* /etc/credstore/*; ls -A")
    assert "minio-admin.secret" not in server.run("ls", "/root")

    assert "delivered genomics" in delivered(server, tmp_path, stock_client_binary, ca_file)
    assert buckets(store).count("genomics") == 1

    for_ddsd = f"{STORE}:9443/minio/admin/v3/info"
    assert not is_the_proxys(asked(server, for_ddsd))
    assert is_the_proxys(asked(store, for_ddsd))
    assert is_the_proxys(asked(server, FOR_USERS))

    store.script("systemctl stop minio")
    assert re.search(r"store +s3, DOES NOT ANSWER", server.run("ddsctl", "status"))
    store.script("systemctl start minio")
    assert "yes" in server.run("ddsctl", "store", "show")
