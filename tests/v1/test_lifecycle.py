"""Archive, abort, delete, extend, describe and busy over the stock wire: the texts are the contract's, section 6."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.jobs.tables import Job, JobState
from ddsd.lifecycle import endings
from ddsd.projects.tables import Project
from ddsd.work import reading, transaction
from tests.lifecycle.life import run_jobs
from tests.v1.people import mails
from tests.world import World


@pytest.fixture(params=["sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """One database: what is looked at here is the wire. The rules are tested on both in ``tests/lifecycle``."""
    return str(request.param)


Answer = tuple[int, Any]
SOON = (
    "The status of project {} is being updated to {}. "
    "The DDS is handling this in the background.  It may take some time to complete.."
)
BUSY = (
    "The {what} for the project '{project}' is already in the process of being changed. Please try again later. "
    "\n\nIf you know "
)


async def enter(world: World, project: str, new: Any, **more: Any) -> Answer:
    answer = await world.call(
        "POST",
        f"/proj/status?project={project}",
        more.pop("who", "admin1"),
        json={"new_status": new} | more,
    )
    return answer.status_code, answer.json()["message"]


async def extend(world: World, project: str, body: Any, who: str = "admin1") -> Answer:
    answer = await world.call("PATCH", f"/proj/status?project={project}", who, json=body)
    return answer.status_code, answer.json()


async def extend_by(world: World, project: str, days: Any) -> Answer:
    body = {"send_email": False, "confirmed": True, "new_deadline_in": days}
    status, answer = await extend(world, project, body)
    return status, answer["message"]


async def shown(world: World, project: str, path: str = "/proj/status") -> dict[str, Any]:
    answer = await world.call("GET", f"{path}?project={project}", "admin1", json={"history": True})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def times_expired(world: World, times: int) -> None:
    async with transaction(world.services, System()) as work:
        await work.session.execute(update(Project).values(times_expired=times))


class TestEnds:
    """The slow ones answer at once; what comes of them comes later."""

    @pytest.mark.parametrize(
        ("new", "aborted", "told"),
        [("Archived", False, False), ("Archived", True, True), ("Deleted", False, True)],
    )
    async def test_answer_at_once_and_happen_later(
        self, world: World, new: str, aborted: bool, told: bool
    ) -> None:
        project = await world.project("admin1", "researcher1")
        await world.add_file(project, "a.txt")
        extra = {"is_aborted": True} if aborted else {}
        assert await enter(world, project, new, **extra) == (200, SOON.format(project, new))
        assert (await shown(world, project))["current_status"] == "In Progress"
        await run_jobs(world.services)
        after = await shown(world, project)
        assert after["current_status"] == new
        assert [status for status, _ in after["history"]] == [new, "In Progress"]
        assert "current_deadline" not in after
        info = (await shown(world, project, "/proj/info"))["project_info"]
        described = (info["Title"], info["Description"], info["PI"], info["Size"])
        forgotten = (None, None, None, 0)
        assert described == (forgotten if told else ("A title", "What it is", "pi@example.org", 0))
        assert info["Last updated"].endswith(" GMT")

    async def test_are_listed_only_when_all_are_asked_for(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Deleted")
        await run_jobs(world.services)
        for show_all, expected in ((False, []), (True, [project])):
            listed = await world.call("GET", "/proj/list", "admin1", json={"show_all": show_all})
            assert [one["Project ID"] for one in listed.json()["project_info"]] == expected
        listed = await world.call("GET", "/proj/list", "admin1", json={"show_all": True})
        assert listed.json()["project_info"][0]["Last updated"].endswith(" GMT")

    @pytest.mark.parametrize(("new", "verb"), [("Archived", "archive"), ("Deleted", "delete")])
    async def test_are_refused_after_a_release_unless_aborted(
        self, world: World, new: str, verb: str
    ) -> None:
        project = await world.project()
        await enter(world, project, "Available")
        await enter(world, project, "In Progress")
        refusal = (
            f"You cannot {verb} a project that has been made available previously. "
            "Please abort the project if you wish to proceed."
        )
        assert await enter(world, project, new) == (400, refusal)
        answer = await enter(world, project, "Archived", is_aborted=True)
        assert answer == (200, SOON.format(project, "Archived"))

    async def test_keep_the_project_busy_meanwhile(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Archived")
        for new in ("Available", "In Progress", "Archived", "Deleted", "Banana", ""):
            status, message = await enter(world, project, new)
            assert status == 400
            assert message.startswith(BUSY.format(what="status", project=project))
            assert message.endswith("the project is not busy, contact support.")
        status, message = await extend_by(world, project, 5)
        assert status == 400
        assert message.startswith(BUSY.format(what="deadline", project=project))
        assert message.endswith("that the project is not busy, contact support.")

    async def test_let_nobody_upload_meanwhile(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Archived")
        answer = await world.call("GET", f"/s3/proj?project={project}", "admin1")
        assert (answer.status_code, answer.json()["message"]) == (
            400,
            "Project not in right status to upload/modify files.",
        )

    async def test_of_two_at_once_one_wins_and_the_other_is_told(self, world: World) -> None:
        project = await world.project()
        await world.token_of("staff1")
        answers = await asyncio.gather(
            enter(world, project, "Archived"), enter(world, project, "Deleted", who="staff1")
        )
        assert sorted(status for status, _ in answers) == [200, 400]
        assert max(answers)[1].startswith(BUSY.format(what="status", project=project))
        async with reading(world.services, System()) as work:
            jobs = (await work.session.execute(select(Job))).scalars().all()
        assert [job.kind for job in jobs] == [endings.END_PROJECT]

    async def test_name_who_asked_in_the_audit_log(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Archived", who="staff1")
        await run_jobs(world.services)
        table = AuditEntry.columns()
        async with reading(world.services, System()) as work:
            found = await work.session.execute(
                select(table.actor, table.action)
                .where(table.subject == project)
                .order_by(table.id.desc())
                .limit(2)
            )
            lines = [tuple(row) for row in found]
        assert lines == [("system", "project.end"), ("user staff1", "project.archive")]


class TestExtend:
    """A later deadline, in two steps."""

    async def test_asks_for_confirmation_first(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Available", deadline=10)
        status, told = await extend(world, project, {"send_email": False})
        assert status == 200
        assert set(told) == {"project_info", "project_status", "warning", "default_unit_days"}
        assert told["warning"] == "Operation must be confirmed before proceding."
        assert told["default_unit_days"] == 90
        assert told["project_info"]["Project ID"] == project
        assert told["project_status"] == {
            "current_status": "Available",
            "current_deadline": "Thu, 12 Mar 2026 23:59:59 GMT",
        }

    async def test_adds_days_to_those_left(self, world: World) -> None:
        project = await world.project("admin1", "researcher1")
        await enter(world, project, "Available", deadline=10, send_email=False)
        world.clock.advance(days=3)
        assert await extend_by(world, project, 5) == (
            200,
            f"The project '{project}' has been given a new deadline. "
            "An e-mail notification has not been sent.",
        )
        after = await shown(world, project)
        assert after["current_deadline"] == "Tue, 17 Mar 2026 23:59:59 GMT"
        statuses = [status for status, _ in after["history"]]
        assert statuses == ["Available", "Expired", "Available", "In Progress"]
        assert await mails(world, "researcher1", "project_released") == []

    async def test_is_refused_the_third_time_before_anything_else(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Available", deadline=10)
        for _ in range(2):
            assert (await extend_by(world, project, 5))[0] == 200
        refusal = "Project availability limit: The maximum number of changes in data availability has been reached."
        for body in ({"send_email": False}, {"confirmed": "x"}, {"confirmed": True}):
            assert await extend(world, project, body) == (400, {"message": refusal})

    @pytest.mark.parametrize("confirmed", ["true", 1, None, []])
    async def test_takes_a_boolean_only(self, world: World, confirmed: Any) -> None:
        project = await world.project()
        assert await extend(world, project, {"confirmed": confirmed}) == (
            400,
            {"message": "`confirmed` is a boolean value: True or False."},
        )

    async def test_without_days_does_nothing_and_leaves_nobody_busy(self, world: World) -> None:
        project = await world.project()
        for _ in range(2):
            answer = await extend(world, project, {"confirmed": True})
            assert answer == (200, {"message": "Nothing to update."})

    async def test_needs_an_available_project(self, world: World) -> None:
        project = await world.project()
        refusal = "You can only extend the deadline for a project that has the status 'Available'."
        assert await extend_by(world, project, 5) == (400, refusal)
        assert (await extend(world, project, {"confirmed": False}))[0] == 200

    @pytest.mark.parametrize(
        ("days", "message"),
        [
            ("5", "The deadline attribute passed should be of type Int (i.e a number)."),
            (0, "The deadline needs to be a positive integer."),
            (
                91,
                "You requested the deadline to be extended 91 days. The number of days has to be lower "
                "than the default deadline extension number of 90 days",
            ),
            (
                85,
                "You requested the deadline to be extended with 85 days (from 10), giving a new total "
                "deadline of 95 days. The new deadline needs to be less than (or equal to) 90 days.",
            ),
        ],
    )
    async def test_refuses_what_the_contract_refuses(
        self, world: World, days: Any, message: str
    ) -> None:
        project = await world.project()
        await enter(world, project, "Available", deadline=10)
        assert await extend_by(world, project, days) == (400, message)

    async def test_of_three_at_once_two_count(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Available", deadline=10)
        answers = await asyncio.gather(*(extend_by(world, project, 5) for _ in range(3)))
        assert sorted(status for status, _ in answers) == [200, 200, 400]

    async def test_of_nothing_is_missing_data(self, world: World) -> None:
        project = await world.project()
        message = {"message": "Required data missing from request!"}
        assert await extend(world, project, {}) == (400, message)


class TestDescribe:
    """Another title, description, principal investigator."""

    async def change(self, world: World, project: str, body: Any, who: str = "admin1") -> Answer:
        answer = await world.call("PUT", f"/proj/info?project={project}", who, json=body)
        return answer.status_code, answer.json()

    @pytest.mark.parametrize("who", ["admin1", "staff1", "researcher1"])
    async def test_is_told_back(self, world: World, who: str) -> None:
        project = await world.project("admin1", "researcher1")
        world.clock.advance(days=1)
        wanted = {"title": "New title", "pi": "other@example.org"}
        assert await self.change(world, project, wanted | {"description": ""}, who) == (
            200,
            {
                "message": f"{project} info was successfully updated.",
                "title": "New title",
                "description": "What it is",
                "pi": "other@example.org",
            },
        )
        info = (await shown(world, project, "/proj/info"))["project_info"]
        assert (info["Title"], info["Last updated"]) == (
            "New title",
            "Tue, 03 Mar 2026 12:00:00 GMT",
        )

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (
                {"title": "Bad! title"},
                "[\"The character '!' within '[italic]Bad! title[/italic]' is not allowed.\"]",
            ),
            ({"description": "x 😀"}, "['This input is not allowed: 😀']"),
            ({"pi": "nobody"}, "The PI email is invalid"),
            ({"title": 5}, "['Not a valid string.']"),
            ({}, "Required data missing from request!"),
        ],
    )
    async def test_refuses_in_the_stock_systems_spelling(
        self, world: World, body: Any, message: str
    ) -> None:
        project = await world.project()
        assert await self.change(world, project, body) == (400, {"message": message})
        assert (await shown(world, project, "/proj/info"))["project_info"]["Title"] == "A title"

    async def test_not_of_a_project_that_is_over(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Deleted")
        refusal = (400, {"message": "The description of a project that is over cannot be changed."})
        assert await self.change(world, project, {"title": "New"}) == refusal
        await run_jobs(world.services)
        assert await self.change(world, project, {"title": "New"}) == refusal


class TestBusy:
    """Which projects are busy, for super admins."""

    @pytest.mark.parametrize("edition", ["v1", "v3"])
    async def test_how_many_and_which(self, world: World, edition: str) -> None:
        busy, _idle = await world.project(), await world.project()

        async def asked(wanted: bool) -> Any:
            options: dict[str, Any] = {"json": {"list": wanted}} if edition == "v1" else {}
            query = f"?list={str(wanted).lower()}" if edition == "v3" else ""
            path = f"/proj/busy/any{query}"
            return (await world.call("GET", path, "super", edition=edition, **options)).json()

        assert await asked(True) == {"num": 0, "projects": {}}
        await enter(world, busy, "Archived")
        assert await asked(False) == {"num": 1}
        assert await asked(True) == {
            "num": 1,
            "projects": {busy: "Mon, 02 Mar 2026 12:00:00 GMT"},
        }
        await run_jobs(world.services)
        assert await asked(False) == {"num": 0}

    async def test_one_whose_job_was_given_up_stays_busy(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Archived")
        async with transaction(world.services, System()) as work:
            await work.session.execute(update(Job).values(state=JobState.FAILED))
        answer = await world.call("GET", "/proj/busy/any", "super")
        assert answer.json() == {"num": 1}
        assert (await enter(world, project, "Available"))[0] == 400


async def test_a_hidden_project_looks_archived(world: World) -> None:
    project = await world.project("admin1", "researcher1")
    await world.add_file(project, "a.txt")
    await enter(world, project, "Available", deadline=1, send_email=False)
    async with transaction(world.services, System()) as work:
        await work.session.execute(
            update(Project).values(status="Archived", deadline=None, purge_after=work.now)
        )
    assert (await shown(world, project))["current_status"] == "Archived"
    for path in ("/files/list", "/file/all/info"):
        answer = await world.call("GET", f"{path}?project={project}", "admin1", json=[])
        assert answer.status_code == 400, path
    answer = await world.call("GET", f"/proj/private?project={project}", "researcher1")
    assert answer.status_code == 403
    refusal = "Cannot change status for a project that has the status 'Archived'."
    assert await enter(world, project, "Available") == (400, refusal)
