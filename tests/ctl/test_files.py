"""ddsctl files: what an operator sees of lost files, and what they can do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ddsd.files import reconciliation
from ddsd.jobs import queue
from ddsd.jobs.schedule import EVERYTHING
from tests.admin.serving import AdminPlane
from tests.ctl.conftest import Ctl
from tests.files.delivered import Delivery, a_delivery, key_of, keys_in, names_in

NOBODYS = "unit00001-260302120000000000-0123abcd"
ENTRY = {
    "subpath": ".",
    "size_raw": 100,
    "compressed": False,
    "size_processed": 5,
    "overwrite": False,
    "checksum": "c" * 64,
    "public_key": "B" * 64,
    "salt": "A" * 32,
    "status": {"failed_op": "add_file_db"},
}


@pytest.fixture
def delivery(plane: AdminPlane) -> Delivery:
    """A project with a lost file, compared."""
    made = plane.run(a_delivery(plane.services, ["a", "lost"]))
    plane.store.buckets[made.project.bucket].pop(key_of("lost"))
    compare(plane)
    return made


def compare(plane: AdminPlane) -> None:
    plane.run(reconciliation.compare_store(plane.services, EVERYTHING))


def test_findings_are_listed_and_left_overs_removed_after_a_yes(
    plane: AdminPlane, ctl: Ctl, delivery: Delivery
) -> None:
    listed = ctl("files", "lost", "ls")
    assert "file-without-object" in listed.out
    assert key_of("lost") in listed.out
    public_id = delivery.project.public_id
    told: Any = ctl("files", "lost", "ls", "--project", public_id, "--json").json
    assert [(one["project"], one["file"], one["bytes_registered"]) for one in told] == [
        (public_id, "lost", 12)
    ]
    assert ctl("files", "lost", "ls", "--kind", "wrong-size", "--json").json == []
    assert ctl("files", "lost", "ls", "--project", "nowhere").code == 65
    would = ctl("files", "lost", "delete", "--dry-run", "--json").json
    assert would == told
    assert "say so with --yes" in ctl("files", "lost", "delete").err
    done: Any = ctl("files", "lost", "delete", "--yes", "--json").json
    assert (done["removed"], done["stayed"]) == (1, 0)
    assert plane.run(names_in(plane.services, delivery)) == ["a"]
    assert ctl("files", "lost", "ls").err == "Store and database agree.\n"


def test_missing_buckets_are_made(plane: AdminPlane, ctl: Ctl, delivery: Delivery) -> None:
    plane.store.buckets.clear()
    would = ctl("files", "lost", "add", "--dry-run")
    assert f"would be made for  {delivery.project.public_id}" in would.out
    assert plane.store.buckets == {}
    made: Any = ctl("files", "lost", "add", "--json").json
    assert made == {"projects": [delivery.project.public_id]}
    assert list(plane.store.buckets) == [delivery.project.bucket]


def test_a_bucket_of_nobody_is_removed_by_its_name(
    plane: AdminPlane, ctl: Ctl, delivery: Delivery
) -> None:
    plane.run(plane.services.store.ensure_bucket(NOBODYS))
    plane.run(plane.services.store.put(NOBODYS, "k", b"1"))
    compare(plane)
    assert NOBODYS in ctl("files", "lost", "delete", "--bucket", NOBODYS, "--dry-run").out
    assert NOBODYS not in ctl("files", "lost", "delete", "--dry-run").out
    done: Any = ctl("files", "lost", "delete", "--bucket", NOBODYS, "--yes", "--json").json
    assert done["removed"] == 1
    assert NOBODYS not in plane.store.buckets
    kept = ctl("files", "lost", "delete", "--bucket", delivery.project.bucket, "--yes")
    assert (kept.code, "A project has the bucket" in kept.err) == (65, True)
    both = ctl("files", "lost", "delete", "--bucket", NOBODYS, "--project", "p")
    assert both.code == 2


def test_a_log_of_the_stock_client_is_imported(
    plane: AdminPlane, ctl: Ctl, delivery: Delivery, tmp_path: Path
) -> None:
    log = tmp_path / "dds_failed_delivery.json"
    names = [f"new{number}" for number in range(450)]
    for name in names[1:]:
        plane.run(plane.services.store.put(delivery.project.bucket, f"remote/{name}", b"12345"))
    log.write_text(json.dumps({name: ENTRY | {"path_remote": f"remote/{name}"} for name in names}))
    command = ("files", "import-log", str(log), "--project", delivery.project.public_id)
    would = ctl(*command, "--dry-run")
    assert (would.code, "new0: File not found in S3" in would.out) == (1, True)
    assert plane.run(names_in(plane.services, delivery)) == ["a", "lost"]
    told: Any = ctl(*command, "--json").json
    assert (told["added"], list(told["refused"])) == (names[1:], ["new0"])
    assert len(plane.run(names_in(plane.services, delivery))) == 451
    assert len(plane.run(keys_in(plane.services, delivery))) == 450
    log.write_text("[]")
    assert ctl(*command).code == 65
    log.write_text("{")
    assert ctl(*command).code == 65


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", id="nested too deep to be read"
        ),
        pytest.param('{"a": ' + "[" * 400 + "]" * 400 + "}", id="nested too deep to be sent"),
        pytest.param('{"a": ' + "9" * 5000 + "}", id="a number of 5000 digits"),
        pytest.param('{"a": {"size_raw": 1e999}}', id="infinity"),
        pytest.param('{"a": {"size_raw": NaN}}', id="no number"),
        pytest.param('{"\\ud800": {}}', id="half a character in a name"),
        pytest.param('{"a": {"path_remote": "\\udfff"}}', id="half a character in a value"),
        pytest.param('{"../../etc/x": {}, "a\\u0000b": {}, "\\u001b[2J": 5}', id="odd names"),
    ],
)
def test_a_log_made_to_do_harm_is_refused_in_words(
    ctl: Ctl, delivery: Delivery, tmp_path: Path, text: str
) -> None:
    log = tmp_path / "dds_failed_delivery.json"
    log.write_text(text)
    ended = ctl("files", "import-log", str(log), "--project", delivery.project.public_id)
    assert ended.code in (1, 65), (ended.code, ended.err)
    assert "\x1b" not in ended.out + ended.err
    assert "nternal" not in ended.err


def test_a_comparison_that_runs_already_is_not_begun_twice(plane: AdminPlane, ctl: Ctl) -> None:
    plane.work(lambda work: queue.enqueue(work, reconciliation.COMPARE_STORE, EVERYTHING))
    ended = ctl("files", "lost", "ls", "--compare")
    assert (ended.code, "being done already" in ended.err) == (65, True)


def test_nothing_to_do_is_said_in_words(ctl: Ctl, delivery: Delivery, tmp_path: Path) -> None:
    log = tmp_path / "empty.json"
    log.write_text("{}")
    refused = ctl("files", "import-log", str(log), "--project", delivery.project.public_id)
    assert (refused.code, "names no files" in refused.err) == (65, True)
    assert ctl("files", "lost", "add", "--dry-run").err == "No bucket is missing.\n"
