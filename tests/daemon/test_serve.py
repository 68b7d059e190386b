"""The process: how it starts, whom it lets in, what it refuses, and how it ends."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ddsd.errors import ConfigurationError
from ddsd.listeners import admin_listener
from ddsd.settings import Listen
from tests.daemon.process import PATIENCE_S, Daemon, Place, wait_until

Start = Callable[..., Daemon]
ODD = "tests.daemon.odd_planes"


def test_it_answers_on_both_planes(start: Start) -> None:
    daemon = start().ready()
    with daemon.public() as public, daemon.admin() as admin:
        answer = public.get("/status")
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")
        assert admin.get("/1/status").status_code == 200


def test_an_admin_route_does_not_exist_on_tcp(start: Start) -> None:
    daemon = start().ready()
    with daemon.public() as public:
        assert public.get("/1/status", headers={"Host": "ddsd"}).status_code == 404


def test_the_embedded_store_starts_and_ends_with_it(place: Place, start: Start) -> None:
    daemon = start(DDSD_STORE__KIND="embedded", DDSD_STORE__ENDPOINT="").ready()
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    pids = children.read_text().split()
    assert pids
    daemon.tell(signal.SIGTERM)
    assert daemon.exit_code() == 0
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_the_admin_socket_is_for_its_group_only(place: Place, start: Start) -> None:
    start().ready()
    assert stat.S_IMODE(place.socket.stat().st_mode) == 0o660
    assert stat.S_IMODE(place.socket.parent.stat().st_mode) == 0o750


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a socket to any group")
def test_the_admin_socket_belongs_to_the_admin_group(place: Place, start: Start) -> None:
    start(DDSD_LISTEN__ADMIN_GROUP="daemon").ready()
    assert place.socket.group() == "daemon"
    assert place.socket.parent.group() == "daemon"


def test_an_unknown_admin_group_is_refused(place: Place) -> None:
    refused = place.run("serve", DDSD_LISTEN__ADMIN_GROUP="no-such-group")
    assert refused.returncode == 78
    assert "listen.admin_group: there is no group no-such-group" in refused.stderr


NOBODY = pwd.getpwnam("nobody")
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")


@contextmanager
def nobody() -> Iterator[None]:
    """Be an ordinary user for a while."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY.pw_gid)
    os.seteuid(NOBODY.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def test_a_sockets_directory_that_cannot_be_made_is_named_with_the_cure(place: Place) -> None:
    refused = place.run("serve", DDSD_LISTEN__ADMIN_SOCKET="/proc/ddsd/admin.sock")
    assert refused.returncode == 78
    assert "listen.admin_socket: /proc/ddsd cannot be made" in refused.stderr
    assert "install -d -m 0750 -o " in refused.stderr


@as_root
def test_a_group_that_may_not_be_given_is_named_and_leaves_no_directory() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        run = Path(directory) / "run"
        listen = Listen(admin_socket=run / "admin.sock", admin_group="daemon")
        with nobody(), pytest.raises(ConfigurationError, match="to the group daemon;"):
            admin_listener(listen).__enter__()
        assert not run.exists()


@as_root
def test_a_directory_of_somebody_else_is_named_with_the_cure() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        listen = Listen(admin_socket=Path(directory) / "admin.sock", admin_group="daemon")
        cure = f"install -d -m 0750 -o nobody -g daemon {directory}"
        with nobody(), pytest.raises(ConfigurationError, match=cure):
            admin_listener(listen).__enter__()


def test_a_second_daemon_on_the_same_socket_is_refused(place: Place, start: Start) -> None:
    first = start().ready()
    second = place.run("serve", DDSD_LISTEN__PORT="0")
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1] == f"ddsd: another ddsd is running: it has {place.socket}"
    with first.admin() as admin:
        assert admin.get("/1/status").status_code == 200


def test_another_program_on_the_socket_is_not_pushed_aside(place: Place) -> None:
    place.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place.socket))
        other.listen()
        refused = place.run("serve")
        assert refused.returncode == 1
        assert "another program answers on" in refused.stderr
        assert place.socket.exists()


def test_a_file_in_the_sockets_place_is_left_alone(place: Place) -> None:
    place.socket.parent.mkdir()
    place.socket.write_text("precious")
    refused = place.run("serve")
    assert refused.returncode == 78
    assert "is there and is no socket" in refused.stderr
    assert place.socket.read_text() == "precious"


