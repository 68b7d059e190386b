"""Accounts and invites that go, over the stock wire, and what stays behind."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from ddsd.access import Member, System
from ddsd.errors import Forbidden, NotFound
from ddsd.secret import SecretText
from ddsd.users import removal, sessions
from ddsd.users.tables import User
from ddsd.work import reading
from tests.v1 import crowd
from tests.v1.crowd import add, told
from tests.world import EMAIL, World

STAFF, R1 = EMAIL.format("staff1"), EMAIL.format("researcher1")
NEW = "newcomer@example.org"


async def remove(
    world: World, who: str, email: Any, is_invite: Any = False, edition: str = "v1"
) -> Any:
    """Call ``user/delete``."""
    if edition == "v3":
        params = {"email": email, "is_invite": str(is_invite).lower()}
        return await world.call("DELETE", "/user/delete", who, edition="v3", params=params)
    body = {"email": email, "is_invite": is_invite}
    return await world.call("DELETE", "/user/delete", who, json=body)


async def member(world: World, username: str) -> Member:
    """Return somebody as an actor, without a session."""
    async with reading(world.services, System()) as work:
        found = await work.session.execute(select(User).where(User.columns().username == username))
        return sessions.member_of(found.scalar_one(), 0)


async def confirm(world: World, username: str, code: SecretText | None = None) -> None:
    """Follow the link as somebody who is logged in."""
    code = code or await crowd.link_to(world, EMAIL.format(username), "confirm_deletion")
    await removal.confirm(world.services, code, await member(world, username))


class TestAccount:
    """Somebody else's account."""

    @pytest.mark.parametrize("edition", ["v1", "v3"])
    async def test_it_is_gone_and_so_are_its_sessions_and_keys(
        self, world: World, edition: str
    ) -> None:
        project = await world.project("staff1", "researcher1")
        token = await world.token_of("staff1")
        answer = await remove(world, "admin1", "Staff1@example.org", edition=edition)
        assert told(answer) == (
            200,
            f"You successfully deleted the account staff1 ({STAFF}, Unit Personnel)!",
        )
        assert told(await world.call("GET", "/user/info", token=token)) == (
            403,
            "Invalid token. Try reauthenticating.",
        )
        assert await crowd.holders(world, project) == {
            "admin1", "admin1b", "admin1c", "researcher1",
        }  # fmt: skip
        assert await crowd.audited(world, "user.delete") == [
            (
                "user admin1",
                "staff1",
                {"email": STAFF, "role": "Unit Personnel", "because": "deleted by another"},
            )
        ]

    async def test_its_projects_stay_as_a_former_users(self, world: World) -> None:
        project = await world.project("staff1", "researcher1")
        await world.release(project, "staff1")
        await remove(world, "super", STAFF)
        shown = await world.call("GET", f"/proj/info?project={project}", "admin1")
        assert shown.json()["project_info"]["Created by"] == "Former User"
        body = {"history": True}
        history = await world.call("GET", f"/proj/status?project={project}", "admin1", json=body)
        assert [status for status, _ in history.json()["history"]] == ["Available", "In Progress"]
        assert await crowd.opens(world, "researcher1", project)

    async def test_a_researcher_is_in_no_project_any_more(self, world: World) -> None:
        project = await world.project("admin1", "researcher1")
        assert (await remove(world, "super", R1)).status_code == 200
        assert await crowd.members(world, project) == {}

    async def test_the_address_may_be_invited_again(self, world: World) -> None:
        await remove(world, "super", R1)
        assert (await add(world, "admin1", R1)).status_code == 200

    @pytest.mark.parametrize("who", ["super", "admin1"])
    async def test_not_the_own(self, world: World, who: str) -> None:
        answer = await remove(world, who, EMAIL.format(who))
        assert told(answer) == (
            400,
            "To delete your own account, use the '--self' flag instead!",
        )

    async def test_nobody_of_that_address(self, world: World) -> None:
        await add(world, "admin1", NEW)
        assert told(await remove(world, "admin1", NEW)) == (
            400,
            "This e-mail address is not associated with a user in the DDS, make sure it is not misspelled.",
        )

    async def test_the_last_who_holds_a_key_stays(self, world: World) -> None:
        project = await world.project()
        for who in ("admin1", "admin1b", "admin1c"):
            await crowd.lose_keys(world, who)
        answer = await remove(world, "admin1", STAFF)
        assert told(answer) == (
            403,
            f"Nobody else holds the key of {project}: the data could never be read again. "
            "First give somebody access, or make a recovery kit for the unit.",
        )
        assert await crowd.opens(world, "staff1", project)

    async def test_even_that_can_be_confirmed_and_is_audited(self, world: World) -> None:
        project = await world.project()
        for who in ("admin1", "admin1b", "admin1c"):
            await crowd.lose_keys(world, who)
        assert (await world.call("DELETE", "/user/delete_self", "staff1")).status_code == 200
        code = await crowd.link_to(world, STAFF, "confirm_deletion")
        staff = await member(world, "staff1")
        with pytest.raises(Forbidden, match=f"Nobody else holds the key of {project}"):
            await removal.confirm(world.services, code, staff)
        await removal.confirm(world.services, code, staff, confirmed=True)
        assert await crowd.holders(world, project) == set()
        lines = await crowd.audited(world, "project.lose_last_holder")
        assert [(actor, subject) for actor, subject, _ in lines] == [("user staff1", project)]

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (None, {"message": "Invalid input type."}),
            ([STAFF], {"message": "Invalid input type."}),
            ({}, {"email": {"message": "A user email is required."}}),
            ({"email": None}, {"email": {"message": "The user email cannot be null."}}),
            (
                {"email": "bad"},
                {
                    "email": ["Not a valid email address."],
                    "message": "email: Not a valid email address.",
                },
            ),
            (
                {"email": None, "is_invite": True},
                {"email": {"message": "The email cannot be null."}},
            ),
            ({"is_invite": True}, {"email": {"message": "The email cannot be null."}}),
            (
                {"email": "x", "is_invite": True},
                {
                    "email": ["Not a valid email address."],
                    "message": "email: Not a valid email address.",
                },
            ),
        ],
    )
    async def test_a_body_that_is_no_good(self, world: World, body: Any, expected: Any) -> None:
        answer = await world.call("DELETE", "/user/delete", "super", json=body)
        assert (answer.status_code, answer.json()) == (400, expected)

    async def test_no_parameters_in_the_third_edition(self, world: World) -> None:
        answer = await world.call("DELETE", "/user/delete", "super", edition="v3")
        assert answer.json() == {"email": {"message": "The user email cannot be null."}}

    @pytest.mark.parametrize(("edition", "other"), [("v1", "v3"), ("v3", "v1")])
    async def test_the_other_editions_parameters_count_for_nothing(
        self, world: World, edition: str, other: str
    ) -> None:
        body = {"email": STAFF} if other == "v1" else None
        query = f"?email={STAFF}" if other == "v3" else ""
        answer = await world.call(
            "DELETE", f"/user/delete{query}", "admin1", json=body, edition=edition
        )
        assert answer.status_code == 400
        assert (await world.call("GET", "/user/info", "staff1")).status_code == 200


