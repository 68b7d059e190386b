"""Standing: who may close or open whose account, what dies with it, and what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import select

from ddsd.access import Actor, Nobody, Operator, System
from ddsd.audit.tables import AuditEntry
from ddsd.errors import Conflict, DdsError, Forbidden
from ddsd.users import links, sessions, standing
from ddsd.users.tables import LinkKind, OneTimeLink, Passkey, RecoveryCode, SecondFactor, User
from ddsd.work import Work, reading, transaction
from tests.world import PEOPLE, World

ROOT = Operator(0, "root")
UNIT_ROLES_ONLY = (
    "You can only activate/deactivate users with the role Unit Admin or Unit Personnel."
)
OWN_UNIT_ONLY = (
    "As a Unit Admin, you can only activate/deactivate other Unit Admins or Unit Personnel "
    "within your specific unit."
)
NOT_YOURSELF = "You cannot deactivate your own account!"
NO = "Insufficient credentials"
OK = ""

Verb = Callable[[Work, User], Awaitable[object]]


async def account(work: Work, who: str) -> User:
    found = await work.session.scalars(select(User).where(User.columns().username == who))
    return found.one()


async def actor(world: World, who: str) -> Actor:
    async with reading(world.services, System()) as work:
        return sessions.member_of(await account(work, who), 0)


async def do(world: World, by: Actor, verb: Verb, whom: str) -> str:
    """Do it; return why it was refused, if so."""
    try:
        async with transaction(world.services, by) as work:
            await verb(work, await account(work, whom))
    except DdsError as no:
        return no.message
    return OK


async def end(work: Work, user: User) -> int:
    return await standing.end_sessions(work, user, "test")


async def status(world: World, who: str) -> int:
    return (await world.call("GET", "/user/info", token=world.tokens[who])).status_code


@pytest.mark.parametrize(
    ("by", "whom", "refusal"),
    [
        ("super", "admin1", OK),
        ("super", "researcher1", OK),
        ("super", "super", NOT_YOURSELF),
        ("admin1", "staff1", OK),
        ("admin1", "admin1b", OK),
        ("admin1", "admin1", NOT_YOURSELF),
        ("admin1", "staff2", OWN_UNIT_ONLY),
        ("admin1", "researcher1", UNIT_ROLES_ONLY),
        ("admin1", "super", UNIT_ROLES_ONLY),
        ("staff1", "staff1", NO),
        ("staff1", "admin1", NO),
        ("researcher1", "researcher2", NO),
    ],
)
async def test_who_may_deactivate_whom(world: World, by: str, whom: str, refusal: str) -> None:
    assert await do(world, await actor(world, by), standing.deactivate, whom) == refusal
    async with reading(world.services, ROOT) as work:
        assert (await account(work, whom)).active == (refusal != OK)


@pytest.mark.parametrize("whom", ["super", "admin1", "staff2", "researcher1"])
async def test_an_operator_may_switch_anybody_and_nobody_may_no_one(
    world: World, whom: str
) -> None:
    assert await do(world, Nobody(), standing.deactivate, whom) == NO
    assert await do(world, ROOT, standing.deactivate, whom) == OK
    assert await do(world, Nobody(), standing.activate, whom) == NO
    assert await do(world, ROOT, standing.activate, whom) == OK


async def test_a_deactivated_account_is_closed_at_once_and_comes_back_with_its_keys(
    world: World,
) -> None:
    project = await world.project("admin1")
    await world.token_of("staff1")
    assert await do(world, ROOT, standing.deactivate, "staff1") == OK
    assert await status(world, "staff1") != 200
    with pytest.raises(AssertionError, match="deactivated"):
        await world.login("staff1")
    assert await do(world, ROOT, standing.activate, "staff1") == OK
    assert await status(world, "staff1") == 401  # the old token stays dead
    del world.tokens["staff1"]
    opened = await world.call("GET", f"/proj/private?project={project}", "staff1")
    assert opened.status_code == 200


async def test_a_login_that_overtook_the_deactivation_does_not_live_on(world: World) -> None:
    assert await do(world, ROOT, standing.deactivate, "staff1") == OK
    async with transaction(world.services, System()) as work:
        (await account(work, "staff1")).active = True
    await world.token_of("staff1")
    async with transaction(world.services, System()) as work:
        (await account(work, "staff1")).active = False
    assert await do(world, ROOT, standing.activate, "staff1") == OK
    assert await status(world, "staff1") == 401


async def test_nothing_is_done_twice(world: World) -> None:
    assert await do(world, ROOT, standing.activate, "staff1") == "User is already reactivated!"
    assert await do(world, ROOT, standing.deactivate, "staff1") == OK
    again = await do(world, ROOT, standing.deactivate, "staff1")
    assert again == "User is already deactivated!"


async def test_of_two_who_deactivate_at_once_one_is_told(world: World) -> None:
    both = await asyncio.gather(
        do(world, ROOT, standing.deactivate, "staff1"),
        do(world, await actor(world, "admin1"), standing.deactivate, "staff1"),
    )
    assert sorted(both) == [OK, "User is already deactivated!"]


async def enrol(world: World, who: str) -> None:
    async with transaction(world.services, System()) as work:
        user = await account(work, who)
        user.second_factor = SecondFactor.APP
        user.totp_secret = user.totp_pending = b"sealed"
        for credential in (b"one", b"two"):
            work.session.add(
                Passkey(
                    user_id=user.id,
                    credential_id=credential,
                    public_key=b"cose",
                    name="A key",
                    created_at=work.now,
                )
            )
        work.session.add(RecoveryCode(user_id=user.id, code_hash=b"hash", created_at=work.now))
        lifetime = world.clock.now() - work.now
        for kind in LinkKind:
            await links.issue(work, user, kind, lifetime)


async def test_a_reset_leaves_mail_as_the_only_factor_and_tells_the_person(world: World) -> None:
    await world.token_of("admin1")
    await enrol(world, "admin1")
    assert await do(world, ROOT, standing.reset_second_factor, "admin1") == OK
    async with reading(world.services, ROOT) as work:
        user = await account(work, "admin1")
        factors = (user.second_factor, user.totp_secret, user.totp_pending)
        left = [list(await work.session.scalars(select(one))) for one in (Passkey, RecoveryCode)]
        kinds = {one.kind for one in await work.session.scalars(select(OneTimeLink))}
    assert factors == (SecondFactor.MAIL, None, None)
    assert left == [[], []]
    assert kinds == set(LinkKind) - {LinkKind.ACTIVATE_APP, LinkKind.ACTIVATE_MAIL}
    assert await status(world, "admin1") == 401
    letter = await world.newest_mail("admin1@example.org", "second_factor_reset")
    assert "admin1" in letter
    del world.tokens["admin1"]
    await world.token_of("admin1")  # with a mailed code


async def test_a_reset_takes_nothing_from_others(world: World) -> None:
    await world.token_of("admin1b")
    await enrol(world, "admin1b")
    assert await do(world, ROOT, standing.reset_second_factor, "admin1") == OK
    async with reading(world.services, ROOT) as work:
        assert (await account(work, "admin1b")).second_factor is SecondFactor.APP
        assert len(list(await work.session.scalars(select(Passkey)))) == 2
    assert await status(world, "admin1b") == 200


@pytest.mark.parametrize("by", sorted(PEOPLE))
async def test_only_super_admins_and_operators_reset_a_second_factor(world: World, by: str) -> None:
    said = await do(world, await actor(world, by), standing.reset_second_factor, "staff1")
    assert said == (OK if by == "super" else NO)


async def test_people_end_their_own_sessions_and_not_those_of_others(world: World) -> None:
    for who in ("researcher1", "researcher2"):
        await world.token_of(who)
    me = await actor(world, "researcher1")
    assert await do(world, me, end, "researcher2") == NO
    assert await do(world, me, end, "researcher1") == OK
    assert [await status(world, who) for who in ("researcher1", "researcher2")] == [401, 200]


async def test_every_change_is_recorded_with_who_made_it(world: World) -> None:
    for verb in (standing.deactivate, standing.activate, standing.reset_second_factor, end):
        assert await do(world, ROOT, verb, "staff1") == OK
    await do(world, ROOT, standing.activate, "staff1")  # refused: leaves nothing
    async with reading(world.services, ROOT) as work:
        columns = AuditEntry.columns()
        query = select(AuditEntry).where(columns.subject == "staff1").order_by(columns.id)
        recorded = [(one.actor, one.action) for one in await work.session.scalars(query)]
    assert recorded == [
        ("operator root (uid 0)", action)
        for action in (
            "user.deactivate",
            "user.activate",
            "user.reset_second_factor",
            "session.end_all",
        )
    ]


async def test_refusals_are_of_the_kinds_that_planes_know(world: World) -> None:
    with pytest.raises(Conflict):
        async with transaction(world.services, ROOT) as work:
            await standing.activate(work, await account(work, "staff1"))
    with pytest.raises(Forbidden):
        async with transaction(world.services, Nobody()) as work:
            await standing.end_sessions(work, await account(work, "staff1"), "test")
