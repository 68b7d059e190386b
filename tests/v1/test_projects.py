"""Projects over the stock wire: making them, seeing them, their keys and their people."""

from __future__ import annotations

import asyncio
import locale
import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from ddsd.access import Role, System
from ddsd.audit.tables import AuditEntry
from ddsd.jobs.tables import Job
from ddsd.keys.hierarchy import pair_of
from ddsd.keys.tables import KeyWrap
from ddsd.projects.tables import Membership, Project, StatusEntry
from ddsd.secret import SecretBytes
from ddsd.units.tables import Unit
from ddsd.users.tables import Invite, User, UserEmail
from ddsd.work import reading, transaction
from tests.builders import a_user
from tests.v1.people import change, deactivate, mails
from tests.world import EMAIL, PROJECT, World

FORCED = PROJECT | {"force": True}
WARNING = (
    "Your unit only has 2 Unit Admins. This poses a high risk of data loss. We HIGHLY recommend that "
    "you do not create this project until there are more Unit Admins connected to your unit."
)


async def create(world: World, who: str = "admin1", **changes: Any) -> tuple[int, Any]:
    """Ask for a project; return status and body."""
    answer = await world.call("POST", "/proj/create", who, json=FORCED | changes)
    return answer.status_code, answer.json()


async def all_of(world: World, table: Any) -> list[Any]:
    """Return a table's rows."""
    async with reading(world.services, System()) as work:
        return list((await work.session.execute(select(table))).scalars())


