"""The one screen about a project; and what a unit has set for its projects."""

from __future__ import annotations

from sqlalchemy import select

from ddsctl.failures import ExitCode
from ddsd.access import Role
from ddsd.audit import trail
from ddsd.keys.tables import KeyWrap
from ddsd.mail import outbox
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.users.tables import User
from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.builders import a_unit, a_user
from tests.ctl.conftest import Ctl
from tests.lifecycle.life import a_life

LONG = "somebody-with-a-very-long-name-" * 2


async def project(work: Work) -> str:
    """Make a project that nobody can open, of a unit with more people than fit."""
    unit = await a_unit(work.session, public_id="imaging", internal_ref="imaging")
    made = await a_life(work, Status.AVAILABLE, unit, title="Ferns\x1b[2J")
    for number in range(20):
        await a_user(
            work.session,
            username=f"p{number:02}",
            role=Role.UNIT_PERSONNEL,
            unit_id=unit.id,
            public_key=b"k" * 32,
        )
    await outbox.write(
        work,
        "project_archived",
        f"{LONG}@example.org",
        title="",
        public_id=made.public_id,
        until="",
    )
    trail.record(work, "project.release", made.public_id)
    return made.public_id


def test_everything_is_on_one_screen(ctl: Ctl, plane: AdminPlane) -> None:
    public_id = plane.work(project)
    ended = ctl("project", "show", public_id)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    for title in ("People", "History", "Letters", "Audit log", "What to do next"):
        assert title in lines
    assert max(map(len, lines)) <= 80
    assert "\x1b[2J" not in ended.out
    assert "  and 5 more: --json" in lines
    assert "  - nobody can open it" in lines


async def let_one_open(work: Work) -> None:
    one = (await work.session.scalars(select(Project))).one()
    people = await work.session.scalars(select(User).order_by(User.columns().username))
    somebody = people.first()
    assert somebody is not None
    work.session.add(
        KeyWrap(project_id=one.id, user_id=somebody.id, blob=b"w", created_at=work.now)
    )


def test_advice_that_repeats_itself_is_cut(ctl: Ctl, plane: AdminPlane) -> None:
    public_id = plane.work(project)
    plane.work(let_one_open)
    lines = ctl("project", "show", public_id).out.splitlines()
    advice = lines[lines.index("What to do next") + 1 :]
    assert advice[0] == "  - only p00 can open it"
    assert len([line for line in advice if line.startswith("  - ")]) == 8
    assert advice[-1] == "  and 13 more: --json"
    assert max(map(len, lines)) <= 80


def test_json_has_all_of_it(ctl: Ctl, plane: AdminPlane) -> None:
    public_id = plane.work(project)
    told = ctl("project", "show", public_id, "--json").json
    assert isinstance(told, dict)
    assert told["project"]["public_id"] == public_id
    assert {one["opens"] for one in told["people"]} == {"lost"}
    assert [len(told[what]) for what in ("people", "history", "letters", "audit")] == [20, 1, 1, 1]
    assert told["advice"][0]["what"] == "nobody can open it"


def test_what_is_not_there_is_refused(ctl: Ctl, plane: AdminPlane) -> None:
    refused = ctl("project", "show", "no-such-project")
    assert refused.code == ExitCode.REFUSED_INPUT
    assert "There is no project 'no-such-project'" in refused.err


def test_a_unit_is_shown_with_its_undo_window_and_reminders(ctl: Ctl, plane: AdminPlane) -> None:
    plane.work(project)
    shown = ctl("unit", "show", "imaging", "--json").json
    assert isinstance(shown, dict)
    assert (shown["undo_days"], shown["reminder_days"]) == (7, [14, 7, 1])
    ctl("lifecycle", "configure", "imaging", "--undo-days", "3")
    assert ctl("reminders", "set", "imaging", "--days", "9").code == 0
    lines = ctl("unit", "show", "imaging").out.splitlines()
    assert {"undo days           3", "reminder days       9"} <= set(lines)
