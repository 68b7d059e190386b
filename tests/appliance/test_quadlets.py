"""The files in config/quadlet as podman's generator understands them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.appliance import quadlets

ALL = pytest.mark.parametrize(
    "places", [quadlets.ALONE, quadlets.WITH_PARTS], ids=["alone", "with parts"]
)


@ALL
def test_the_generator_finds_nothing_wrong(places: Sequence[Path]) -> None:
    units, complaints = quadlets.generated(places)
    assert complaints == ""
    made = {re.sub(r"\.(volume|network)$", r"-\1", name.removesuffix(".container"))
            for place in places for name in _sources(place)}  # fmt: skip
    assert set(units) == made


@ALL
def test_every_port_is_published_on_loopback_alone_and_once(places: Sequence[Path]) -> None:
    published = [
        words[at + 1]
        for words in quadlets.commands(places).values()
        for at, word in enumerate(words)
        if word == "--publish"
    ]
    assert sorted(published) == ["127.0.0.1:5000:5000", "127.0.0.1:9000:9000"]


@ALL
def test_the_daemon_and_its_migration_are_hardened_alike(places: Sequence[Path]) -> None:
    for service in ("ddsd", "ddsd-migrate"):
        words = quadlets.commands(places)[service]
        assert {"--read-only", "--read-only-tmpfs", "--security-opt=no-new-privileges"} <= {*words}
        assert words[words.index("--cap-drop") + 1] == "all"
        assert [word for word in words if word.startswith("ddsd-instance-key,")] == [
            "ddsd-instance-key,type=mount,target=/run/credentials/instance-key,uid=10001,gid=10001,mode=0400"
        ]


def test_the_daemon_starts_after_its_database_answers_and_is_not_stopped_with_it() -> None:
    units, _ = quadlets.generated(quadlets.WITH_PARTS)
    for service in ("ddsd", "ddsd-migrate"):
        assert re.search(r"^After=ddsd-postgresql\.service", units[service], re.MULTILINE)
    assert "--sdnotify=healthy" in units["ddsd-postgresql"]
    assert not re.search(
        r"^(Requires|BindsTo)=.*ddsd-(postgresql|minio)\.", units["ddsd"], re.MULTILINE
    )
    assert "Requires=ddsd-postgresql.service" in units["ddsd-migrate"]


def test_systemd_hears_from_the_daemon_and_leaves_a_wrong_configuration_alone() -> None:
    units, _ = quadlets.generated(quadlets.ALONE)
    for line in ("Type=notify", "RestartPreventExitStatus=78", "Restart=on-failure"):
        assert line in units["ddsd"].splitlines()
    assert "--sdnotify=container" in units["ddsd"]
    watchdog = re.search(r"^WatchdogSec=(\d+)s$", units["ddsd"], re.MULTILINE)
    assert watchdog is not None
    assert f"--env WATCHDOG_USEC={watchdog[1]}000000 " in units["ddsd"]
    assert '--health-cmd "[\\"ddsctl\\", \\"status\\", \\"--json\\"]"' in units["ddsd"]


def _sources(place: Path) -> list[str]:
    return [path.name for path in place.iterdir() if path.is_file() and path.suffix != ".env"]