class TestCreate:
    """What is said of a new project."""

    async def test_the_answer(self, world: World) -> None:
        assert await create(world, non_sensitive=True) == (
            200,
            {
                "status": 200,
                "message": "Added new project 'A title'",
                "project_id": "unit100001",
                "user_addition_statuses": [],
            },
        )
        [project] = await all_of(world, Project)
        assert project.non_sensitive is True
        assert re.fullmatch(r"unit100001-260302120000000000-[0-9a-f]{8}", project.bucket)
        [entry] = await all_of(world, StatusEntry)
        assert (entry.status, entry.deadline) == ("In Progress", None)

    @pytest.mark.parametrize(
        ("changes", "answer"),
        [
            ({"force": "yes"}, {"message": "`force` is a boolean value: True or False."}),
            ({"force": 1}, {"message": "`force` is a boolean value: True or False."}),
            ({"force": None}, {"message": "`force` is a boolean value: True or False."}),
            ({"title": None}, {"title": {"message": "Title is required."}}),
            (
                {"description": None},
                {"description": {"message": "A project description is required."}},
            ),
            ({"pi": None}, {"pi": {"message": "A principal investigator is required."}}),
            ({"title": ""}, {"title": ["Shorter than minimum length 1."]}),
            ({"description": ""}, {"description": ["Shorter than minimum length 1."]}),
            ({"pi": ""}, {"pi": ["The PI email is invalid."]}),
            ({"pi": "x" * 70_000 + "@example.org"}, {"pi": ["The PI email is invalid."]}),
            ({"pi": "nobody"}, {"pi": ["The PI email is invalid."]}),
            ({"title": 5}, {"title": ["Not a valid string."]}),
            ({"title": ["a"]}, {"title": ["Not a valid string."]}),
            ({"description": {"a": 1}}, {"description": ["Not a valid string."]}),
            ({"pi": True}, {"pi": ["Not a valid string."]}),
            (
                {"title": "a! b"},
                {"title": ["The character '!' within '[italic]a! b[/italic]' is not allowed."]},
            ),
            (
                {"title": "a? b!"},
                {
                    "title": [
                        "The characters '? !' within '[italic]a? b![/italic]' are not allowed."
                    ]
                },
            ),
            ({"description": "so 😀"}, {"description": ["This input is not allowed: 😀"]}),
            ({"title": "x" * 501}, {"title": ["Longer than maximum length 500."]}),
            ({"description": "x" * 10_001}, {"description": ["Longer than maximum length 10000."]}),
            ({"non_sensitive": "banana"}, {"non_sensitive": ["Not a valid boolean."]}),
            ({"non_sensitive": None}, {"non_sensitive": ["Not a valid boolean."]}),
            (
                {"title": "a!", "pi": "b"},
                {
                    "title": ["The character '!' within '[italic]a![/italic]' is not allowed."],
                    "pi": ["The PI email is invalid."],
                },
            ),
            (
                {"users_to_add": {"email": "a@example.org"}},
                {"message": "`users_to_add` is a list of people: {'email': …, 'role': …}."},
            ),
        ],
    )
    async def test_what_cannot_be_used_is_refused_field_by_field(
        self, world: World, changes: dict[str, Any], answer: Any
    ) -> None:
        assert await create(world, **changes) == (400, answer)
        assert await all_of(world, Project) == []

    @pytest.mark.parametrize("field", ["title", "description", "pi"])
    async def test_an_absent_field_is_a_missing_one(self, world: World, field: str) -> None:
        body = {key: value for key, value in FORCED.items() if key != field}
        answer = await world.call("POST", "/proj/create", "admin1", json=body)
        assert answer.status_code == 400
        assert set(answer.json()[field]) == {"message"}

    @pytest.mark.parametrize("role", [Role.UNIT_ADMIN, Role.UNIT_PERSONNEL])
    async def test_one_admin_is_too_few(self, world: World, role: Role) -> None:
        await deactivate(world, "admin2b")
        who = "admin2" if role is Role.UNIT_ADMIN else "staff2"
        message = (
            "Your unit does not have enough Unit Admins. "
            "At least two Unit Admins are required for a project to be created."
        )
        for force in (True, False):
            assert await create(world, who, force=force, title="!") == (403, {"message": message})

    async def test_two_admins_are_warned_and_asked(self, world: World) -> None:
        assert await create(world, "admin2", force=False, title="!") == (200, {"warning": WARNING})
        assert await all_of(world, Project) == []
        assert (await create(world, "admin2"))[1]["project_id"] == "unit200001"

    async def test_three_admins_are_not(self, world: World) -> None:
        body = {key: value for key, value in FORCED.items() if key != "force"}
        answer = await world.call("POST", "/proj/create", "staff1", json=body)
        assert answer.json()["project_id"] == "unit100001"

    async def test_the_key_is_wrapped_for_every_unit_user_with_a_key_and_nobody_else(
        self, world: World
    ) -> None:
        await change(world, "admin1b", public_key=None, wrapped_private_key=None)
        await deactivate(world, "admin1c")
        project = await world.project("staff1", "researcher1")
        async with reading(world.services, System()) as work:
            users = User.columns()
            found = await work.session.execute(
                select(users.username).join(KeyWrap, KeyWrap.columns().user_id == users.id)
            )
            holders = set(found.scalars())
        assert holders == {"admin1", "staff1", "researcher1"}
        keys = set()
        for who in ("admin1", "staff1"):
            answer = await world.call("GET", f"/proj/private?project={project}", who)
            keys.add(answer.json()["private"])
        assert len(keys) == 1

    async def test_ten_at_the_same_moment_get_ten_numbers(self, world: World) -> None:
        for who in ("admin1", "staff1"):
            await world.token_of(who)
        answers = await asyncio.gather(
            *(create(world, ("admin1", "staff1")[n % 2]) for n in range(10))
        )
        ids = sorted(body["project_id"] for _, body in answers)
        assert ids == [f"unit1{number:05d}" for number in range(1, 11)]

    async def test_units_count_apart(self, world: World) -> None:
        ids = [await world.project(who) for who in ("admin1", "admin2", "admin1")]
        assert ids == ["unit100001", "unit200001", "unit100002"]

    @pytest.mark.parametrize("reference", ["U" * 50, "a.b" * 16 + "xx", "_" * 50, "x.-y", "Ünit"])
    async def test_any_unit_reference_makes_a_bucket_name(
        self, world: World, reference: str
    ) -> None:
        async with transaction(world.services, System()) as work:
            units = Unit.columns()
            await work.session.execute(
                update(Unit).where(units.public_id == "unit1").values(internal_ref=reference)
            )
        status, body = await create(world)
        assert (status, body["project_id"]) == (200, f"{reference}00001")
        [project] = await all_of(world, Project)
        assert 3 <= len(project.bucket) <= 63
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*[a-z0-9]", project.bucket)

    async def test_a_failure_leaves_nothing(self, world: World) -> None:
        await world.token_of("admin1")
        async with transaction(world.services, System()) as work:
            users = User.columns()
            await work.session.execute(
                update(User).where(users.username == "staff1").values(public_key=b"not a key")
            )
        before = len(await all_of(world, AuditEntry))
        people = [{"email": "new@example.org", "role": "Researcher"}]
        assert (await create(world, users_to_add=people))[0] >= 400
        for table in (Project, StatusEntry, KeyWrap, Membership, Invite):
            assert await all_of(world, table) == []
        assert len(await all_of(world, AuditEntry)) == before
        assert await all_of(world, Job) == []
        assert [unit.project_counter for unit in await all_of(world, Unit)] == [0, 0]
        assert await mails(world, "new") == []


