"""Taking people out of projects and giving lost keys back, over the stock wire."""

from __future__ import annotations

from typing import Any

import pytest

from tests.v1 import crowd
from tests.v1.crowd import add, fix, revoke, told
from tests.world import EMAIL, World

R1, R2 = EMAIL.format("researcher1"), EMAIL.format("researcher2")
NEW = "new@example.org"
TAIL = "does not have access to the specified project. Cannot remove non-existent project access."


class TestRevoke:
    """Out of one project."""

    async def test_the_person_loses_the_project_and_its_key(self, world: World) -> None:
        project, other = (
            await world.project("admin1", "researcher1"),
            await world.project("admin1", "researcher1"),
        )
        await world.release(project)
        await world.release(other)
        assert await crowd.opens(world, "researcher1", project)
        answer = await revoke(world, "staff1", "Researcher1@example.org", project)
        assert told(answer) == (
            200,
            f"User with email Researcher1@example.org no longer associated with {project}.",
        )
        assert not await crowd.opens(world, "researcher1", project)
        assert await crowd.opens(world, "researcher1", other)
        assert "researcher1" not in await crowd.holders(world, project)
        assert await crowd.audited(world, "project.revoke") == [
            ("user staff1", project, {"person": "researcher1"})
        ]

    async def test_an_invite_to_nothing_else_is_withdrawn(self, world: World) -> None:
        first, second = await world.project(), await world.project()
        await add(world, "admin1", NEW, project=first)
        await add(world, "admin1", NEW, project=second)
        said = "Invited user is no longer associated with the project '{}'."
        assert told(await revoke(world, "admin1", NEW, first)) == (200, said.format(first))
        assert NEW in await crowd.invited(world)
        assert NEW not in await crowd.holders(world, first)
        assert told(await revoke(world, "admin1", NEW, second)) == (200, said.format(second))
        assert await crowd.invited(world) == {}

    @pytest.mark.parametrize(
        ("email", "kind"),
        [
            ("nobody@example.org", "user / invite"),
            (R2, "user"),
            (EMAIL.format("staff1"), "user"),
            ("waiting@example.org", "invite"),
        ],
    )
    async def test_who_is_not_in_it(self, world: World, email: str, kind: str) -> None:
        project = await world.project("admin1", "researcher1")
        await add(world, "super", "waiting@example.org")
        answer = await revoke(world, "admin1", email, project)
        assert told(answer) == (400, f"The {kind} with email '{email}' {TAIL}")

    async def test_those_who_were_invited_to_a_unit_cannot_be_taken_out(self, world: World) -> None:
        project = await world.project()
        await add(world, "admin1", NEW, "Unit Personnel")
        answer = await revoke(world, "admin1", NEW, project)
        assert told(answer) == (
            400,
            "Cannot remove a Unit Admin / Unit Personnel from individual projects.",
        )
        assert NEW in await crowd.holders(world, project)

    @pytest.mark.parametrize("who", ["admin1", "researcher1"])
    async def test_not_oneself(self, world: World, who: str) -> None:
        project = await crowd.owned_project(world)
        answer = await revoke(world, who, EMAIL.format(who), project)
        assert told(answer) == (403, "You cannot revoke your own access.")

    async def test_an_owner_may_in_the_own_project_alone(self, world: World) -> None:
        own = await crowd.owned_project(world)
        other = await world.project("admin1", "researcher1", "researcher2")
        await add(world, "admin1", R2, project=own)
        assert (await revoke(world, "researcher1", R2, own)).status_code == 200
        answer = await revoke(world, "researcher1", R2, other)
        assert told(answer) == (403, "Insufficient credentials")

    async def test_the_last_who_holds_the_key_stays(self, world: World) -> None:
        project = await world.project("admin1", "researcher1")
        for who in ("admin1", "admin1b", "admin1c", "staff1"):
            await crowd.lose_keys(world, who)
        answer = await revoke(world, "admin1", R1, project)
        assert told(answer) == (
            403,
            f"Nobody else holds the key of {project}: the data could never be read again. "
            "First give somebody access, or make a recovery kit for the unit.",
        )
        assert await crowd.holders(world, project) == {"researcher1"}
        assert await crowd.members(world, project) == {R1: "Researcher"}

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"email": ""}, {"message": "User email missing."}),
            ({"other": 1}, {"message": "User email missing."}),
            (
                {"email": "bad"},
                {
                    "email": ["Not a valid email address."],
                    "message": "email: Not a valid email address.",
                },
            ),
            (
                {"email": 5},
                {
                    "email": ["Not a valid email address."],
                    "message": "email: Not a valid email address.",
                },
            ),
            (None, {"message": "Required data missing from request!"}),
        ],
    )
    async def test_a_body_that_is_no_good(self, world: World, body: Any, expected: Any) -> None:
        project = await world.project()
        answer = await world.call(
            "POST", f"/user/access/revoke?project={project}", "admin1", json=body
        )
        assert (answer.status_code, answer.json()) == (400, expected)

    async def test_no_project(self, world: World) -> None:
        body = {"email": R1}
        answer = await world.call("POST", "/user/access/revoke", "admin1", json=body)
        assert answer.json() == {"project": {"message": "Project ID required."}}
        assert told(await revoke(world, "admin1", R1, "nope")) == (
            400,
            "The specified project does not exist.",
        )


