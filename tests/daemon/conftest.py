"""Places for daemons: migrated once, copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.process import Daemon, Place

CONFIG = """\
[instance]
state_dir = "{directory}/state"
key_file = "{directory}/instance.key"
[listen]
port = {port}
admin_socket = "{directory}/run/admin.sock"
drain_s = 10
[store]
kind = "s3"
endpoint = "http://127.0.0.1:9"
access_key = "nobody-answers-there"
secret_key_file = "{directory}/store.secret"
[log]
format = "json"
"""


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with everything, to be copied."""
    place = Place(tmp_path_factory.mktemp("ddsd"))
    write_config(place)
    made = place.run("new-instance-key", str(place.key), config=False)
    assert made.returncode == 0, made.stderr
    store_secret = place.directory / "store.secret"
    store_secret.write_text("a-secret-nobody-uses")
    store_secret.chmod(0o600)
    migrated = place.run("migrate")
    assert migrated.returncode == 0, migrated.stderr
    return place.directory


def write_config(place: Place) -> None:
    place.config.write_text(CONFIG.format(directory=place.directory, port=place.port))


@pytest.fixture
def place(furnished: Path, tmp_path: Path) -> Place:
    place = Place(tmp_path / "ddsd")
    shutil.copytree(furnished, place.directory)
    write_config(place)
    return place


@pytest.fixture
def start(place: Place) -> Iterator[Callable[..., Daemon]]:
    """Start daemons in the test's place; whatever is left of them is killed at the end."""
    started: list[Daemon] = []

    def begin(module: str = "ddsd", **environment: str) -> Daemon:
        started.append(place.start(module, **environment))
        return started[-1]

    yield begin
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.process.kill()
        daemon.process.wait()