def test_a_stale_socket_is_removed(place: Place, start: Start) -> None:
    place.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place.socket))
    daemon = start().ready()
    with daemon.admin() as admin:
        assert admin.get("/1/status").status_code == 200


def test_a_port_in_use_is_said_plainly(place: Place) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", place.port))
        other.listen()
        refused = place.run("serve")
    assert refused.returncode == 1
    assert f"127.0.0.1 port {place.port} is already in use" in refused.stderr.splitlines()[-1]
    assert not place.socket.exists()


def test_a_failed_start_leaves_nothing_behind(place: Place) -> None:
    refused = place.run(
        "serve",
        DDSD_STORE__KIND="embedded",
        DDSD_STORE__ENDPOINT="",
        DDSD_STORE__DIRECTORY=str(place.config),
    )
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("ddsd: the object store cannot be started: ")
    assert "Traceback" not in refused.stderr
    assert not place.socket.exists()


def test_a_request_in_flight_is_finished_before_it_ends(place: Place, start: Start) -> None:
    daemon = start(ODD).ready()
    with daemon.public() as public, ThreadPoolExecutor() as threads:
        answer = threads.submit(public.get, "/slow")
        wait_until(lambda: bool(daemon.events("slow.begun")), "the request has begun")
        daemon.tell(signal.SIGTERM)
        wait_until(lambda: _refused(place.port), "the port is closed")
        assert daemon.process.poll() is None
        assert answer.result().json() == {"answer": "at last"}
    assert daemon.exit_code() == 0
    assert not place.socket.exists()


def test_a_request_on_the_admin_plane_is_finished_too(start: Start) -> None:
    daemon = start(ODD).ready()
    with daemon.admin() as admin, ThreadPoolExecutor() as threads:
        answer = threads.submit(admin.get, "/slow")
        wait_until(lambda: bool(daemon.events("slow.begun")), "the request has begun")
        daemon.tell(signal.SIGINT)
        assert answer.result().json() == {"answer": "at last"}
    assert daemon.exit_code() == 0


@pytest.mark.parametrize("how", ["the time is up", "a second signal"])
def test_a_request_that_does_not_end_is_cancelled(start: Start, place: Place, how: str) -> None:
    if how == "the time is up":
        place.config.write_text(place.config.read_text().replace("drain_s = 10", "drain_s = 1"))
    daemon = start(ODD).ready()
    with daemon.public() as public, ThreadPoolExecutor() as threads:
        answer = threads.submit(public.get, "/stuck")
        wait_until(lambda: bool(daemon.events("stuck.begun")), "the request has begun")
        daemon.tell(signal.SIGTERM)
        if how == "a second signal":
            wait_until(lambda: bool(daemon.events("daemon.draining")), "draining")
            daemon.tell(signal.SIGTERM)
        assert isinstance(answer.exception(), httpx.HTTPError) or answer.result().is_error
    assert daemon.exit_code() == 0
    assert len(daemon.events("stuck.rolled_back")) == 1


def test_an_idle_connection_does_not_hold_up_the_end(start: Start) -> None:
    daemon = start(DDSD_LISTEN__DRAIN_S="600").ready()
    with daemon.public() as public:
        public.get("/status")
        daemon.tell(signal.SIGTERM)
        assert daemon.exit_code() == 0


def test_a_half_sent_request_does_not_hold_up_the_end(place: Place, start: Start) -> None:
    daemon = start(DDSD_LISTEN__DRAIN_S="600").ready()
    with socket.create_connection(("127.0.0.1", place.port)) as dawdler:
        dawdler.sendall(b"GET /status HT")
        with daemon.public() as public:  # by now the daemon has taken the first one's call
            public.get("/status")
        daemon.tell(signal.SIGTERM)
        assert daemon.exit_code() == 0


def test_it_starts_again_after_a_kill(start: Start) -> None:
    first = start().ready()
    first.process.kill()
    assert first.exit_code() == -signal.SIGKILL
    second = start().ready(times=2)
    with second.public() as public, second.admin() as admin:
        assert public.get("/status").status_code == 200
        assert admin.get("/1/status").status_code == 200


def test_a_database_without_schema_is_refused(place: Place) -> None:
    place.database.unlink()
    refused = place.run("serve")
    assert refused.returncode == 78
    assert "ddsd migrate" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_missing_instance_key_is_refused(place: Place) -> None:
    refused = place.run("serve", DDSD_INSTANCE__KEY_FILE="")
    assert refused.returncode == 78
    assert "ddsd new-instance-key" in refused.stderr