class TestFix:
    """Keys given back."""

    async def test_everything_a_colleague_has_lost(self, world: World) -> None:
        first, second = await world.project(), await world.project("staff1")
        await crowd.lose_keys(world, "staff1")
        assert not await crowd.opens(world, "staff1", first)
        answer = await fix(world, "admin1", EMAIL.format("staff1"))
        assert answer.json() == {"message": "Project access updated for user 'staff1@example.org'."}
        for project in (first, second):
            assert await crowd.opens(world, "staff1", project)
        fixed = [subject for _, subject, _ in await crowd.audited(world, "project.fix_access")]
        assert fixed == [first, second]

    async def test_only_the_project_that_was_named(self, world: World) -> None:
        first, second = await world.project(), await world.project()
        await crowd.lose_keys(world, "staff1")
        await fix(world, "admin1", EMAIL.format("staff1"), second)
        assert "staff1" in await crowd.holders(world, second)
        assert "staff1" not in await crowd.holders(world, first)

    async def test_a_researchers_projects_of_the_own_unit_alone(self, world: World) -> None:
        own = await world.project("admin1", "researcher1")
        not_in = await world.project("admin1")
        foreign = await world.project("admin2", "researcher1")
        await crowd.lose_keys(world, "researcher1")
        answer = await fix(world, "staff1", R1)
        assert told(answer) == (200, f"Project access updated for user '{R1}'.")
        assert "researcher1" in await crowd.holders(world, own)
        assert "researcher1" not in await crowd.holders(world, not_in)
        assert "researcher1" not in await crowd.holders(world, foreign)

    async def test_what_the_caller_has_lost_too_is_named(self, world: World) -> None:
        lost = await world.project()
        await crowd.lose_keys(world, "admin1")
        held = await world.project()
        await crowd.lose_keys(world, "staff1")
        answer = await fix(world, "admin1", EMAIL.format("staff1"))
        why = "You do not have access to this project. Please contact the responsible unit."
        assert (answer.status_code, answer.json()) == (200, {"errors": {lost: why}})
        assert "staff1" in await crowd.holders(world, held)

    async def test_nothing_was_lost(self, world: World) -> None:
        await world.project()
        await crowd.lose_keys(world, "admin1b")
        answer = await fix(world, "admin1b", EMAIL.format("staff1"))
        assert told(answer) == (200, "Project access updated for user 'staff1@example.org'.")
        assert await crowd.audited(world, "project.fix_access") == []

    async def test_a_researcher_outside_is_in_it_afterwards(self, world: World) -> None:
        project = await world.project()
        await world.release(project)
        assert (await fix(world, "admin1", R1, project)).status_code == 200
        assert await crowd.members(world, project) == {R1: "Researcher"}
        assert await crowd.opens(world, "researcher1", project)

    async def test_an_owner_stays_one(self, world: World) -> None:
        project = await crowd.owned_project(world)
        await crowd.lose_keys(world, "researcher1")
        await fix(world, "admin1", R1, project)
        assert await crowd.members(world, project) == {R1: "Owner"}

    async def test_an_owner_helps_researchers_in_the_own_project(self, world: World) -> None:
        project = await crowd.owned_project(world)
        await add(world, "admin1", R2, project=project)
        await crowd.lose_keys(world, "researcher2")
        assert (await fix(world, "researcher1", R2, project)).status_code == 200
        assert "researcher2" in await crowd.holders(world, project)
        assert told(await fix(world, "researcher1", R2)) == (403, "Insufficient credentials")

    @pytest.mark.parametrize(
        ("who", "whom"),
        [
            ("staff1", "admin1"),
            ("admin1", "super"),
            ("admin1", "admin2"),
            ("admin1", "staff2"),
            ("staff1", "staff2"),
            ("researcher1", "staff1"),
            ("researcher1", "admin1"),
        ],
    )
    async def test_whom_one_may_not_help(self, world: World, who: str, whom: str) -> None:
        project = await crowd.owned_project(world)
        before = await crowd.holders(world, project)
        answer = await fix(world, who, EMAIL.format(whom), project)
        assert told(answer) == (
            403,
            "You do not have the necessary permissions to shared project access with this user.",
        )
        assert await crowd.holders(world, project) == before

    async def test_not_oneself(self, world: World) -> None:
        answer = await fix(world, "admin1", EMAIL.format("admin1"))
        assert told(answer) == (403, "You cannot renew your own access.")

    async def test_nobody_the_service_knows(self, world: World) -> None:
        await add(world, "admin1", NEW)
        assert told(await fix(world, "admin1", NEW)) == (400, "User not found.")
        answer = await world.call("POST", "/proj/access", "admin1", json={"mail": R1})
        assert told(answer) == (400, "User email missing.")
        answer = await world.call("POST", "/proj/access", "admin1", json={"email": None})
        assert answer.json() == {"email": {"message": "The user email cannot be null."}}
        assert (await fix(world, "admin1", "bad")).json() == {
            "email": ["Not a valid email address."],
            "message": "email: Not a valid email address.",
        }

    async def test_the_person_is_looked_for_before_the_project(self, world: World) -> None:
        assert told(await fix(world, "admin1", NEW, "nope")) == (400, "User not found.")
        assert told(await fix(world, "admin1", R1, "nope")) == (
            400,
            "The specified project does not exist.",
        )


