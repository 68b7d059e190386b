"""The life of a project over the stock wire: release, retract, expire, and who hears of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, update

from ddsd.access import System
from ddsd.files import grants
from ddsd.files.tables import StoreKey, StoreKeyUse
from ddsd.jobs.tables import Job
from ddsd.projects.tables import Project, StatusEntry
from ddsd.users.tables import User, UserEmail
from ddsd.work import reading, transaction
from tests.conftest import kind as kind  # both databases: requests race here
from tests.v1.people import deactivate, mails
from tests.world import World

MAILED = " An e-mail notification has been sent."
NOT_MAILED = " An e-mail notification has not been sent."


async def enter(world: World, project: str, status: Any, **more: Any) -> tuple[int, str]:
    """Ask for a status; return the answer's status and message."""
    answer = await world.call(
        "POST",
        f"/proj/status?project={project}",
        more.pop("who", "admin1"),
        json={"new_status": status} | more,
    )
    return answer.status_code, answer.json()["message"]


async def shown(world: World, project: str, **options: Any) -> dict[str, Any]:
    """Return what ``proj/status`` shows."""
    answer = await world.call("GET", f"/proj/status?project={project}", "admin1", **options)
    assert answer.status_code == 200
    return dict(answer.json())


class TestAnswers:
    """What is said of each change."""

    async def test_of_a_release(self, world: World) -> None:
        project = await world.project()
        message = f"Project {project} updated to status Available." + MAILED
        assert await enter(world, project, "Available") == (200, message)

    async def test_of_a_release_without_mail(self, world: World) -> None:
        project = await world.project()
        message = f"Project {project} updated to status Available." + NOT_MAILED
        assert await enter(world, project, "Available", send_email=False) == (200, message)

    async def test_of_retracting_and_expiring(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Available")
        message = f"Project {project} updated to status {{}}."
        assert await enter(world, project, "In Progress") == (200, message.format("In Progress"))
        await enter(world, project, "Available")
        assert await enter(world, project, "Expired") == (200, message.format("Expired"))

    @pytest.mark.parametrize(
        ("status", "message"),
        [
            ("", "No status transition provided. Specify the new status."),
            (None, "No status transition provided. Specify the new status."),
            ("Banana", "Invalid status"),
            ("available", "Invalid status"),
            (5, "Invalid status"),
            (["Available"], "Invalid status"),
            ({"a": 1}, "Invalid status"),
            (True, "Invalid status"),
            (
                "In Progress",
                "You cannot retract a project that has the current status 'In Progress'.",
            ),
            ("Expired", "You cannot expire a project that has the current status 'In Progress'."),
        ],
    )
    async def test_of_what_cannot_be_from_in_progress(
        self, world: World, status: Any, message: str
    ) -> None:
        project = await world.project()
        assert await enter(world, project, status) == (400, message)
        assert await shown(world, project) == {"current_status": "In Progress"}

    async def test_of_no_status_at_all(self, world: World) -> None:
        project = await world.project()
        path = f"/proj/status?project={project}"
        answer = await world.call("POST", path, "admin1", json={"deadline": 3})
        assert answer.status_code == 400
        assert answer.json() == {
            "message": "No status transition provided. Specify the new status."
        }

    @pytest.mark.parametrize(
        ("before", "after", "verb"),
        [
            ("Available", "Available", "release"),
            ("Available", "Deleted", "delete"),
            ("Expired", "In Progress", "retract"),
            ("Expired", "Deleted", "delete"),
            ("Expired", "Expired", "expire"),
        ],
    )
    async def test_of_what_cannot_be_later(
        self, world: World, before: str, after: str, verb: str
    ) -> None:
        project = await world.project()
        for status in ("Available", "Expired")[: 1 + (before == "Expired")]:
            await enter(world, project, status)
        message = f"You cannot {verb} a project that has the current status '{before}'."
        assert await enter(world, project, after) == (400, message)

    @pytest.mark.parametrize("final", ["Archived", "Deleted"])
    @pytest.mark.parametrize(
        "after", ["In Progress", "Available", "Expired", "Archived", "Deleted"]
    )
    async def test_of_the_end(self, world: World, final: str, after: str) -> None:
        project = await world.project()
        async with transaction(world.services, System()) as work:
            await work.session.execute(update(Project).values(status=final))
        message = f"Cannot change status for a project that has the status '{final}'."
        assert await enter(world, project, after) == (400, message)

    @pytest.mark.parametrize("deadline", [0, -1, "10", "ten", 1.5, True, [10], {}, -(10**25)])
    async def test_of_a_deadline_that_is_no_number_of_days(
        self, world: World, deadline: Any
    ) -> None:
        project = await world.project()
        refusal = (400, "The deadline needs to be a positive integer.")
        assert await enter(world, project, "Available", deadline=deadline) == refusal
        await enter(world, project, "Available")
        assert await enter(world, project, "Expired", deadline=deadline) == refusal

    @pytest.mark.parametrize("beyond", [1, 10**18, 10**30])
    async def test_of_a_deadline_too_far_away(self, world: World, beyond: int) -> None:
        project = await world.project()
        message = "The deadline needs to be less than (or equal to) {} days."
        assert await enter(world, project, "Available", deadline=90 + beyond) == (
            400,
            message.format(90),
        )
        await enter(world, project, "Available", deadline=90)
        assert await enter(world, project, "Expired", deadline=30 + beyond) == (
            400,
            message.format(30),
        )
        assert (await enter(world, project, "Expired", deadline=30))[0] == 200


class TestDeadlines:
    """A deadline is the end of a day in UTC."""

    @pytest.mark.parametrize(
        ("now", "days", "deadline"),
        [
            (datetime(2026, 3, 2, 0, 0, 0, tzinfo=UTC), 1, "Tue, 03 Mar 2026 23:59:59 GMT"),
            (datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC), 1, "Tue, 03 Mar 2026 23:59:59 GMT"),
            (datetime(2028, 2, 28, 12, 0, 0, tzinfo=UTC), 1, "Tue, 29 Feb 2028 23:59:59 GMT"),
            (datetime(2027, 2, 28, 12, 0, 0, tzinfo=UTC), 1, "Mon, 01 Mar 2027 23:59:59 GMT"),
            (datetime(2026, 3, 28, 23, 30, 0, tzinfo=UTC), 1, "Sun, 29 Mar 2026 23:59:59 GMT"),
            (datetime(2026, 10, 24, 12, 0, 0, tzinfo=UTC), 2, "Mon, 26 Oct 2026 23:59:59 GMT"),
            (datetime(2026, 12, 31, 12, 0, 0, tzinfo=UTC), 90, "Wed, 31 Mar 2027 23:59:59 GMT"),
        ],
    )
    async def test_of_a_release(
        self, world: World, now: datetime, days: int, deadline: str
    ) -> None:
        world.clock.set(now)
        project = await world.project()
        await enter(world, project, "Available", deadline=days)
        assert await shown(world, project) == {
            "current_status": "Available",
            "current_deadline": deadline,
        }

    async def test_the_units_own_if_none_is_given(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Available")
        assert (await shown(world, project))["current_deadline"] == "Sun, 31 May 2026 23:59:59 GMT"
        await enter(world, project, "Expired", deadline=None)
        assert (await shown(world, project))["current_deadline"] == "Wed, 01 Apr 2026 23:59:59 GMT"

    async def test_a_retracted_project_keeps_its_own(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Available", deadline=10)
        first = (await shown(world, project))["current_deadline"]
        world.clock.advance(days=3)
        await enter(world, project, "In Progress")
        assert await shown(world, project) == {
            "current_status": "In Progress",
            "current_deadline": first,
        }
        status, message = await enter(world, project, "Available", deadline=60)
        assert (await shown(world, project))["current_deadline"] == first
        assert status == 200
        assert message.endswith(f" sent. The deadline stays {first}, set at the first release.")

    async def test_who_asks_for_no_deadline_is_told_nothing_of_it(self, world: World) -> None:
        project = await world.project()
        for new in ("Available", "In Progress", "Available"):
            _, message = await enter(world, project, new)
        assert message.endswith(" sent.")

    async def test_a_retracted_project_whose_deadline_has_passed_gets_a_new_one(
        self, world: World
    ) -> None:
        project = await world.project()
        await enter(world, project, "Available", deadline=1)
        await enter(world, project, "In Progress")
        world.clock.advance(days=5)
        await enter(world, project, "Available", deadline=2)
        assert (await shown(world, project))["current_deadline"] == "Mon, 09 Mar 2026 23:59:59 GMT"

    async def test_a_release_after_expiry_gets_a_new_one(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Available", deadline=10)
        await enter(world, project, "Expired")
        await enter(world, project, "Available", deadline=5)
        assert (await shown(world, project))["current_deadline"] == "Sat, 07 Mar 2026 23:59:59 GMT"

    async def test_release_after_third_expiry_is_refused(self, world: World) -> None:
        project = await world.project()
        for _ in range(3):
            assert (await enter(world, project, "Available"))[0] == 200
            assert (await enter(world, project, "Expired"))[0] == 200
        message = "Project availability limit: Project cannot be made Available any more times"
        assert await enter(world, project, "Available") == (400, message)

    async def test_retracting_is_no_expiry(self, world: World) -> None:
        project = await world.project()
        for _ in range(5):
            assert (await enter(world, project, "Available"))[0] == 200
            assert (await enter(world, project, "In Progress"))[0] == 200


class TestHistory:
    """Every status the project has had, newest first, in the order they were entered."""

    EXPECTED = (
        ("Expired", "Mon, 02 Mar 2026 12:00:00 GMT"),
        ("Available", "Mon, 02 Mar 2026 12:00:00 GMT"),
        ("In Progress", "Mon, 02 Mar 2026 12:00:00 GMT"),
    )

    @pytest.mark.parametrize(
        ("edition", "body", "query", "told"),
        [
            ("v1", {"history": True}, "", True),
            ("v1", {"history": False}, "", False),
            ("v1", None, "&history=true", False),
            ("v3", None, "&history=true", True),
            ("v3", None, "&history=false", False),
            ("v3", {"history": True}, "", False),
        ],
    )
    async def test_two_in_one_second_are_two(
        self, world: World, edition: str, body: Any, query: str, *, told: bool
    ) -> None:
        project = await world.project()
        await enter(world, project, "Available")
        await enter(world, project, "Expired")
        answer = await shown(world, project + query, json=body, edition=edition)
        if told:
            assert answer["history"] == [list(entry) for entry in self.EXPECTED]
        else:
            assert "history" not in answer

    async def test_a_refused_change_leaves_no_entry(self, world: World) -> None:
        project = await world.project()
        await enter(world, project, "Available", deadline=91)
        async with reading(world.services, System()) as work:
            assert len((await work.session.execute(select(StatusEntry))).all()) == 1


class TestAtOnce:
    """Two changes at the same moment: one wins, the other is told."""

    @pytest.mark.parametrize("rounds", range(3))
    async def test_two_releases(self, world: World, rounds: int) -> None:
        project = await world.project("admin1", "researcher1")
        await world.token_of("staff1")
        answers = await asyncio.gather(
            *(enter(world, project, "Available", who=who) for who in ("admin1", "staff1"))
        )
        refusal = "You cannot release a project that has the current status 'Available'."
        assert max(answers) == (400, refusal)
        assert min(answers)[0] == 200
        assert len(await mails(world, "researcher1", "project_released")) == 1

    async def test_retracting_and_expiring(self, world: World) -> None:
        project = await world.project()
        await world.token_of("staff1")
        await enter(world, project, "Available")
        answers = await asyncio.gather(
            enter(world, project, "In Progress"), enter(world, project, "Expired", who="staff1")
        )
        assert sorted(status for status, _ in answers) == [200, 400]
        history = (await shown(world, project, json={"history": True}))["history"]
        assert len(history) == 3


class TestMails:
    """A release is told to every address of every researcher in the project, and to nobody else."""

    async def test_who_hears_of_it(self, world: World) -> None:
        project = await world.project("admin1", "researcher1")
        await world.project("admin1", "researcher2")
        async with transaction(world.services, System()) as work:
            users = User.columns()
            found = await work.session.execute(
                select(users.id).where(users.username == "researcher1")
            )
            work.session.add(
                UserEmail(user_id=found.scalar_one(), email="home@example.org", is_primary=False)
            )
        await enter(world, project, "Available", deadline=10)
        for address in ("researcher1@example.org", "home@example.org"):
            letter = await world.newest_mail(address, "project_released")
            for fact in (
                "A title",
                project,
                f"dds ls -p {project}",
                f"dds data get -p {project} -a --verify-checksum",
                "2026-03-12 23:59:59 UTC",
            ):
                assert fact in letter
        for who in ("researcher2", "admin1", "staff1", "super", "pi"):
            assert await mails(world, who, "project_released") == []

    async def test_nobody_if_so_wished(self, world: World) -> None:
        project = await world.project("admin1", "researcher1")
        await enter(world, project, "Available", send_email=False)
        assert await mails(world, "researcher1", "project_released") == []

    async def test_again_at_each_release(self, world: World) -> None:
        project = await world.project("admin1", "researcher1")
        for status in ("Available", "In Progress", "Available"):
            await enter(world, project, status)
        assert len(await mails(world, "researcher1", "project_released")) == 2

    async def test_neither_the_invited_nor_the_deactivated(self, world: World) -> None:
        project = await world.project("admin1", "researcher1", "new")
        await deactivate(world, "researcher1")
        await enter(world, project, "Available")
        for who in ("researcher1", "new"):
            assert await mails(world, who, "project_released") == []

    async def test_a_refused_release_tells_nobody(self, world: World) -> None:
        project = await world.project("admin1", "researcher1")
        await enter(world, project, "Available", deadline=0)
        assert await mails(world, "researcher1") == []


async def test_a_release_withdraws_the_upload_keys_of_this_project_only(world: World) -> None:
    project, other = await world.project(), await world.project()
    for one in (project, other):
        answer = await world.call("GET", f"/s3/proj?project={one}", "admin1")
        assert answer.status_code == 200, answer.text
    async with reading(world.services, System()) as work:
        keys = list((await work.session.execute(select(StoreKey))).scalars())
        found = await work.session.execute(
            select(Project.columns().bucket).where(Project.columns().public_id == project)
        )
        bucket = found.scalar_one()
    mine = [key.access_key for key in keys if key.bucket == bucket]
    await enter(world, project, "Available")
    async with reading(world.services, System()) as work:
        jobs = list((await work.session.execute(select(Job))).scalars())
        left = list((await work.session.execute(select(StoreKey))).scalars())
    assert [(job.kind, job.subject) for job in jobs] == [(grants.REVOKE_STORE_KEY, mine[0])]
    assert [key.access_key for key in left if key.use is StoreKeyUse.UPLOAD] == [
        key.access_key for key in keys if key.access_key not in mine
    ]