class TestPeopleOfANewProject:
    """``users_to_add``: each is let in, invited, or told why not; the project is made all the same."""

    async def said(self, world: World, *people: Any) -> list[str]:
        status, body = await create(world, users_to_add=list(people))
        assert status == 200
        return list(body["user_addition_statuses"])

    async def users(self, world: World) -> list[dict[str, str]]:
        answer = await world.call("GET", "/proj/users?project=unit100001", "admin1")
        return list(answer.json()["research_users"])

    async def test_a_researcher(self, world: World) -> None:
        said = await self.said(world, {"email": "researcher1@example.org", "role": "Researcher"})
        assert said == [
            "User researcher1 was given access to the Project unit100001 as a Researcher. "
            "An e-mail notification has not been sent."
        ]
        assert await self.users(world) == [
            {
                "User Name": "researcher1",
                "Primary email": "researcher1@example.org",
                "Role": "Researcher",
            }
        ]
        assert await mails(world, "researcher1", "project_released") == []

    async def test_an_owner_by_another_spelling_of_the_address(self, world: World) -> None:
        said = await self.said(world, {"email": "Researcher1@EXAMPLE.org", "role": "Project Owner"})
        assert said[0].startswith("User researcher1 was given access to the Project unit100001 as")
        assert [one["Role"] for one in await self.users(world)] == ["Owner"]

    async def test_an_unknown_address_is_invited_with_a_link_whose_secret_no_server_sees(
        self, world: World
    ) -> None:
        said = await self.said(world, {"email": "new@example.org", "role": "Researcher"})
        assert said == [
            "Invitation sent to new@example.org. "
            "The user should have a valid account to be added to a project"
        ]
        assert await self.users(world) == [
            {
                "User Name": "NA (Pending)",
                "Primary email": "new@example.org (Pending)",
                "Role": "Researcher (Pending)",
            }
        ]
        letter = await world.newest_mail("new@example.org", "invite")
        assert re.search(r"http://127\.0\.0\.1:5000/register#[\w-]{43}\s", letter)
        [envelope] = await mails(world, "new")
        assert "invites you to the" in envelope.subject
        wraps = [wrap for wrap in await all_of(world, KeyWrap) if wrap.invite_id]
        assert len(wraps) == 1

    async def test_a_pending_invite_is_used_again(self, world: World) -> None:
        owner = {"email": "new@example.org", "role": "Project Owner"}
        await self.said(world, owner)
        await self.said(world, owner)
        assert len(await all_of(world, Invite)) == 1
        assert len(await mails(world, "new", "invite")) == 1
        assert [one["Role"] for one in await self.users(world)] == ["Owner (Pending)"]
        assert len([wrap for wrap in await all_of(world, KeyWrap) if wrap.invite_id]) == 2

    async def test_invited_into_two_projects_at_the_same_moment(self, world: World) -> None:
        await world.token_of("admin1")
        person = {"email": "new@example.org", "role": "Researcher"}
        said = await asyncio.gather(*(self.said(world, person) for _ in range(4)))
        assert {text[0].partition(".")[0] for text in said} == {"Invitation sent to new@example"}
        assert len(await all_of(world, Invite)) == 1
        assert len(await all_of(world, Membership)) == 4

    @pytest.mark.parametrize(
        "email", ["bad", "", None, 5, ["a@example.org"], {"a": 1}, "a@b@c.org"]
    )
    async def test_a_malformed_address(self, world: World, email: Any) -> None:
        said = await self.said(world, {"email": email, "role": "Researcher"})
        assert said == [f"Error for '{email}': {{'email': ['Not a valid email address.']}}"]

    @pytest.mark.parametrize("one", ["text", 5, None, [], True, {}])
    async def test_what_is_no_person(self, world: World, one: Any) -> None:
        said = await self.said(world, one)
        assert said == ["Error for 'None': {'email': ['Not a valid email address.']}"]

    @pytest.mark.parametrize("role", ["Banana", "", None, 5, ["Researcher"], {}, "researcher"])
    async def test_an_unknown_role(self, world: World, role: Any) -> None:
        said = await self.said(world, {"email": "new@example.org", "role": role})
        assert said == ["Invalid user role."]
        assert await all_of(world, Invite) == []

    @pytest.mark.parametrize("role", ["Unit Admin", "Unit Personnel", "Super Admin"])
    async def test_a_role_that_projects_do_not_have(self, world: World, role: str) -> None:
        said = await self.said(world, {"email": "new@example.org", "role": role})
        assert said == [
            "User Role should be either 'Project Owner' or 'Researcher' to be added to a project"
        ]

    async def test_a_unit_user(self, world: World) -> None:
        for who in ("staff1", "admin2"):
            said = await self.said(world, {"email": EMAIL.format(who), "role": "Researcher"})
            assert said == [
                "Users affiliated with units can not be added to projects individually."
            ]

    async def test_somebody_who_has_not_set_a_password(self, world: World) -> None:
        async with transaction(world.services, System()) as work:
            await a_user(work.session, username="fresh", email="fresh@example.org")
        [said] = await self.said(world, {"email": "fresh@example.org", "role": "Researcher"})
        assert said.startswith("User fresh has not set a password yet")
        assert await self.users(world) == []

    async def test_the_same_person_twice(self, world: World) -> None:
        one = {"email": "researcher1@example.org", "role": "Researcher"}
        new = {"email": "new@example.org", "role": "Researcher"}
        said = await self.said(world, one, one, new, new, one | {"role": "Project Owner"})
        assert said[1] == (
            "User researcher1 is already associated with the Project unit100001 in this capacity. "
        )
        assert said[3] == (
            "Pending invite for new@example.org is already associated with the Project unit100001 "
            "in this capacity. "
        )
        assert [one["Role"] for one in await self.users(world)] == ["Owner", "Researcher (Pending)"]
        assert len(await mails(world, "new")) == 1

    async def test_one_failure_leaves_the_others(self, world: World) -> None:
        said = await self.said(
            world,
            {"email": "bad", "role": "Researcher"},
            {"email": "researcher1@example.org", "role": "Researcher"},
            {"email": "staff1@example.org", "role": "Researcher"},
            {"email": "new@example.org", "role": "Researcher"},
        )
        assert len(said) == 4
        assert len(await self.users(world)) == 2


