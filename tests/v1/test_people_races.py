"""Two at once: whatever the order, everything is as if one had come after the other, and nothing breaks."""

from __future__ import annotations

import asyncio
from collections import Counter

from ddsd.errors import DdsError
from tests.conftest import kind as kind  # both databases: requests race here
from tests.v1 import crowd
from tests.v1.crowd import add, fix, revoke, told
from tests.world import EMAIL, World

R1, R2 = EMAIL.format("researcher1"), EMAIL.format("researcher2")
NEW = "newcomer@example.org"


async def logged_in(world: World, *people: str) -> None:
    for who in people:
        await world.token_of(who)


async def test_of_several_grants_one_lets_in_and_the_others_find_it_done(world: World) -> None:
    project = await world.project()
    await logged_in(world, "admin1", "staff1", "admin1b")
    answers = await asyncio.gather(
        *(add(world, who, R1, project=project) for who in ("admin1", "staff1", "admin1b") * 2)
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 403: 5}
    assert await crowd.members(world, project) == {R1: "Researcher"}
    assert len(await crowd.audited(world, "project.grant")) == 1


async def test_of_several_invites_of_one_person_one_mail_goes_out(world: World) -> None:
    first, second = await world.project(), await world.project("admin2")
    await logged_in(world, "admin1", "staff1", "admin2", "super")
    answers = await asyncio.gather(
        add(world, "admin1", NEW, project=first),
        add(world, "staff1", NEW, "Unit Personnel"),
        add(world, "admin2", NEW, project=second),
        add(world, "super", NEW, "Super Admin"),
        add(world, "super", NEW),
    )
    assert {answer.status_code for answer in answers} <= {200, 400, 403}
    assert await crowd.letters(world, NEW) == ["invite"]
    assert len(await crowd.invited(world)) == 1


async def test_two_units_that_invite_one_researcher_at_once_both_let_them_in(
    world: World,
) -> None:
    first, second = await world.project(), await world.project("admin2")
    await logged_in(world, "admin1", "admin2")
    answers = await asyncio.gather(
        add(world, "admin1", NEW, project=first), add(world, "admin2", NEW, project=second)
    )
    assert [answer.status_code for answer in answers] == [200, 200]
    for project in (first, second):
        assert NEW in await crowd.holders(world, project)
        assert await crowd.members(world, project) == {f"{NEW} (Pending)": "Researcher (Pending)"}
    assert await crowd.letters(world, NEW) == ["invite"]


async def test_a_revocation_during_a_fix_leaves_key_and_place_together(world: World) -> None:
    project = await world.project("admin1", "researcher1")
    await logged_in(world, "admin1", "staff1")
    for _ in range(4):
        await crowd.lose_keys(world, "researcher1")
        answers = await asyncio.gather(
            fix(world, "admin1", R1, project),
            revoke(world, "staff1", R1, project),
            fix(world, "admin1", R1),
        )
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        placed = R1 in await crowd.members(world, project)
        assert ("researcher1" in await crowd.holders(world, project)) == placed
        if not placed:
            assert (await add(world, "admin1", R1, project=project)).status_code == 200


async def test_a_deletion_during_grants_leaves_nothing_behind(world: World) -> None:
    projects = [await world.project() for _ in range(3)]
    await logged_in(world, "admin1", "super")
    answers = await asyncio.gather(
        *(add(world, "admin1", R1, project=project) for project in projects),
        world.call("DELETE", "/user/delete", "super", json={"email": R1}),
    )
    assert {answer.status_code for answer in answers} <= {200, 400}
    for project in projects:
        assert "researcher1" not in await crowd.holders(world, project) or (
            answers[-1].status_code == 400
        )


async def test_a_registration_during_a_grant_brings_the_project_along(world: World) -> None:
    project = await world.project()
    await add(world, "super", NEW)
    await logged_in(world, "admin1")
    granted, _ = await asyncio.gather(
        add(world, "admin1", NEW, project=project), crowd.accept(world, NEW, "newcomer")
    )
    assert granted.status_code == 200, granted.text
    assert "newcomer" in await crowd.holders(world, project)
    assert await crowd.members(world, project) == {NEW: "Researcher"}


async def test_a_project_made_while_a_colleague_is_invited_is_theirs_too(world: World) -> None:
    await logged_in(world, "admin1", "staff1")
    *made, answer = await asyncio.gather(
        world.project("staff1"), world.project("admin1"), add(world, "admin1", NEW, "Unit Admin")
    )
    assert answer.status_code == 200
    for project in made:
        assert NEW in await crowd.holders(world, project)


async def test_of_the_last_two_who_hold_a_key_one_stays(world: World) -> None:
    project = await world.project("admin1", "researcher1", "researcher2")
    await logged_in(world, "admin1", "staff1")
    for who in ("admin1", "admin1b", "admin1c", "staff1"):
        await crowd.lose_keys(world, who)
    answers = await asyncio.gather(
        revoke(world, "admin1", R1, project), revoke(world, "staff1", R2, project)
    )
    assert sorted(answer.status_code for answer in answers) == [200, 403]
    assert len(await crowd.holders(world, project)) == 1


async def test_two_requests_to_delete_oneself_mail_one_link(world: World) -> None:
    await logged_in(world, "researcher1")
    answers = await asyncio.gather(
        *(world.call("DELETE", "/user/delete_self", "researcher1") for _ in range(4))
    )
    assert [answer.status_code for answer in answers] == [200] * 4
    assert (await crowd.letters(world, R1)).count("confirm_deletion") == 1


async def test_an_invite_that_is_withdrawn_while_it_is_accepted_is_one_or_the_other(
    world: World,
) -> None:
    project = await world.project()
    await add(world, "admin1", NEW, project=project)
    body = {"email": NEW, "is_invite": True}
    answer, accepted = await asyncio.gather(
        world.call("DELETE", "/user/delete", "admin1", json=body),
        crowd.accept(world, NEW, "newcomer"),
        return_exceptions=True,
    )
    assert not isinstance(answer, BaseException)
    withdrawn = told(answer)[0] == 200
    assert isinstance(accepted, DdsError) == withdrawn
    holders = await crowd.holders(world, project)
    assert NEW not in holders
    assert ("newcomer" in holders) != withdrawn
