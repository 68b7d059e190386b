"""The operator's table of what the daemon says when something is wrong: each row is said, and what is said has a row.

The messages come from the daemon itself, started in a place where that one thing is wrong.
"""

from __future__ import annotations

import re
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from ddsd import bootstrap, daemon
from ddsd.errors import ConfigurationError
from ddsd.listeners import DaemonFailed, admin_listener
from ddsd.settings import load
from tests.daemon.conftest import write_config
from tests.daemon.process import REPOSITORY, Place, free_port
from tests.parts.certificates import Authority

GUIDE: Final = REPOSITORY / "docs" / "operate.md"
HEADING: Final = "## What it says when something is wrong"

HARMLESS: Final = {
    *("run", "admin.sock.lock"),
    *("ddsd.sqlite3", "ddsd.sqlite3-shm", "ddsd.sqlite3-wal"),
    *("store", "objects", "keys.json", "lock"),
}
"""What a start that failed may leave."""


def rows() -> list[str]:
    """Return what is said, row by row, as the guide has it."""
    section = GUIDE.read_text().partition(HEADING)[2].partition("\n## ")[0]
    found = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    assert found
    return [str(one) for one in found]


def says(row: str, message: str) -> bool:
    """Say whether a message is the one of the row, where … stands for anything."""
    return bool(re.search(".*".join(map(re.escape, row.split("…"))), message, re.DOTALL))


def configure(place: Place, section: str, **keys: str) -> None:
    """Give keys of a section other values; they are written as they are."""
    before, heading, rest = place.config.read_text().partition(f"[{section}]\n")
    own, following, after = rest.partition("\n[")
    for key in keys:
        own = re.sub(rf"^{key} = .*\n?", "", own, flags=re.MULTILINE)
    wanted = "".join(f"{key} = {value}\n" for key, value in keys.items())
    heading = heading or f"[{section}]\n"
    place.config.write_text(before + heading + wanted + own + following + after)


def embedded(place: Place, **keys: str) -> None:
    lines = place.config.read_text().splitlines(keepends=True)
    store = ("kind", "endpoint", "access_key", "secret_key_file")
    place.config.write_text("".join(one for one in lines if not one.startswith(store)))
    configure(place, "store", kind='"embedded"', **keys)


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


@contextmanager
def on_the_socket(place: Place) -> Iterator[None]:
    place.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place.socket))
        other.listen()
        yield


def cut_off(place: Place) -> None:
    place.config.write_text("[listen]\nport = 50")


def no_configuration(place: Place) -> None:
    place.config.unlink()


def wrong_kind(place: Place) -> None:
    configure(place, "listen", drain_s='"30s"')


def wrong_key(place: Place) -> None:
    configure(place, "listen", prot="5000")


def not_utf_8(place: Place) -> None:
    place.config.write_bytes(b"# Ume\xe5\n" + place.config.read_bytes())


def no_secret(place: Place) -> None:
    place.key.unlink()


def open_secret(place: Place) -> None:
    place.key.chmod(0o644)


def broken_key(place: Place) -> None:
    place.key.write_text(place.key.read_text()[:20])


def a_file_for_a_directory(place: Place) -> None:
    place.database.parent.rename(place.directory / "elsewhere")
    place.database.parent.touch()


def no_database(place: Place) -> None:
    place.database.unlink()


def damaged_database(place: Place) -> None:
    place.database.write_bytes(place.database.read_bytes()[:8192])


def rubbish_for_a_database(place: Place) -> None:
    place.database.write_text("rubbish " * 1000)


def a_directory_for_a_database(place: Place) -> None:
    place.database.unlink()
    place.database.mkdir()


def another_instances_key(place: Place) -> None:
    with closing(sqlite3.connect(place.database)) as connection, connection:
        connection.execute("INSERT INTO instance_checks (blob) VALUES (zeroblob(90))")


def postgresql(place: Place, url: str) -> None:
    configure(place, "database", url=f'"{url}"')


def nobody_at_postgresql(place: Place) -> None:
    postgresql(place, f"postgresql://ddsd@127.0.0.1:{free_port()}/ddsd")