class TestList:
    """``dds ls``."""

    async def test_a_unit_sees_its_own_with_who_made_them(self, world: World) -> None:
        project = await world.project("staff1")
        await world.project("admin2")
        await world.add_file(project, "a.txt")
        answer = await world.call("GET", "/proj/list", "admin1", json={"usage": False})
        assert answer.json() == {
            "project_info": [
                {
                    "Project ID": "unit100001",
                    "Title": "A title",
                    "PI": "pi@example.org",
                    "Status": "In Progress",
                    "Last updated": "Mon, 02 Mar 2026 12:00:00 GMT",
                    "Created by": "Staff1",
                    "Size": 500,
                    "Access": True,
                }
            ],
            "total_size": 500,
            "total_usage": {"usage": 0.0, "cost": 0.0},
            "always_show": True,
        }

    async def test_a_researcher_sees_theirs_with_the_units_name(self, world: World) -> None:
        await world.project("admin1", "researcher1")
        await world.project("admin1", "researcher2")
        answer = (await world.call("GET", "/proj/list", "researcher1")).json()
        assert [one["Project ID"] for one in answer["project_info"]] == ["unit100001"]
        async with reading(world.services, System()) as work:
            units = Unit.columns()
            found = await work.session.execute(
                select(units.external_display_name).where(units.public_id == "unit1")
            )
            assert answer["project_info"][0]["Created by"] == found.scalar_one()
        assert answer["always_show"] is False
        assert "total_usage" not in answer

    async def test_a_super_admin_sees_all_and_has_access_to_none(self, world: World) -> None:
        await world.project("admin1")
        await world.project("admin2")
        answer = (await world.call("GET", "/proj/list", "super")).json()
        assert [one["Access"] for one in answer["project_info"]] == [False, False]
        assert answer["always_show"] is True

    async def test_inactive_ones_are_shown_only_when_asked_for(self, world: World) -> None:
        await world.project("admin1")
        async with transaction(world.services, System()) as work:
            await work.session.execute(
                update(Project).values(active=False, title=None, pi=None, created_by=None)
            )
        assert (await world.call("GET", "/proj/list", "admin1")).json()["project_info"] == []
        answer = await world.call("GET", "/proj/list", "admin1", json={"show_all": True})
        [shown] = answer.json()["project_info"]
        assert shown["Last updated"] == "Mon, 02 Mar 2026 12:00:00 GMT"
        assert (shown["Title"], shown["Created by"]) == (None, "Former User")

    @pytest.mark.parametrize("edition", ["v1", "v3"])
    async def test_both_editions_take_a_body(self, world: World, edition: str) -> None:
        await world.project("admin1")
        async with transaction(world.services, System()) as work:
            await work.session.execute(update(Project).values(active=False))
        body = {"show_all": True}
        answer = await world.call("GET", "/proj/list", "admin1", json=body, edition=edition)
        assert len(answer.json()["project_info"]) == 1


