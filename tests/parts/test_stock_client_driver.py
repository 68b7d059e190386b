"""The stock client's driver: commands, prompts of each kind, a login, and a client that hangs."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from tests.parts.ports import LOOPBACK
from tests.parts.stock_client import DOWN, NO, Answer, ClientHangsError, StockClient, plain

pytestmark = pytest.mark.xdist_group("stock-client")


@dataclass
class Desk:
    """Just enough of a server to log in to: what it was told, and the token it gives."""

    token: str
    basic: str = ""
    code: str = ""
    paths: list[str] = field(default_factory=list)


def unopened_token() -> str:
    """Make what the client takes for a session: five parts, with the expiry in the first."""
    expires = (datetime.now(UTC) + timedelta(days=7)).replace(tzinfo=None).isoformat()
    header = json.dumps({"alg": "A256KW", "enc": "A256GCM", "exp": expires}).encode()
    encoded = base64.urlsafe_b64encode(header).decode().rstrip("=")
    return f"{encoded}.AAAA.AAAA.AAAA.AAAA"


@contextmanager
def serving(desk: Desk, port: int) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            desk.paths.append(self.path)
            status, answer = self.answer(body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def answer(self, body: bytes) -> tuple[int, dict[str, object]]:
            match self.path:
                case "/api/v1/user/encrypted_token":
                    scheme, _, credentials = self.headers["Authorization"].partition(" ")
                    desk.basic = f"{scheme} {base64.b64decode(credentials).decode()}"
                    return 200, {"token": desk.token, "secondfactor_method": "HOTP"}
                case "/api/v1/user/second_factor":
                    desk.code = json.loads(body)["HOTP"]
                    return 200, {"token": desk.token}
                case _:
                    return 404, {"message": "not here"}

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    with ThreadingHTTPServer((LOOPBACK, port), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def client(stock_client_of: Callable[[str], StockClient]) -> StockClient:
    return stock_client_of("kim")


def test_the_version_is_told_without_a_server(client: StockClient) -> None:
    outcome = client.run("--version")
    assert outcome.exit_code == 0
    assert outcome.stdout == "Data Delivery System, version 2.15.1\n"
    assert "http://127.0.0.1:5000/" in outcome.stderr


def test_help_lists_the_commands(client: StockClient) -> None:
    outcome = client.run("--help")
    assert outcome.exit_code == 0
    for command in ("auth", "data", "ls", "project", "user", "unit", "motd"):
        assert f" {command} " in outcome.stdout


def test_a_command_without_a_session_fails_on_pipes(client: StockClient) -> None:
    outcome = client.run("--no-prompt", "ls")
    assert outcome.exit_code == 1
    assert "Authentication not possible when running with --no-prompt." in outcome.stderr


def test_a_confirmation_is_answered(client: StockClient) -> None:
    outcome = client.run("data", "rm", "--project", "p1", "--rm-all", answers=[NO])
    assert outcome.exit_code == 0
    assert "Are you sure you want to delete all files within project 'p1'? [y/n]" in outcome.output
    assert "Probably for the best. Exiting." in outcome.output
    assert "\x1b" not in outcome.output


def test_a_menu_is_answered_with_keys(client: StockClient) -> None:
    to_cancel = Answer("Which method would you like to use", DOWN + DOWN)
    outcome = client.run("auth", "twofactor", "configure", answers=[to_cancel])
    assert outcome.exit_code == 0
    assert "Two-factor authentication method not configured." in outcome.output


def test_a_login_sends_what_was_typed_and_keeps_the_token(
    client: StockClient, stock_port: int
) -> None:
    desk = Desk(unopened_token())
    with serving(desk, stock_port):
        outcome = client.login("kim", "a password", lambda: "01234567")
    assert outcome.exit_code == 0, outcome.output
    assert "Authentication successful!" in outcome.output
    assert "a password" not in outcome.output
    assert (desk.basic, desk.code) == ("Basic kim:a password", "01234567")
    assert client.token_file.read_text() == desk.token
    assert stat.S_IMODE(client.token_file.stat().st_mode) == 0o600


def test_a_login_that_fails_early_names_what_was_not_asked(client: StockClient) -> None:
    outcome = client.login("kim", "a password", lambda: pytest.fail("asked for a code"))
    assert outcome.exit_code == 1
    assert "The database seems to be down" in outcome.output
    assert outcome.unasked == ("one-time code: ",)


def test_a_client_at_a_prompt_without_an_answer_is_ended(client: StockClient) -> None:
    impatient = replace(client, timeout_seconds=2.0)
    with pytest.raises(ClientHangsError, match="dds auth login did not end in time"):
        impatient.run("auth", "login", answers=[Answer("DDS username", "kim")])
    assert processes_in(client.work) == []


def processes_in(directory: Path) -> list[psutil.Process]:
    return [
        process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(directory)
    ]


def test_each_person_has_a_home_of_their_own(stock_client_of: Callable[[str], StockClient]) -> None:
    assert stock_client_of("kim").token_file != stock_client_of("robin").token_file


@pytest.mark.parametrize(
    ("shown", "read"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;id=1;http://x/\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b[?25la\x1b[2K\x1b[1Ab", "ab"),
        ("one\r\ntwo", "one\ntwo"),
    ],
)
def test_terminal_sequences_are_removed(shown: str, read: str) -> None:
    assert plain(shown) == read