class TestActivation:
    """Closed, and open again with what the admin holds."""

    async def test_a_closed_account_is_out_at_once_and_comes_back_with_its_keys(
        self, world: World
    ) -> None:
        project = await world.project()
        await world.token_of("staff1")
        email = EMAIL.format("staff1")
        body = {"email": email, "action": "deactivate"}
        assert told(await world.call("POST", "/user/activation", "admin1", json=body)) == (
            200,
            f"You successfully deactivated the account staff1 ({email}, Unit Personnel)!",
        )
        assert (await world.call("GET", "/user/info", "staff1")).status_code in {401, 403}
        await crowd.lose_keys(world, "staff1")
        body["action"] = "reactivate"
        assert told(await world.call("POST", "/user/activation", "admin1", json=body)) == (
            200,
            f"You successfully reactivated the account staff1 ({email}, Unit Personnel)!",
        )
        world.tokens.clear()
        assert await crowd.opens(world, "staff1", project)

    @pytest.mark.parametrize(
        ("body", "status", "expected"),
        [
            ({"action": "deactivate"}, 400, {"message": "User email missing."}),
            (
                {"email": "bad", "action": "deactivate"},
                400,
                {
                    "email": ["Not a valid email address."],
                    "message": "email: Not a valid email address.",
                },
            ),
            ({"email": NEW, "action": "deactivate"}, 400, {"message": "User not found."}),
            (
                {"email": EMAIL.format("staff1"), "action": "reactivate"},
                400,
                {"message": "User is already reactivated!"},
            ),
            (
                {"email": EMAIL.format("admin1"), "action": "deactivate"},
                403,
                {"message": "You cannot deactivate your own account!"},
            ),
        ],
    )
    async def test_refusals(self, world: World, body: Any, status: int, expected: Any) -> None:
        answer = await world.call("POST", "/user/activation", "admin1", json=body)
        assert (answer.status_code, answer.json()) == (status, expected)

    @pytest.mark.parametrize("action", [None, "", "bogus", "deactivated", 1, ["deactivate"]])
    async def test_an_action_that_is_none_changes_nothing(self, world: World, action: Any) -> None:
        body = {"email": EMAIL.format("staff1"), "action": action}
        answer = await world.call("POST", "/user/activation", "admin1", json=body)
        assert told(answer) == (
            400,
            "Please provide an action 'deactivate' or 'reactivate' for this request.",
        )
        assert (await world.call("GET", "/user/info", "staff1")).status_code == 200