class TestOneProject:
    """``proj/info``, ``proj/public``, ``proj/private``, ``proj/users``, ``proj/upload/complete``."""

    async def test_its_description(self, world: World) -> None:
        project = await world.project("admin1", "researcher1")
        for who, creator in (("staff1", "Admin1"), ("super", "Admin1")):
            answer = await world.call("GET", f"/proj/info?project={project}", who)
            assert answer.json() == {
                "project_info": {
                    "Project ID": project,
                    "Created by": creator,
                    "Status": "In Progress",
                    "Last updated": "Mon, 02 Mar 2026 12:00:00 GMT",
                    "Size": 0,
                    "Title": "A title",
                    "Description": "What it is",
                    "PI": "pi@example.org",
                }
            }

    async def test_its_keys_belong_together(self, world: World) -> None:
        project = await world.project("admin1")
        public = (await world.call("GET", f"/proj/public?project={project}", "staff1")).json()
        private = (await world.call("GET", f"/proj/private?project={project}", "staff1")).json()
        assert re.fullmatch(r"[0-9A-F]{64}", public["public"])
        assert re.fullmatch(r"[0-9A-F]{64}", private["private"])
        pair = pair_of(SecretBytes(bytes.fromhex(private["private"])))
        assert pair.public.hex().upper() == public["public"]

    async def test_a_lost_key_says_whom_to_ask(self, world: World) -> None:
        project = await world.project("admin1", "researcher1")
        await world.release(project)
        async with transaction(world.services, System()) as work:
            for wrap in (await work.session.execute(select(KeyWrap))).scalars():
                await work.session.delete(wrap)
        async with reading(world.services, System()) as work:
            unit = (
                await work.session.execute(select(Unit).where(Unit.columns().public_id == "unit1"))
            ).scalar_one()
        for who in ("admin1", "researcher1"):
            answer = await world.call("GET", f"/proj/private?project={project}", who)
            assert answer.status_code == 403
            assert answer.json() == {
                "message": "You have lost access to this project. This is likely due to a password "
                "reset, in which case you have lost access to all active projects. In order to "
                "regain access to this project, please contact "
                f"{unit.external_display_name} ({unit.contact_email}) "
                "and ask them to run 'dds project access fix'."
            }
            shown = (await world.call("GET", "/proj/list", who)).json()["project_info"]
            assert [one["Access"] for one in shown] == [False]

    async def test_a_key_that_was_tampered_with_does_not_open(self, world: World) -> None:
        project = await world.project("admin1")
        async with transaction(world.services, System()) as work:
            await work.session.execute(update(KeyWrap).values(blob=b"\x01\x02" + b"x" * 80))
        answer = await world.call("GET", f"/proj/private?project={project}", "admin1")
        assert answer.status_code == 403
        assert answer.json() == {"message": "Your key could not be opened. Please log in again."}

    async def test_researchers_get_the_private_key_only_while_it_is_available(
        self, world: World
    ) -> None:
        project = await world.project("admin1", "researcher1")
        path = f"/proj/private?project={project}"
        assert (await world.call("GET", path, "researcher1")).status_code == 403
        await world.release(project)
        assert (await world.call("GET", path, "researcher1")).status_code == 200
        await world.release(project, new_status="In Progress")
        assert (await world.call("GET", path, "researcher1")).status_code == 403
        assert (await world.call("GET", path, "staff1")).status_code == 200

    async def test_the_end_of_an_upload_is_noted(self, world: World) -> None:
        project = await world.project("admin1")
        world.clock.advance(days=1)
        answer = await world.call("POST", f"/proj/upload/complete?project={project}", "staff1")
        assert answer.json() == {"message": "Project upload timestamp updated."}
        info = (await world.call("GET", f"/proj/info?project={project}", "staff1")).json()
        assert info["project_info"]["Last updated"] == "Tue, 03 Mar 2026 12:00:00 GMT"

    async def test_no_upload_ends_in_a_project_that_is_not_in_progress(self, world: World) -> None:
        project = await world.project("admin1")
        for new_status in ("Available", "Expired"):
            await world.release(project, new_status=new_status)
            answer = await world.call("POST", f"/proj/upload/complete?project={project}", "staff1")
            assert answer.status_code == 400
            assert answer.json() == {
                "message": "Project not in right status to upload/modify files."
            }


