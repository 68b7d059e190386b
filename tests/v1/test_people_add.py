"""Inviting and letting in over the stock wire: what is said, what is kept, who holds the key, who is written to."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from ddsd.access import System
from ddsd.projects.tables import Project
from ddsd.users.tables import User, UserEmail
from ddsd.work import transaction
from tests.v1 import crowd
from tests.v1.crowd import add, told
from tests.world import EMAIL, World

NEW = "newcomer@example.org"
R1 = EMAIL.format("researcher1")


class TestRequest:
    """What is wrong with a request, in the order in which it is looked at."""

    @pytest.mark.parametrize("role", [None, "", "researcher", "Admin", 5, ["Researcher"], {}])
    async def test_a_role_that_is_none(self, world: World, role: Any) -> None:
        assert told(await add(world, "admin1", "bad", role)) == (400, "Invalid user role.")

    @pytest.mark.parametrize("email", [None, "", 5, ["a@example.org"]])
    async def test_no_address(self, world: World, email: Any) -> None:
        answer = await add(world, "admin1", email)
        assert told(answer) == (400, "Email address required to add or invite.")

    async def test_a_malformed_address(self, world: World) -> None:
        answer = await add(world, "admin1", "nobody")
        assert answer.json() == {
            "message": "The email address is not valid. It must have exactly one @-sign."
        }
        assert answer.status_code == 400

    async def test_the_role_is_looked_at_before_the_project_and_that_before_the_address(
        self, world: World
    ) -> None:
        unknown = (400, "The specified project does not exist.")
        assert told(await add(world, "admin1", "", "x", "nope")) == (400, "Invalid user role.")
        assert told(await add(world, "admin1", "", project="nope")) == unknown

    @pytest.mark.parametrize("edition", ["v1", "v3"])
    async def test_a_missing_body(self, world: World, edition: str) -> None:
        answer = await world.call("POST", "/user/add", "admin1", edition=edition)
        assert told(answer) == (400, "Required data missing from request!")

    async def test_the_address_is_not_looked_up(self, world: World) -> None:
        answer = await add(world, "admin1", "someone@no-such-domain-3f7a.se")
        assert answer.status_code == 200


class TestInvite:
    """Somebody nobody knows."""

    async def test_the_whole_answer(self, world: World) -> None:
        answer = await add(world, "admin1", "New.Person+tag@Example.ORG")
        email = "new.person+tag@example.org"
        assert answer.json() == {
            "email": email,
            "message": f"Pending invite for {email} was successful.",
            "status": 200,
            "errors": {},
        }
        actor, subject, facts = (await crowd.audited(world, "user.invite"))[0]
        assert (actor, subject, facts) == ("user admin1", email, {"role": "Researcher"})

    async def test_refusals_repeat_the_status_but_not_those_of_the_unit(self, world: World) -> None:
        owner = await add(world, "admin1", NEW, "Project Owner")
        assert owner.json() == {
            "message": "Project ID required to invite a 'Project Owner'.",
            "status": 400,
        }
        denied = await add(world, "staff1", NEW, "Unit Admin")
        assert denied.json() == {
            "message": "You do not have the necessary permissions.",
            "status": 403,
        }
        assert (await add(world, "super", NEW, "Unit Admin", unit="nope")).json() == {
            "message": "Invalid unit public id."
        }
        await add(world, "admin1", NEW)
        assert list((await add(world, "admin1", NEW)).json()) == ["message"]

    async def test_a_super_admin_says_which_unit(self, world: World) -> None:
        answer = await add(world, "super", NEW, "Unit Admin", unit="unit2")
        assert answer.status_code == 200
        await crowd.accept(world, NEW, "newcomer")
        listed = await world.call("GET", "/users", "admin2")
        assert "newcomer" in {one["Username"] for one in listed.json()["users"]}

    async def test_nobody_else_does(self, world: World) -> None:
        assert (await add(world, "admin1", NEW, "Unit Personnel", unit="unit2")).status_code == 200
        await crowd.accept(world, NEW, "newcomer")
        listed = await world.call("GET", "/users", "admin1")
        assert "newcomer" in {one["Username"] for one in listed.json()["users"]}

    async def test_a_unit_means_nothing_to_a_researcher(self, world: World) -> None:
        assert (await add(world, "super", NEW, unit="unit2")).status_code == 200
        assert (await crowd.invited(world))[NEW] == ("Researcher", None)

    async def test_the_letter_names_the_unit_or_else_the_person(self, world: World) -> None:
        project = await crowd.owned_project(world)
        await add(world, "staff1", "a@example.org")
        await add(world, "super", "b@example.org")
        await add(world, "researcher1", "c@example.org", project=project)
        letters = [
            await world.newest_mail(f"{letter}@example.org", "invite") for letter in ("a", "b", "c")
        ]
        assert "Staff1" not in letters[0]
        assert letters[0].startswith("Sequencing ")
        named = [text.partition(" invites you")[0] for text in letters[1:]]
        assert named == ["Super", "Researcher1"]

    @pytest.mark.parametrize("send_email", [False, True])
    async def test_an_invitation_is_always_mailed(self, world: World, send_email: bool) -> None:
        project = await world.project()
        await world.release(project)
        await add(world, "admin1", NEW, project=project, send_email=send_email)
        assert await crowd.letters(world, NEW) == ["invite"]

    async def test_a_researcher_brings_the_project_along(self, world: World) -> None:
        project = await world.project()
        await add(world, "staff1", NEW, "Project Owner", project)
        assert NEW in await crowd.holders(world, project)
        assert await crowd.members(world, project) == {f"{NEW} (Pending)": "Owner (Pending)"}
        await crowd.accept(world, NEW, "newcomer")
        await world.release(project)
        assert await crowd.opens(world, "newcomer", project)
        assert await crowd.members(world, project) == {NEW: "Owner"}

    async def test_a_colleague_gets_every_active_key_and_those_to_come(self, world: World) -> None:
        first, second, foreign = [
            await world.project(who) for who in ("admin1", "staff1", "admin2")
        ]
        await _close(world, second)
        answer = await add(world, "admin1", NEW, "Unit Personnel", first)
        assert answer.json()["errors"] == {}
        third = await world.project("staff1")
        await crowd.accept(world, NEW, "newcomer")
        opened = {one: await crowd.opens(world, "newcomer", one) for one in (first, third)}
        assert opened == {first: True, third: True}
        assert "newcomer" not in await crowd.holders(world, second)
        assert "newcomer" not in await crowd.holders(world, foreign)
        assert await crowd.members(world, first) == {}

    async def test_a_colleague_is_asked_although_every_project_is_closed(
        self, world: World
    ) -> None:
        await _close(world, await world.project())
        assert (await add(world, "admin1", NEW, "Unit Admin")).status_code == 200

    async def test_what_the_asker_has_lost_is_named(self, world: World) -> None:
        lost = await world.project()
        await crowd.lose_keys(world, "admin1")
        held = await world.project()
        answer = await add(world, "admin1", NEW, "Unit Personnel")
        assert answer.json() == {
            "email": NEW,
            "message": f"Pending invite for {NEW} was successful.",
            "status": 200,
            "errors": {lost: "You do not have access to the project(s)"},
        }
        assert NEW in await crowd.holders(world, held)
        assert NEW not in await crowd.holders(world, lost)

    @pytest.mark.parametrize(
        ("role", "which"), [("Researcher", "specified project."), ("Unit Admin", "project(s)")]
    )
    async def test_an_asker_without_any_key_asks_nobody(
        self, world: World, role: str, which: str
    ) -> None:
        project = await world.project()
        await crowd.lose_keys(world, "admin1")
        answer = await add(world, "admin1", NEW, role, project)
        assert answer.status_code == 400
        assert answer.json() == {
            "email": NEW,
            "message": "The user could not be added to the project(s). The invite did not succeed.",
            "status": 400,
            "errors": {project: f"You do not have access to the {which}"},
        }
        assert await crowd.invited(world) == {}
        assert await crowd.letters(world, NEW) == []

    async def test_an_expired_invite_makes_way(self, world: World) -> None:
        await add(world, "admin1", NEW, "Unit Admin")
        world.clock.advance(days=7)
        assert (await add(world, "admin2", NEW)).status_code == 200
        assert await crowd.invited(world) == {NEW: ("Researcher", None)}


class TestGrant:
    """Somebody who has an account or an invite."""

    async def test_the_letter_goes_out_while_the_project_is_available(self, world: World) -> None:
        project = await world.project()
        sentence = f"User researcher1 was given access to the Project {project} as a Researcher. "
        first = await add(world, "admin1", R1, project=project)
        assert first.json() == {
            "status": 200,
            "message": sentence + "An e-mail notification has not been sent.",
        }
        await world.release(project, send_email=False)
        second = await add(world, "admin1", EMAIL.format("researcher2"), project=project)
        assert second.json()["message"].endswith("An e-mail notification has been sent.")
        assert "project_released" in await crowd.letters(world, EMAIL.format("researcher2"))
        assert "project_released" not in await crowd.letters(world, R1)

    async def test_the_letter_goes_to_every_address_and_names_who_let_them_in(
        self, world: World
    ) -> None:
        project = await crowd.owned_project(world, "researcher1")
        await world.release(project, send_email=False)
        await _another_address(world, "researcher2", "second@example.org")
        await add(world, "researcher1", "second@example.org", project=project)
        for address in (EMAIL.format("researcher2"), "second@example.org"):
            assert "Researcher1 has made" in await world.newest_mail(address, "project_released")

    async def test_somebody_invited_is_told_too(self, world: World) -> None:
        project = await world.project()
        await world.release(project)
        await add(world, "super", NEW)
        answer = await add(world, "admin1", NEW, project=project)
        assert told(answer) == (
            200,
            f"Pending invite for {NEW} was given access to the Project {project} as a Researcher. "
            "An e-mail notification has been sent.",
        )
        assert await crowd.letters(world, NEW) == ["invite", "project_released"]

    async def test_no_letter_when_none_is_wanted(self, world: World) -> None:
        project = await world.project()
        await world.release(project)
        answer = await add(world, "admin1", R1, project=project, send_email=False)
        assert answer.json()["message"].endswith("An e-mail notification has not been sent.")
        assert "project_released" not in await crowd.letters(world, R1)

    async def test_the_other_capacity_turns_the_flag_and_writes_no_letter(
        self, world: World
    ) -> None:
        project = await world.project("admin1", "researcher1")
        await world.release(project, send_email=False)
        answer = await add(world, "staff1", R1, "Project Owner", project)
        assert told(answer) == (
            200,
            f"User researcher1 was given access to the Project {project} as a Project Owner. "
            "An e-mail notification has not been sent.",
        )
        assert await crowd.members(world, project) == {R1: "Owner"}
        again = await add(world, "staff1", R1, "Project Owner", project)
        assert again.json() == {
            "message": f"User researcher1 is already associated with the Project {project} in this capacity. ",
            "status": 403,
        }

    async def test_the_key_comes_with_it(self, world: World) -> None:
        project = await world.project()
        await world.release(project)
        assert not await crowd.opens(world, "researcher1", project)
        await add(world, "staff1", "Researcher1@EXAMPLE.org", project=project)
        assert await crowd.opens(world, "researcher1", project)
        assert (await crowd.audited(world, "project.grant"))[0] == (
            "user staff1",
            project,
            {"person": "researcher1", "owner": False},
        )

    async def test_whoever_holds_no_key_lets_nobody_in(self, world: World) -> None:
        project = await world.project()
        await crowd.lose_keys(world, "staff1")
        answer = await add(world, "staff1", R1, project=project)
        assert answer.json() == {
            "message": "You do not have access to the current project. "
            "To get access, ask the a user within the responsible unit to grant you access.",
            "status": 403,
        }
        assert await crowd.members(world, project) == {}

    async def test_an_owner_lets_in_and_is_one_no_more_when_the_flag_is_taken(
        self, world: World
    ) -> None:
        project = await crowd.owned_project(world)
        assert (
            await add(world, "researcher1", EMAIL.format("researcher2"), project=project)
        ).status_code == 200
        await add(world, "admin1", R1, project=project)
        answer = await add(world, "researcher1", NEW, project=project)
        assert told(answer) == (403, "Insufficient credentials")


async def _close(world: World, project: str) -> None:
    """Make a project inactive, by means that have no endpoint yet."""
    async with transaction(world.services, System()) as work:
        await work.session.execute(
            update(Project).where(Project.columns().public_id == project).values(active=False)
        )


async def _another_address(world: World, username: str, address: str) -> None:
    async with transaction(world.services, System()) as work:
        found = await work.session.execute(
            select(User.columns().id).where(User.columns().username == username)
        )
        work.session.add(UserEmail(user_id=found.scalar_one(), email=address, is_primary=False))
