"""The commands beside ``serve``: what they print, what they leave, and how they exit."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ddsd import __version__
from ddsd.keys.instance import InstanceKey
from ddsd.secret import SecretText
from tests.daemon.process import Place


def test_the_version_is_told(place: Place) -> None:
    assert place.run("--version", config=False).stdout == f"ddsd {__version__}\n"


def test_help_tells_the_usual_configuration_file_and_the_exit_codes(place: Place) -> None:
    assert "78" in place.run("-h", config=False).stdout
    assert "/etc/ddsd/ddsd.toml" in place.run("serve", "-h", config=False).stdout


def test_wrong_usage_exits_2(place: Place) -> None:
    assert place.run("dance", config=False).returncode == 2


def test_a_new_instance_key_is_the_owners_only_and_good(place: Place) -> None:
    assert stat.S_IMODE(place.key.stat().st_mode) == 0o600
    key = InstanceKey.from_text(SecretText(place.key.read_text()))
    assert key.open(key.seal(b"x", "test"), "test").reveal() == b"x"


def test_an_instance_key_is_never_written_over(place: Place) -> None:
    before = place.key.read_bytes()
    refused = place.run("new-instance-key", str(place.key), config=False)
    assert refused.returncode == 78
    assert "exists already" in refused.stderr
    assert place.key.read_bytes() == before


def test_two_instance_keys_differ_and_are_not_printed(place: Place, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    made = place.run("new-instance-key", str(other), config=False)
    assert made.returncode == 0
    assert other.read_text() != place.key.read_text()
    assert other.read_text().strip() not in made.stdout + made.stderr


def test_an_instance_key_is_printed_alone_where_that_is_asked_for(place: Place) -> None:
    made = place.run("new-instance-key", "-", config=False)
    assert made.returncode == 0, made.stderr
    key = InstanceKey.from_text(SecretText(made.stdout.removesuffix("\n")))
    assert key.open(key.seal(b"x", "test"), "test").reveal() == b"x"


def test_an_instance_key_without_a_directory_is_refused(place: Place, tmp_path: Path) -> None:
    refused = place.run("new-instance-key", str(tmp_path / "no" / "key"), config=False)
    assert refused.returncode == 78
    assert "cannot be written" in refused.stderr


def test_migrate_tells_from_and_to(place: Place) -> None:
    place.database.unlink()
    first = place.run("migrate")
    assert first.returncode == 0
    assert f"{place.database}: empty → " in first.stdout
    revision = first.stdout.split()[-1]
    assert f"{place.database}: {revision} → {revision}\n" in place.run("migrate").stdout


def test_migrate_without_a_readable_place_is_refused(place: Place) -> None:
    refused = place.run("migrate", DDSD_INSTANCE__STATE_DIR=str(place.config))
    assert refused.returncode == 78
    assert "Traceback" not in refused.stderr


def test_the_configuration_is_shown_with_what_was_set(place: Place) -> None:
    shown = place.run("check-config")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == f"# read: {place.config}"
    assert f"listen.port = {place.port}  # set" in lines
    assert "database.pool_size = 10" in lines
    assert place.key.read_text().strip() not in shown.stdout


def test_the_configuration_is_shown_as_json(place: Place) -> None:
    shown = place.run("check-config", "--json", DDSD_LOG__LEVEL="error")
    tree = json.loads(shown.stdout)
    assert tree["listen"]["port"] == place.port
    assert tree["log"]["level"] == "error"


def test_every_problem_of_the_configuration_is_named(place: Place) -> None:
    refused = place.run("check-config", DDSD_LISTEN__PORT="high", DDSD_LOG__COLOUR="red")
    assert refused.returncode == 1
    assert "DDSD_LISTEN__PORT: listen.port" in refused.stderr
    assert "DDSD_LOG__COLOUR: unknown key log.colour" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_the_machine_lacks_is_a_problem_of_the_configuration(place: Place) -> None:
    refused = place.run(
        "check-config",
        DDSD_INSTANCE__STATE_DIR="/proc/nowhere",
        DDSD_LISTEN__ADMIN_GROUP="no-such-group",
    )
    assert refused.returncode == 1
    assert "DDSD_INSTANCE__STATE_DIR, DDSD_LISTEN__ADMIN_GROUP" in refused.stdout.splitlines()[0]
    assert "instance.state_dir: /proc may not be written to by " in refused.stderr
    assert "groupadd --system no-such-group" in refused.stderr


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_without_any_configuration_nothing_is_made(place: Place, command: str) -> None:
    refused = place.run(command, config=False)
    assert refused.returncode == 78
    assert "--config" in refused.stderr


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_is_none_is_named_in_the_drivers_words(place: Place, command: str) -> None:
    place.database.write_text("rubbish " * 1000)
    refused = place.run(command)
    assert refused.returncode == 1
    said = refused.stderr.splitlines()[-1]
    assert said == (
        f"ddsd: the database sqlite:///{place.database} cannot be used: file is not a database."
        " The file is damaged or something else: keep a copy of it, and restore the database from a backup."
    )
    assert "sqlalche.me" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_absent_database_of_postgresql_is_named(place: Place, postgres_url: str) -> None:
    absent = urlsplit(postgres_url)._replace(path="/absent").geturl()
    refused = place.run("migrate", DDSD_DATABASE__URL=absent)
    assert refused.returncode == 1
    assert "does not exist. Make it on the server, createdb" in refused.stderr
    assert "sqlalche.me" not in refused.stderr


@pytest.mark.parametrize("text", ["0" * 64, "short"])
def test_a_bad_instance_key_is_a_problem_of_the_configuration(place: Place, text: str) -> None:
    place.key.write_text(text)
    refused = place.run("check-config")
    assert refused.returncode == 1
    assert "instance.key_file: " in refused.stderr


def test_check_config_makes_nothing(place: Place, tmp_path: Path) -> None:
    untouched = tmp_path / "untouched"
    shown = place.run(
        "check-config", DDSD_INSTANCE__STATE_DIR=str(untouched), DDSD_INSTANCE__DEMO="true"
    )
    assert shown.returncode == 0
    assert not untouched.exists()


def test_serve_exits_78_when_the_configuration_does_not_fit(place: Place) -> None:
    place.config.write_text("[listen]\nprot = 1\n")
    refused = place.run("serve")
    assert refused.returncode == 78
    assert refused.stderr == f"ddsd: {place.config}: unknown key listen.prot\n"