class TestDates:
    """``Last updated`` is English and there, whatever the locale and whatever became of the project."""

    @pytest.fixture
    def swedish(self) -> Iterator[None]:
        """The process in another language, where the system has one."""
        before = locale.setlocale(locale.LC_ALL)
        for name in ("sv_SE.UTF-8", "de_DE.UTF-8", "fr_FR.UTF-8"):
            try:
                locale.setlocale(locale.LC_ALL, name)
            except locale.Error:
                continue
            yield
            locale.setlocale(locale.LC_ALL, before)
            return
        pytest.skip("no other locale on this system")

    @pytest.mark.usefixtures("swedish")
    async def test_the_names_are_english_in_any_locale(self, world: World) -> None:
        await world.project("admin1")
        [shown] = (await world.call("GET", "/proj/list", "admin1")).json()["project_info"]
        assert shown["Last updated"] == "Mon, 02 Mar 2026 12:00:00 GMT"


async def test_an_owner_is_listed_among_the_people(world: World) -> None:
    people = [{"email": "researcher1@example.org", "role": "Project Owner"}]
    assert (await create(world, users_to_add=people))[0] == 200
    async with transaction(world.services, System()) as work:
        users = User.columns()
        found = await work.session.execute(select(users.id).where(users.username == "researcher1"))
        user_id = found.scalar_one()
        work.session.add(UserEmail(user_id=user_id, email="second@example.org", is_primary=False))
    answer = await world.call("GET", "/proj/users?project=unit100001", "researcher1")
    assert answer.json() == {
        "research_users": [
            {
                "User Name": "researcher1",
                "Primary email": "researcher1@example.org",
                "Role": "Owner",
            }
        ]
    }
