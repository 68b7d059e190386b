"""A daemon checks its store, as an operator asks for it with ddsctl; also when it is killed in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.daemon.process import Daemon, Place, wait_until

Start = Callable[..., Daemon]
EMBEDDED = {
    "DDSD_STORE__KIND": "embedded",
    "DDSD_STORE__ENDPOINT": "",
    "DDSD_LOG__LEVEL": "debug",
}


def buckets(place: Place) -> set[str]:
    objects = place.directory / "state" / "store" / "objects"
    return {one.name for one in objects.iterdir()} if objects.exists() else set()


def ctl(daemon: Daemon, *words: str) -> tuple[int, Any]:
    command = [sys.executable, "-m", "ddsctl", "--socket", str(daemon.place.socket), *words]
    done = subprocess.run(
        [*command, "--json"], capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_killed_check_is_done_again_and_what_it_left_is_removed(place: Place, start: Start) -> None:
    first = start(**EMBEDDED).ready()
    with first.admin() as admin:
        job = admin.post("/1/store/checks", json={}).json()["id"]
        wait_until(lambda: bool(buckets(place)), "a scratch bucket")
    first.process.kill()
    first.process.wait()
    left = buckets(place)
    assert left
    second = start(**EMBEDDED).ready(times=2)
    code, told = ctl(second, "jobs", "wait", str(job))
    assert (code, told["state"], told["attempts"]) == (0, "done", 2)
    assert buckets(place) == set()
    code, told = ctl(second, "store", "check", "--last")
    odd = {one["name"]: one["verdict"] for one in told if one["verdict"] != "passed"}
    assert (code, odd) == (0, {"transport": "not tried"})
    assert "X-Amz-Signature" not in second.log


def test_store_that_is_away_is_told_with_the_settings_to_look_at(start: Start) -> None:
    code, told = ctl(start().ready(), "store", "check")
    assert (code, [one["verdict"] for one in told]) == (2, ["failed"])
    assert "http://127.0.0.1:9" in told[0]["seen"]
    assert "store.endpoint" in told[0]["remedy"]