# Who takes back: super, the admin of unit 1, the admin of unit 2.
TAKEN = (200, "The invite connected to email 'newcomer@example.org' has been deleted.")
KEPT = (403, "You do not have the correct permissions to delete this invite.")
INVITES = {
    "super admin": (TAKEN, KEPT, KEPT),
    "to unit 1": (TAKEN, TAKEN, KEPT),
    "to a project of unit 1": (TAKEN, TAKEN, KEPT),
    "to projects of both": (TAKEN, KEPT, KEPT),
    "to nothing": (TAKEN, TAKEN, TAKEN),
    "none": ((400, f"There is no invite connected to the email '{NEW}'."),) * 3,
}


class TestInvite:
    """An invite that is taken back."""

    @pytest.mark.parametrize("kind", INVITES)
    @pytest.mark.parametrize(("column", "who"), list(enumerate(["super", "admin1", "admin2"])))
    async def test_who_may(self, world: World, kind: str, column: int, who: str) -> None:
        await self._invite(world, kind)
        before = await crowd.invited(world)
        answer = await remove(world, who, NEW, True)
        assert told(answer) == INVITES[kind][column]
        assert await crowd.invited(world) == ({} if answer.status_code == 200 else before)

    @pytest.mark.parametrize("who", ["staff1", "researcher1"])
    async def test_who_may_not_at_all(self, world: World, who: str) -> None:
        answer = await remove(world, who, NEW, True)
        assert told(answer) == (403, "Insufficient credentials")

    @pytest.mark.parametrize("edition", ["v1", "v3"])
    async def test_the_link_leads_nowhere_then(self, world: World, edition: str) -> None:
        project = await world.project()
        await add(world, "admin1", NEW, project=project)
        assert told(await remove(world, "admin1", NEW, True, edition)) == TAKEN
        with pytest.raises(NotFound):
            await crowd.accept(world, NEW, "newcomer")
        assert NEW not in await crowd.holders(world, project)
        assert await crowd.members(world, project) == {}
        actor, subject, _ = (await crowd.audited(world, "user.withdraw_invite"))[0]
        assert (actor, subject) == ("user admin1", NEW)

    async def _invite(self, world: World, kind: str) -> None:
        match kind:
            case "super admin":
                await add(world, "super", NEW, "Super Admin")
            case "to unit 1":
                await add(world, "admin1", NEW, "Unit Personnel")
            case "to a project of unit 1":
                await add(world, "admin1", NEW, project=await world.project())
            case "to projects of both":
                await add(world, "admin1", NEW, project=await world.project())
                await add(world, "admin2", NEW, project=await world.project("admin2"))
            case "to nothing":
                await add(world, "admin1", NEW)