def nobody_at_its_socket(place: Place) -> None:
    postgresql(place, "postgresql://ddsd@/ddsd?host=/nowhere")


def unknown_host(place: Place) -> None:
    postgresql(place, "postgresql://ddsd@database.invalid/ddsd")


def taken_port(place: Place) -> Iterator[None]:
    with listening(place.port):
        yield


def foreign_address(place: Place) -> None:
    configure(place, "listen", address='"192.0.2.1"', allow_cleartext="true")


def in_the_clear(place: Place) -> None:
    configure(place, "listen", address='"0.0.0.0"')


def no_such_group(place: Place) -> None:
    configure(place, "listen", admin_group='"nobody-calls-a-group-so"')


def another_program(place: Place) -> Iterator[None]:
    with on_the_socket(place):
        yield


def another_daemon(place: Place) -> Iterator[None]:
    listen = load(place.config, {}).listen
    with admin_listener(listen):
        yield


def a_file_for_the_socket(place: Place) -> None:
    place.socket.parent.mkdir()
    place.socket.touch()


def a_file_for_its_directory(place: Place) -> None:
    place.socket.parent.touch()


def a_link_for_its_lock(place: Place) -> None:
    place.socket.parent.mkdir()
    place.socket.with_name("admin.sock.lock").symlink_to("/etc/passwd")


def taken_store_port(place: Place) -> Iterator[None]:
    port = free_port()
    embedded(place, port=str(port))
    with listening(port):
        yield


def a_file_for_the_store(place: Place) -> None:
    embedded(place, directory=f'"{place.config}"')


def another_certificates_key(place: Place) -> None:
    authority = Authority()
    certificate, _ = authority.issue("localhost").write(place.directory, "one")
    _, key = authority.issue("localhost").write(place.directory, "another")
    configure(place, "listen", tls_certificate_file=f'"{certificate}"', tls_key_file=f'"{key}"')


WRONG: Final[dict[str, Callable[[Place], Iterator[None] | None]]] = {
    one.__name__: one
    for one in (
        no_configuration, cut_off, wrong_kind, wrong_key, not_utf_8, no_secret, open_secret, broken_key,
        a_file_for_a_directory, no_database, damaged_database, rubbish_for_a_database, a_directory_for_a_database,
        another_instances_key, nobody_at_postgresql, nobody_at_its_socket, unknown_host, taken_port, foreign_address,
        in_the_clear, no_such_group, another_program, another_daemon, a_file_for_the_socket, a_file_for_its_directory,
        a_link_for_its_lock, taken_store_port, a_file_for_the_store, another_certificates_key,
    )
}  # fmt: skip


def refusal(place: Place) -> str:
    """Start the daemon and return why it does not."""
    try:
        daemon.run(bootstrap.build(load(place.config, {})))
    except (ConfigurationError, DaemonFailed) as wrong:
        return str(wrong)
    raise AssertionError("it started")


@pytest.mark.parametrize("wrong", WRONG)
def test_what_stops_a_start_is_said_in_one_of_the_rows_and_leaves_nothing_behind(
    place: Place, wrong: str
) -> None:
    with made_wrong(place, WRONG[wrong]):
        kept = set(place.directory.rglob("*"))
        message = refusal(place)
        assert [row for row in rows() if says(row, message)] != [], message
        left = set(place.directory.rglob("*")) - kept
        assert {one.name for one in left} <= HARMLESS


def test_every_row_is_said(furnished: Path, tmp_path: Path) -> None:
    said = [refused_for(WRONG[one], furnished, tmp_path / one) for one in WRONG]
    unsaid = [row for row in rows() if not any(says(row, one) for one in said)]
    assert unsaid == []


def refused_for(
    how: Callable[[Place], Iterator[None] | None], furnished: Path, directory: Path
) -> str:
    place = Place(directory)
    shutil.copytree(furnished, directory)
    write_config(place)
    with made_wrong(place, how):
        return refusal(place)


@contextmanager
def made_wrong(place: Place, how: Callable[[Place], Iterator[None] | None]) -> Iterator[None]:
    done = how(place)
    if done is None:
        yield
    else:
        with contextmanager(lambda: done)():
            yield
