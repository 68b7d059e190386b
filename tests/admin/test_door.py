"""Who gets in, and who is told why not."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute
from sqlalchemy import select

from ddsd.access import Operator
from ddsd.audit.tables import AuditEntry
from ddsd.errors import ConfigurationError, Forbidden
from ddsd.planes.admin import app as admin
from ddsd.planes.admin import peer
from ddsd.planes.admin.door import Door
from ddsd.planes.admin.peer import Peer
from ddsd.work import Work
from tests.admin.serving import AdminPlane, services_for, serving, serving_on

NOBODY = 65534
UNIT = {
    "public_id": "genomics",
    "name": "Genomics Platform",
    "external_display_name": "Genomics",
    "contact_email": "delivery@example.org",
}

# Run by another user, who can read neither this checkout nor its environment: standard library only.
ASK_FOR_STATUS = """
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(b"GET /1/units HTTP/1.1\\r\\nHost: ddsd\\r\\nConnection: close\\r\\n\\r\\n")
answer = b""
while chunk := s.recv(65536):
    answer += chunk
sys.stdout.buffer.write(answer)
"""

only_root = pytest.mark.skipif(
    os.getuid() != 0, reason="needs root, to ask as another user of this machine"
)


def asked_as(uid: int, gids: list[int], socket_path: Path) -> tuple[int, dict[str, object]]:
    """Ask for the units as another user; return the status and the body."""
    ended = subprocess.run(
        ["/usr/bin/env", "python3", "-c", ASK_FOR_STATUS, str(socket_path)],
        user=uid,
        group=gids[0],
        extra_groups=gids[1:],
        capture_output=True,
        check=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
    )
    head, _, body = ended.stdout.partition(b"\r\n\r\n")
    answer = json.loads(body)
    return int(head.split()[1]), answer if isinstance(answer, dict) else {"list": answer}


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory everybody may enter; pytest's own are closed."""
    with TemporaryDirectory(prefix="ddsd-door-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_the_kernel_names_the_caller(plane: AdminPlane) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(plane.socket))
        found = peer.read(one)
    assert found == Peer(os.getpid(), os.getuid(), frozenset({os.getgid(), *os.getgroups()}))


def test_a_tcp_connection_has_no_peer() -> None:
    with socket.socket(socket.AF_INET) as one:
        assert peer.read(one) is None


def test_a_scope_that_uvicorn_did_not_mark_has_no_peer() -> None:
    assert peer.of({"extensions": {"ddsd.peer": {"uid": 0}}}) is None
    assert peer.of({"extensions": None}) is None
    assert peer.of({}) is None


def test_headers_cannot_claim_to_be_somebody(http: httpx.Client, plane: AdminPlane) -> None:
    claims = {"X-Peer": "0", "ddsd.peer": "0", "X-Forwarded-For": "10.1.2.3", "Forwarded": "for=x"}
    assert http.post("/units", json=UNIT, headers=claims).status_code == 201
    assert audit_actors(plane) == [
        f"operator {pwd.getpwuid(os.getuid()).pw_name} (uid {os.getuid()})"
    ]


def test_every_request_on_a_kept_connection_is_let_in(http: httpx.Client) -> None:
    assert [http.get("/units").status_code for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("header", ["Origin", "Referer", "origin"])
def test_browsers_are_refused(http: httpx.Client, plane: AdminPlane, header: str) -> None:
    answer = http.post("/units", json=UNIT, headers={header: "http://evil.example"})
    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"
    assert audit_actors(plane) == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5000", "evil.example", "ddsd:80", ""])
def test_a_host_that_is_not_ours_is_refused(http: httpx.Client, host: str) -> None:
    answer = http.get("/units", headers={"Host": host})
    assert answer.status_code == 403
    assert "Host must be 'ddsd'" in answer.json()["message"]


def routes(app: Litestar) -> list[tuple[str, str]]:
    """Return every method and path of the application."""
    return [
        (str(method), re.sub(r"\{[^}]*\}", "1", route.path))
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    ]


def test_every_route_refuses_callers_on_tcp(tmp_path: Path) -> None:
    services = services_for(tmp_path, None)
    asked = routes(admin.build(services))
    assert len(asked) >= 25
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serving_on(listener, services),
        httpx.Client(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60
        ) as client,
    ):
        for method, path in asked:
            answer = client.request(method, path, headers={"Host": "ddsd"})
            assert (method, path, answer.status_code) == (method, path, 403)
            assert "Unix socket" in answer.json()["message"]


def test_root_and_the_daemons_own_user_may_and_others_may_not() -> None:
    door = Door(own_uid=990, group="", gid=None)
    assert door.operator(Peer(1, 0, frozenset({0}))) == Operator(0, "root")
    assert door.operator(Peer(1, 990, frozenset({990}))).uid == 990
    with pytest.raises(Forbidden, match=r"listen\.admin_group is not set"):
        door.operator(Peer(1, 991, frozenset({990, 0})))


def test_members_of_the_admin_group_may_whichever_of_their_groups_it_is() -> None:
    door = Door(own_uid=990, group="dds-admin", gid=7)
    assert door.operator(Peer(1, 1000, frozenset({7}))).uid == 1000
    assert door.operator(Peer(1, 1000, frozenset({100, 7}))).uid == 1000
    with pytest.raises(Forbidden, match="usermod --append --groups dds-admin"):
        door.operator(Peer(1, 1000, frozenset({100})))


def test_an_admin_group_that_does_not_exist_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="groupadd --system no-such-group"):
        Door.for_group("no-such-group")


@only_root
def test_a_user_outside_the_admin_group_is_refused_even_if_the_socket_is_open(
    open_directory: Path, tmp_path: Path, sqlite_template: Path
) -> None:
    group = grp.getgrgid(2).gr_name
    services = services_for(tmp_path, sqlite_template, admin_group=group)
    with serving(open_directory / "admin.sock", services, mode=0o666) as plane:
        status, body = asked_as(NOBODY, [NOBODY], plane.socket)
    assert status == 403
    assert body["code"] == "forbidden"
    assert f"a member of the group '{group}'" in str(body["message"])


@only_root
@pytest.mark.parametrize("gids", [[2], [NOBODY, 2]])
def test_a_member_of_the_admin_group_is_let_in(
    open_directory: Path, tmp_path: Path, sqlite_template: Path, gids: list[int]
) -> None:
    services = services_for(tmp_path, sqlite_template, admin_group=grp.getgrgid(2).gr_name)
    with serving(open_directory / "admin.sock", services, mode=0o666) as plane:
        assert asked_as(NOBODY, gids, plane.socket) == (200, {"list": []})


def audit_actors(plane: AdminPlane) -> list[str]:
    """Return who is in the audit log, oldest first."""

    async def read(work: Work) -> list[str]:
        columns = AuditEntry.columns()
        return list(await work.session.scalars(select(columns.actor).order_by(columns.id)))

    return plane.work(read)