@pytest.mark.parametrize("text", ["0" * 64, "A" * 43, "too short", "ä" * 43])
def test_a_bad_instance_key_is_refused(place: Place, text: str) -> None:
    place.key.write_text(text)
    refused = place.run("serve")
    assert refused.returncode == 78
    assert "ddsd new-instance-key" in refused.stderr
    assert text not in refused.stderr


def test_another_instance_key_than_the_databases_is_refused(place: Place, start: Start) -> None:
    daemon = start().ready()
    daemon.tell(signal.SIGTERM)
    assert daemon.exit_code() == 0
    right = place.key.read_bytes()
    place.key.unlink()
    assert place.run("new-instance-key", str(place.key), config=False).returncode == 0
    refused = place.run("serve")
    assert refused.returncode == 78
    assert "instance.key_file is not the key this database was made with" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not place.socket.exists()
    place.key.write_bytes(right)
    start().ready(times=2)


@pytest.fixture
def systemd(tmp_path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(PATIENCE_S)
    return listener


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(
    start: Start, systemd: socket.socket
) -> None:
    with systemd:
        daemon = start(NOTIFY_SOCKET=systemd.getsockname())
        assert systemd.recv(4096).splitlines()[0] == b"READY=1"
        with daemon.public() as public:
            assert public.get("/status").status_code == 200
        daemon.tell(signal.SIGTERM)
        assert systemd.recv(4096).splitlines()[0] == b"STOPPING=1"
        assert daemon.exit_code() == 0


def test_the_watchdog_is_fed(start: Start, systemd: socket.socket) -> None:
    with systemd:
        start(NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="300000")
        said = [systemd.recv(4096).splitlines()[0] for _ in range(4)]
    assert said.count(b"WATCHDOG=1") == 3


def test_the_watchdog_starves_when_the_loop_is_stuck(start: Start, systemd: socket.socket) -> None:
    with systemd:
        daemon = start(NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="300000").ready()
        while systemd.recv(4096) != b"WATCHDOG=1":
            pass
        daemon.tell(signal.SIGSTOP)
        systemd.settimeout(0.6)
        with pytest.raises(TimeoutError):
            while True:
                systemd.recv(4096)
        daemon.tell(signal.SIGCONT)
        systemd.settimeout(PATIENCE_S)
        assert systemd.recv(4096) == b"WATCHDOG=1"


def test_a_body_over_the_limit_is_refused_whether_announced_or_not(start: Start) -> None:
    daemon = start(ODD, DDSD_LISTEN__MAX_BODY_MIB="1").ready()
    mebibyte = b"x" * 1024 * 1024
    with daemon.public() as public:
        assert public.post("/echo", content=mebibyte).json() == {"size_bytes": len(mebibyte)}
        assert _status(public, mebibyte + b"x") == 413
        assert _status(public, iter([mebibyte, b"x"])) == 413
        assert public.post("/echo", content=iter([mebibyte])).status_code == 200
        port = public.base_url.port
    assert port is not None
    _says_so_to_who_sends_all_before_reading(port, 64 * len(mebibyte))


def _says_so_to_who_sends_all_before_reading(port: int, size: int) -> None:
    """As proxies do: who is cut off while sending never comes to read why."""
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(head + bytes(size))
        assert client.recv(12) == b"HTTP/1.1 413"


def test_a_life_without_warnings_and_every_line_is_json(start: Start) -> None:
    daemon = start(PYTHONWARNINGS="always").ready()
    with daemon.public() as public:
        public.get("/status")
    daemon.tell(signal.SIGTERM)
    assert daemon.exit_code() == 0
    assert [line for line in daemon.log.splitlines() if not line.startswith("{")] == []
    assert daemon.events("daemon.stopped")
    assert "Warning" not in daemon.log


def test_it_is_small_when_idle(
    start: Start, record_testsuite_property: Callable[[str, object], None]
) -> None:
    resident_kib = start().ready().memory_kib()
    record_testsuite_property("idle_daemon_kib", resident_kib)
    assert resident_kib < 150 * 1024, f"{resident_kib} KiB"


def test_version_and_help_do_not_load_the_daemon() -> None:
    program = (
        "import sys; sys.argv = ['ddsd', '--help']\n"
        "from ddsd.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'litestar', 'sqlalchemy', 'uvicorn', 'minio', 'pydantic'} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines()[-1] == "[]"


def _refused(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) != 0


def _status(client: httpx.Client, body: object) -> int:
    return client.post("/echo", content=body).status_code  # type: ignore[arg-type]