class TestSelf:
    """One's own account, confirmed by a mailed link."""

    async def test_asked_twice_the_link_is_mailed_once(self, world: World) -> None:
        project = await world.project("admin1", "researcher1")
        first = await world.call("DELETE", "/user/delete_self", "researcher1")
        assert (first.status_code, first.json()) == (
            200,
            {
                "message": "Requested account deletion initiated. An e-mail with a confirmation link "
                f"has been sent to your address {R1}!"
            },
        )
        second = await world.call("DELETE", "/user/delete_self", "researcher1")
        assert (second.status_code, second.json()) == (
            200,
            {
                "message": f"The confirmation link has already been sent to your address {R1}!",
                "status": 200,
            },
        )
        assert (await crowd.letters(world, R1)).count("confirm_deletion") == 1
        letter = await world.newest_mail(R1, "confirm_deletion")
        assert project in letter
        assert "/confirm-deletion#" in letter

    async def test_after_a_week_a_new_one_is_mailed(self, world: World) -> None:
        await world.call("DELETE", "/user/delete_self", "researcher1")
        world.clock.advance(days=7)
        with pytest.raises(NotFound):
            await confirm(world, "researcher1")
        world.tokens.clear()
        again = await world.call("DELETE", "/user/delete_self", "researcher1")
        assert again.json()["message"].startswith("Requested account deletion initiated.")
        await confirm(world, "researcher1")

    async def test_nothing_happens_before_the_link_is_followed(self, world: World) -> None:
        project = await world.project("admin1", "researcher1")
        await world.call("DELETE", "/user/delete_self", "researcher1")
        assert (await world.call("GET", "/user/info", "researcher1")).status_code == 200
        await confirm(world, "researcher1")
        answer = await world.call("GET", "/user/info", "researcher1")
        assert told(answer) == (403, "Invalid token. Try reauthenticating.")
        assert "researcher1" not in await crowd.holders(world, project)
        found = await world.call("GET", "/user/find", "super", json={"username": "researcher1"})
        assert found.json() == {"exists": False}

    async def test_the_link_is_the_persons_own_and_works_once(self, world: World) -> None:
        await world.call("DELETE", "/user/delete_self", "researcher1")
        code = await crowd.link_to(world, R1, "confirm_deletion")
        stranger = await member(world, "researcher2")
        with pytest.raises(Forbidden, match="belongs to another account"):
            await removal.confirm(world.services, code, stranger)
        owner = await member(world, "researcher1")
        await removal.confirm(world.services, code, owner)
        with pytest.raises(NotFound):
            await removal.confirm(world.services, code, owner)

    async def test_an_admin_goes_only_if_three_stay(self, world: World) -> None:
        few = (
            403,
            "Your unit only has {} Unit Admins. You cannot delete your account. "
            "Invite a new Unit Admin first if you wish to proceed.",
        )
        answer = await world.call("DELETE", "/user/delete_self", "admin2")
        assert told(answer) == (403, few[1].format(2))
        await add(world, "admin1", NEW, "Unit Admin")
        assert told(await world.call("DELETE", "/user/delete_self", "admin1")) == (
            403,
            few[1].format(3),
        )
        await crowd.accept(world, NEW, "newcomer")
        for who in ("admin1", "admin1b"):
            assert (await world.call("DELETE", "/user/delete_self", who)).status_code == 200
        await confirm(world, "admin1")
        with pytest.raises(Forbidden, match="Your unit only has 3 Unit Admins"):
            await confirm(world, "admin1b")
