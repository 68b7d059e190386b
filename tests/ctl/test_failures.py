"""A command that fails says why, what to do next, and tells scripts by its exit code."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.admin.serving import AdminPlane, services_for, serving
from tests.ctl.conftest import Ctl
from tests.ctl.test_commands import CREATE_GENOMICS, CREATE_MARIA

NOBODY = 65534

# Loads everything first: the other user may be able to read neither this checkout nor its interpreter.
BECOME_NOBODY = f"""
import os, sys
import ddsctl.app, ddsctl.client, ddsd.contract.admin, httpx
httpx.Client(transport=httpx.HTTPTransport(uds="/")).close()
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
ddsctl.app.main()
"""

as_nobody = pytest.mark.skipif(
    os.getuid() != 0, reason="needs root, to ask as another user of this machine"
)


def run_as_nobody(socket_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BECOME_NOBODY, "--socket", str(socket_path), *words],
        capture_output=True,
        text=True,
        check=False,
    )


def second_caller(listener: socket.socket) -> socket.socket:
    """Return the connection with the request: the first one only sees whether anybody is there."""
    knock, _ = listener.accept()
    knock.close()
    return listener.accept()[0]


@pytest.fixture
def open_directory() -> Iterator[Path]:
    with TemporaryDirectory(prefix="ddsctl-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.parametrize(
    "words",
    [("status",), ("unit", "ls"), ("mail", "show", "1"), ("db", "current"), CREATE_GENOMICS],
)
def test_without_a_daemon_the_socket_and_systemctl_are_named(
    ctl_alone: Ctl, words: tuple[str, ...]
) -> None:
    ended = ctl_alone(*words)
    assert ended.code == 69
    assert str(ctl_alone.socket) in ended.err
    assert "systemctl status ddsd" in ended.err
    assert ended.out == ""


def test_a_socket_nobody_listens_on_is_the_same_as_none(ctl_alone: Ctl) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(ctl_alone.socket))
        assert ctl_alone("status").code == 69


def test_without_a_daemon_there_is_no_traceback(ctl_alone: Ctl) -> None:
    ended = ctl_alone.process("status")
    assert ended.code == 69
    assert "Traceback" not in ended.err
    assert len(ended.err.splitlines()) == 1


def test_something_else_on_the_socket_is_named_as_not_understood(ctl_alone: Ctl) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(ctl_alone.socket))
        other.listen()

        def answer() -> None:
            connection = second_caller(other)
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        thread = threading.Thread(target=answer)
        thread.start()
        ended = ctl_alone("status")
        thread.join()
    assert ended.code == 1
    assert "Is it ddsd" in ended.err


def test_a_daemon_that_hangs_up_is_told_apart_from_one_that_is_away(ctl_alone: Ctl) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(ctl_alone.socket))
        other.listen()

        def hang_up() -> None:
            connection = second_caller(other)
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        ended = ctl_alone("status")
        thread.join()
    assert ended.code == 69
    assert "Whether it was carried out is not known" in ended.err


@pytest.mark.parametrize(
    ("api", "theirs", "code", "said"),
    [
        ("2", "9.0.0", 1, "the daemon is ddsd 9.0.0, this is ddsctl"),
        ("0", "0.0.1", 1, "they do not understand each other"),
        ("1", "9.0.0", 65, "Warning: the daemon is ddsd 9.0.0"),
    ],
)
def test_a_daemon_of_another_version_is_told_of(
    ctl_alone: Ctl, api: str, theirs: str, code: int, said: str
) -> None:
    """A daemon of the future, or of the past, that does not know what is asked for."""
    body = b'{"code":"not_found","message":"There is no such thing."}'
    head = (
        f"HTTP/1.1 404 Not Found\r\nContent-Length: {len(body)}\r\n"
        f"X-Ddsd-Version: {theirs}\r\nX-Ddsd-Api: {api}\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(ctl_alone.socket))
        other.listen()

        def answer() -> None:
            with second_caller(other) as connection:
                connection.recv(65536)
                connection.sendall(head.encode() + body)

        thread = threading.Thread(target=answer)
        thread.start()
        ended = ctl_alone("status")
        thread.join()
    assert ended.code == code
    assert said in ended.err
    assert "systemctl restart ddsd" in ended.err


def test_the_daemons_version_is_in_every_answer_and_no_warning_of_its_own(
    ctl: Ctl, plane: AdminPlane
) -> None:
    transport = httpx.HTTPTransport(uds=str(plane.socket))
    with httpx.Client(transport=transport, base_url="http://ddsd") as http:
        answers = [http.get("/1/status"), http.get("/2/status"), http.get("/1/units/none")]
    assert [one.status_code for one in answers] == [200, 404, 404]
    assert {one.headers["X-Ddsd-Version"] for one in answers} == {version("ddsd")}
    assert {one.headers["X-Ddsd-Api"] for one in answers} == {"1"}
    assert ctl("status").err == ""


def test_values_the_daemon_refuses_are_named(ctl: Ctl) -> None:
    ended = ctl("unit", "create", "-x", "--name", "X", "--contact", "nobody")
    assert ended.code == 2
    ended = ctl("unit", "create", "x_y", "--name", "X", "--contact", "nobody")
    assert ended.code == 65
    assert "PUBLIC_ID " in ended.err
    assert "--contact is no e-mail address" in ended.err


def test_a_unit_that_exists_is_refused(ctl: Ctl) -> None:
    ctl(*CREATE_GENOMICS)
    ended = ctl(*CREATE_GENOMICS)
    assert ended.code == 65
    assert "There is already a unit with the public ID 'genomics'" in ended.err


def test_a_unit_that_is_missing_is_refused_with_the_way_to_list_units(ctl: Ctl) -> None:
    ended = ctl(*CREATE_MARIA)
    assert ended.code == 65
    assert "ddsctl unit ls" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ("unit", "create"),
        ("unit", "paint"),
        (*CREATE_GENOMICS, "--quota", "many"),
        ("user", "create", "x", "--name", "X", "--email", "x@example.org", "--role", "king"),
        ("mail", "ls", "--limit", "0"),
        ("mail", "show", "first"),
    ],
)
def test_a_command_line_that_cannot_be_understood_exits_2(
    ctl_alone: Ctl, words: tuple[str, ...]
) -> None:
    assert ctl_alone(*words).code == 2


@as_nobody
def test_a_socket_that_is_closed_to_the_caller_names_the_group(
    open_directory: Path, tmp_path: Path, sqlite_template: Path
) -> None:
    services = services_for(tmp_path, sqlite_template)
    with serving(open_directory / "admin.sock", services) as plane:
        ended = run_as_nobody(plane.socket, "status")
    assert ended.returncode == 77
    assert "member of the group 'root'" in ended.stderr
    assert "Traceback" not in ended.stderr


@as_nobody
def test_a_directory_that_is_closed_to_the_caller_names_the_group_too(
    plane: AdminPlane, open_directory: Path
) -> None:
    closed = open_directory / "run"
    closed.mkdir(mode=0o750)
    ended = run_as_nobody(closed / "admin.sock", "status")
    assert ended.returncode == 77
    assert "member of the group 'root'" in ended.stderr


@as_nobody
@pytest.mark.parametrize("words", [("jobs", "run"), ("project", "show"), ("unit", "show")])
def test_bytes_that_are_no_text_are_refused_before_anything_is_asked(
    ctl: Ctl, words: tuple[str, ...]
) -> None:
    ended = ctl(*words, "a\udcff")
    assert ended.code == 2
    assert "is no text in UTF-8" in ended.err


@pytest.mark.parametrize("name", ["..", ".", "../units", "a/b"])
def test_a_name_does_not_lead_to_another_place_at_the_daemon(ctl: Ctl, name: str) -> None:
    ended = ctl("project", "show", name)
    assert (ended.code, ended.err) == (65, f"ddsctl: There is nothing called '{name}'.\n")


def test_a_caller_the_daemon_refuses_is_told_the_daemons_reason(
    open_directory: Path, tmp_path: Path, sqlite_template: Path
) -> None:
    services = services_for(tmp_path, sqlite_template)
    with serving(open_directory / "admin.sock", services, mode=0o666) as plane:
        ended = run_as_nobody(plane.socket, "unit", "ls")
    assert ended.returncode == 77
    assert "(uid 65534) may not operate this service" in ended.stderr


def test_an_option_is_named_once_for_each_thing_that_is_wrong(ctl: Ctl) -> None:
    ended = ctl(
        "unit", "create", "a_b", "--name", "N", "--contact", "x@example.org", "--warn-at", "0"
    )
    assert ended.code == 65
    assert ended.err.splitlines() == [
        "ddsctl: PUBLIC_ID may only hold the letters A-Z and a-z, digits, '.' and '-', and not be empty.",
        "  --warn-at must be over 0 and at most 1.",
    ]


@pytest.mark.parametrize("noun", ["user", "project"])
def test_a_unit_that_is_none_is_not_an_empty_list(ctl: Ctl, noun: str) -> None:
    ended = ctl(noun, "ls", "--unit", "nope")
    assert ended.code == 65
    assert "There is no unit 'nope'" in ended.err
