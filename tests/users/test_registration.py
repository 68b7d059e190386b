"""Accepting an invite: what moves to the account, what stays if it fails, and invites that nobody accepts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import func, select

from ddsd.access import Role, System
from ddsd.audit.tables import AuditEntry
from ddsd.db.base import METADATA
from ddsd.errors import Busy, InvalidFields, NotFound, SealBroken
from ddsd.keys import service as keys
from ddsd.keys.hierarchy import new_key_pair
from ddsd.keys.service import Holder
from ddsd.keys.tables import KeyWrap
from ddsd.keys.unlocked import unlock_by_kek
from ddsd.mail import outbox
from ddsd.projects.tables import Membership, Project
from ddsd.secret import SecretText
from ddsd.users import invites, registration
from ddsd.users.registration import Applicant
from ddsd.users.tables import Invite, User, UserEmail
from ddsd.work import Services, Work, reading, transaction
from tests.builders import SettableClock, a_project, a_unit

GOOD = SecretText("Wellen-und-Strand-7")
EMAIL = "newcomer@example.org"
ADDRESS = "192.0.2.7"


def applicant(username: str = "newcomer") -> Applicant:
    return Applicant(username, "New Comer", GOOD)


async def create(work: Work, email: str = EMAIL) -> Invite:
    return await invites.create(
        work,
        email=email,
        role=Role.RESEARCHER,
        unit_id=None,
        inviter="Unit 1",
        unit_contact="unit1@example.org",
    )


async def link_to(services: Services, email: str = EMAIL) -> SecretText:
    async with reading(services, System()) as work:
        newest = (await outbox.listing(work, 1, email))[0]
        text = (await outbox.show(work, newest.id)).text
    return SecretText(next(word for word in text.split() if "/register#" in word))


async def let_in(work: Work, project: Project, invite: Invite, *, owner: bool = False) -> bytes:
    """Let the invite into the project with a key; return that key."""
    pair = new_key_pair()
    project.public_key = pair.public
    work.session.add(Membership(project_id=project.id, invite_id=invite.id, owner=owner))
    holder = Holder(public=invite.public_key, invite_id=invite.id)
    keys.wrap_for(work, project.id, project.public_id, pair.private, [holder])
    return pair.private.reveal()


async def rows(services: Services, table: Any) -> Sequence[Any]:
    async with reading(services, System()) as work:
        return (await work.session.execute(select(table))).scalars().all()


async def count(services: Services, table: Any) -> int:
    async with reading(services, System()) as work:
        query = select(func.count()).select_from(table)
        return int((await work.session.execute(query)).scalar_one())


async def test_every_project_and_its_key_move_to_the_account(services: Services) -> None:
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session)
        first, second = [await a_project(work.session, unit) for _ in range(2)]
        invite = await create(work)
        other = await create(work, "other@example.org")
        private = [
            await let_in(work, first, invite, owner=True),
            await let_in(work, second, invite),
        ]
        await let_in(work, first, other)
    user = await registration.register(
        services, await link_to(services), applicant(), address=ADDRESS
    )

    members = await rows(services, Membership)
    assert [(one.user_id, one.owner) for one in members if one.invite_id is None] == [
        (user.id, True),
        (user.id, False),
    ]
    assert [one.invite_id for one in members if one.user_id is None] == [other.id]
    assert {one.invite_id for one in await rows(services, KeyWrap)} == {None, other.id}
    split = await services.deriver.derive(GOOD, user.kdf_salt or b"", services.deriver.cost)
    unlocked = unlock_by_kek(user.wrapped_private_key or b"", kek=split.kek, user_uid=user.uid)
    assert unlocked.public == user.public_key == invite.public_key
    async with reading(services, System()) as work:
        opened = [
            await keys.open_for(work, unlocked, user.id, one.id, one.public_id)
            for one in (first, second)
        ]
    assert [one.reveal() for one in opened] == private


async def test_the_account_is_whole_and_recorded_and_the_invite_gone(services: Services) -> None:
    async with transaction(services, System()) as work:
        await create(work)
    user = await registration.register(
        services, await link_to(services), applicant(), address=ADDRESS
    )
    assert await count(services, Invite) == 0
    (email,) = await rows(services, UserEmail)
    assert (email.user_id, email.email, email.is_primary) == (user.id, EMAIL, True)
    assert (user.role, user.active) == (Role.RESEARCHER, True)
    entry = (await rows(services, AuditEntry))[-1]
    assert (entry.action, entry.subject) == ("user.register", "newcomer")
    assert json.loads(entry.facts) == {"email": EMAIL, "role": "Researcher"}


def test_no_table_refers_to_invites_in_a_way_that_is_not_handed_over() -> None:
    referring = {
        (table.name, key.parent.name)
        for table in METADATA.sorted_tables
        for key in table.foreign_keys
        if key.column.table.name == "invites"
    }
    assert {column for _, column in referring} == {"invite_id"}
    for name, _ in referring:
        assert "user_id" in METADATA.tables[name].columns


async def test_an_invite_that_was_tampered_with_makes_no_account(services: Services) -> None:
    async with transaction(services, System()) as work:
        invite = await create(work)
        sealed = invite.sealed_private_key
        invite.sealed_private_key = sealed[:-1] + bytes([sealed[-1] ^ 1])
    with pytest.raises(SealBroken):
        await registration.register(services, await link_to(services), applicant(), address=ADDRESS)
    assert (await count(services, User), await count(services, Invite)) == (0, 1)


async def test_of_many_registrations_at_once_one_wins(services: Services) -> None:
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session)
        await let_in(work, await a_project(work.session, unit), await create(work))
    link = await link_to(services)
    results = await asyncio.gather(
        *(
            registration.register(services, link, applicant(f"newcomer{n}"), address=ADDRESS)
            for n in range(4)
        ),
        return_exceptions=True,
    )
    (winner,) = [one for one in results if isinstance(one, User)]
    assert [type(one) for one in results if one is not winner] == [NotFound] * 3
    assert await count(services, User) == 1
    assert [one.user_id for one in await rows(services, KeyWrap)] == [winner.id]


async def test_a_project_given_while_registering_is_not_lost(services: Services) -> None:
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session)
        project = await a_project(work.session, unit)
        invite = await create(work)
    link = await link_to(services)
    async with transaction(services, System()) as work:
        await let_in(work, project, invite)
        await work.session.flush()
        registering = asyncio.create_task(
            registration.register(services, link, applicant(), address=ADDRESS)
        )
        await asyncio.sleep(0.3)  # long enough for it to wait at the invite's row
    user = await registering
    assert [one.user_id for one in await rows(services, Membership)] == [user.id]
    assert [one.user_id for one in await rows(services, KeyWrap)] == [user.id]


@pytest.mark.parametrize("taken", ["newcomer", "NEWCOMER"])
async def test_a_username_is_free_only_if_no_other_differs_in_case_alone(
    services: Services, taken: str
) -> None:
    for email in (EMAIL, "second@example.org"):
        async with transaction(services, System()) as work:
            await create(work, email)
    await registration.register(services, await link_to(services), applicant(), address=ADDRESS)
    link = await link_to(services, "second@example.org")
    with pytest.raises(InvalidFields, match="taken"):
        await registration.register(services, link, applicant(taken), address=ADDRESS)


async def test_an_invite_that_expired_waits_for_nobody(
    services: Services, clock: SettableClock
) -> None:
    async with transaction(services, System()) as work:
        await create(work)
    clock.advance(days=7)
    async with transaction(services, System()) as work:
        assert await invites.find(work, EMAIL) is None


async def test_a_second_invite_takes_the_place_of_an_expired_one(
    services: Services, clock: SettableClock
) -> None:
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session)
        await let_in(work, await a_project(work.session, unit), await create(work))
    old = await link_to(services)
    clock.advance(days=7)
    async with transaction(services, System()) as work:
        await create(work)
    assert await count(services, Membership) == await count(services, KeyWrap) == 0
    with pytest.raises(NotFound):
        await registration.look_up(services, old)
    assert (await registration.look_up(services, await link_to(services))).email == EMAIL


async def test_only_expired_invites_are_forgotten(services: Services, clock: SettableClock) -> None:
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session)
        await let_in(work, await a_project(work.session, unit), await create(work))
    clock.advance(days=6)
    async with transaction(services, System()) as work:
        await create(work, "late@example.org")
    clock.advance(days=1)
    async with transaction(services, System()) as work:
        assert await invites.forget_old(work) == 1
    assert [one.email for one in await rows(services, Invite)] == ["late@example.org"]
    assert await count(services, KeyWrap) == 0


async def test_of_two_who_invite_the_same_person_at_once_one_is_told(services: Services) -> None:
    async def invite() -> None:
        async with transaction(services, System()) as work:
            await create(work)

    results = await asyncio.gather(invite(), invite(), return_exceptions=True)
    assert [type(one) for one in results if one is not None] == [Busy]
    assert await count(services, Invite) == 1


def test_a_password_is_not_shown_by_an_application() -> None:
    assert "Wellen" not in repr(applicant())
