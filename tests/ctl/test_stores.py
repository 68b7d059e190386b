"""``ddsctl store``: the accounts that units have at stores. Secrets go in, and never come out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from ddsctl.app import app
from ddsd import bootstrap
from ddsd.files import ways
from ddsd.jobs.tables import Job, JobState
from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.builders import a_unit
from tests.ctl.conftest import Ctl

ADDRESS = "http://store.example"
SECRET = "a-secret-of-the-unit"


@pytest.fixture
def unit(plane: AdminPlane) -> str:
    made = plane.work(lambda work: a_unit(work.session, public_id="genomics", internal_ref="G.1"))
    return made.public_id


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "unit.secret"
    path.write_text(f"{SECRET}\n")
    return str(path)


def test_credentials_from_a_file_are_tried_kept_and_listed(
    ctl: Ctl, unit: str, secret_file: str
) -> None:
    words = ("--access-key", "unit-key", "--secret-file", secret_file, "--endpoint", ADDRESS)
    dry = ctl("store", "set-credentials", unit, *words, "--dry-run")
    assert (dry.code, "Dry run" in dry.err) == (0, True)
    assert [one["unit"] for one in json.loads(ctl("store", "ls", "--json").out)] == [""]
    done = ctl("store", "set-credentials", unit, *words, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["access_key"] == "unit-key"
    listed = json.loads(ctl("store", "ls", "--json").out)
    assert [(one["unit"], one["endpoint"], one["answers"]) for one in listed] == [
        ("", "embedded", True),
        (unit, ADDRESS, True),
    ]
    everything = ctl("store", "ls").out + ctl("audit", "ls", "--json").out + done.out + done.err
    assert SECRET not in everything
    assert "that of a unit, answer" in ctl("status").out


def test_a_secret_is_read_from_standard_input(ctl: Ctl, unit: str) -> None:
    words = ["store", "set-credentials", unit, "--access-key", "unit-key", "--endpoint", ADDRESS]
    ended = CliRunner().invoke(app, ["--socket", str(ctl.socket), *words], input=f"{SECRET}\n")
    assert ended.exit_code == 0, ended.stderr
    without = CliRunner().invoke(app, ["--socket", str(ctl.socket), *words], input="")
    assert (without.exit_code, "--secret-file" in without.stderr) == (65, True)


def test_what_is_wrong_is_named_as_it_was_typed(ctl: Ctl, unit: str, secret_file: str) -> None:
    words = ("--access-key", "a b", "--secret-file", secret_file, "--endpoint", "nowhere")
    ended = ctl("store", "set-credentials", unit, *words)
    assert ended.code == 65
    assert "--access-key must be" in ended.err
    assert "--endpoint" in ended.err


def test_the_embedded_store_tells_how_to_leave_it(ctl: Ctl, unit: str, secret_file: str) -> None:
    ended = ctl(
        "store", "set-credentials", unit, "--access-key", "k-e-y", "--secret-file", secret_file
    )
    assert (ended.code, "--endpoint" in ended.err) == (65, True)


def test_the_policy_is_printed_for_programs_and_explained_to_people(ctl: Ctl, unit: str) -> None:
    told = ctl("store", "policy", unit)
    assert json.loads(told.out)["Version"] == "2012-10-17"
    assert "g-1?????-??????????????????-????????" in told.out
    assert "mc admin policy create store ddsd-g-1 policy.json" in told.err
    alone = ctl("store", "policy", unit, "--json")
    assert (alone.out, alone.err) == (told.out, "")


def test_a_unit_is_made_with_its_user_by_an_administrators_key(
    ctl: Ctl, secret_file: str, plane: AdminPlane
) -> None:
    words = ("create", "imaging", "--name", "Imaging", "--contact", "i@example.org")
    made = ctl(
        "unit", *words, "--store-admin-key", "root", "--store-admin-secret-file", secret_file
    )
    assert made.code == 65
    assert "the unit imaging is made, its user at the store is not" in made.err
    assert "ddsctl store set-credentials imaging --admin-key root" in made.err
    again = ctl(
        *("store", "set-credentials", "imaging", "--admin-key", "root"),
        *("--secret-file", secret_file, "--endpoint", ADDRESS),
    )
    assert again.code == 0, again.err
    assert "ddsd-imaging" in again.out


def test_rotating_tells_what_would_come_of_it_and_then_does_it(
    ctl: Ctl, unit: str, secret_file: str, plane: AdminPlane
) -> None:
    words = ("--access-key", "unit-key", "--secret-file", secret_file, "--endpoint", ADDRESS)
    assert ctl("store", "set-credentials", unit, *words).code == 0
    dry = ctl("store", "rotate-keys", "--dry-run", "--json")
    assert [(one["unit"], one["job"]) for one in json.loads(dry.out)] == [("", None), (unit, None)]
    assert json.loads(ctl("jobs", "ls", "--json").out) == []
    asked = ctl("store", "rotate-keys", unit, "--now")
    assert (asked.code, "--yes" in asked.err) == (65, True)
    audited = json.loads(ctl("audit", "ls", "--json").out)
    assert "store.rotate_keys" not in {one["action"] for one in audited}


def run_job(plane: AdminPlane, unit: str, kind: str) -> None:
    """Run a unit's job as the daemon's runner would."""

    async def over(work: Work) -> None:
        for job in await work.session.scalars(select(Job).where(Job.columns().kind == kind)):
            job.state = JobState.DONE

    plane.run(bootstrap.HANDLERS[kind](plane.services, unit))
    plane.work(over)


def test_a_unit_is_moved_and_its_old_copy_forgotten(
    ctl: Ctl, unit: str, secret_file: str, plane: AdminPlane
) -> None:
    words = ("--unit", unit, "--to", ADDRESS, "--access-key", "key", "--secret-file", secret_file)
    dry = ctl("store", "migrate", *words, "--dry-run", "--json")
    assert (json.loads(dry.out)["job"], "Dry run" in dry.err) == (None, True)
    begun = ctl("store", "migrate", *words, "--json")
    assert begun.code == 0, begun.err
    assert f"ddsctl jobs wait {json.loads(begun.out)['job']}" in begun.err
    assert ctl("store", "forget", "--unit", unit, "--yes").code == 65
    run_job(plane, unit, ways.MOVE_UNIT)
    states = {one["unit"]: one["state"] for one in json.loads(ctl("store", "ls", "--json").out)}
    assert states == {"": "current", unit: "former"}
    dry = ctl("store", "forget", "--unit", unit, "--dry-run", "--json")
    assert (json.loads(dry.out)["job"], "embedded" in dry.out) == (None, True)
    asked = ctl("store", "forget", "--unit", unit)
    assert (asked.code, "--yes" in asked.err) == (65, True)
    assert ctl("store", "forget", "--unit", unit, "--yes").code == 0
    run_job(plane, unit, ways.FORGET_FORMER_STORE)
    again = ctl("store", "forget", "--unit", unit, "--yes")
    assert (again.code, "There is no old copy" in again.err) == (65, True)
    audited = {one["action"] for one in json.loads(ctl("audit", "ls", "--json").out)}
    assert audited >= {"store.migrate", "store.migrated", "store.forget", "store.forgotten"}


def test_a_move_is_turned_back_and_what_was_copied_is_left(
    ctl: Ctl, unit: str, secret_file: str, plane: AdminPlane
) -> None:
    words = ("--unit", unit, "--to", ADDRESS, "--access-key", "key", "--secret-file", secret_file)
    assert ctl("store", "migrate", *words).code == 0
    back = ("store", "migrate", "--unit", unit, "--to", "former")
    dry = json.loads(ctl(*back, "--dry-run", "--json").out)
    assert (dry["source"], dry["job"]) == (ADDRESS, None)
    assert json.loads(ctl(*back, "--json").out)["job"] is not None
    run_job(plane, unit, ways.MOVE_UNIT)
    leave = ("store", "forget", "--unit", unit, "--leave-data")
    asked = ctl(*leave)
    assert (asked.code, "leave it there" in asked.err) == (65, True)
    assert ctl(*leave, "--yes").code == 0
    assert [one["unit"] for one in json.loads(ctl("store", "ls", "--json").out)] == [""]
    audited = {one["action"] for one in json.loads(ctl("audit", "ls", "--json").out)}
    assert audited >= {"store.turn_back", "store.leave"}


@pytest.mark.parametrize(
    "words",
    [
        ("--to", ADDRESS),
        ("--to", ADDRESS, "--access-key", "a", "--admin-key", "b"),
        ("--to", "configured", "--access-key", "a"),
    ],
)
def test_a_move_needs_one_key_at_another_store_and_none_at_the_configured(
    ctl: Ctl, unit: str, words: tuple[str, ...]
) -> None:
    ended = ctl("store", "migrate", "--unit", unit, *words)
    assert (ended.code, "--access-key" in ended.err) == (2, True)


def test_a_move_to_where_the_unit_is_already_is_refused(ctl: Ctl, unit: str) -> None:
    ended = ctl("store", "migrate", "--unit", unit, "--to", "configured")
    assert (ended.code, "uses the configured store already" in ended.err) == (65, True)
