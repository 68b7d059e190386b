"""Who holds a project's key: wraps are made, opened and forgotten here alone."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import select

from ddsd.access import Role, System
from ddsd.audit.tables import AuditEntry
from ddsd.errors import AccessLost, Forbidden, SealBroken
from ddsd.keys import service as keys
from ddsd.keys.hierarchy import new_key_pair
from ddsd.keys.service import Holder
from ddsd.keys.tables import KeyWrap, RecoveryKit
from ddsd.keys.unlocked import Unlocked
from ddsd.projects.tables import Project
from ddsd.users import invites, login
from ddsd.users.tables import User
from ddsd.work import Services, Work, reading, transaction
from tests.builders import NOON, a_project, a_unit
from tests.users.people import PASSWORD, somebody


async def unlocked(services: Services, user: User) -> Unlocked:
    assert user.kdf_salt is not None
    split = await services.deriver.derive(PASSWORD, user.kdf_salt, services.deriver.cost)
    return login.unlock(user, split)


def holder(user: User) -> Holder:
    assert user.public_key is not None
    return Holder(public=user.public_key, user_id=user.id)


async def open_as(work: Work, services: Services, user: User, project_id: int, uid: str) -> bytes:
    opened = await keys.open_for(work, await unlocked(services, user), user.id, project_id, uid)
    return opened.reveal()


async def test_every_holder_opens_the_same_key_and_others_none(services: Services) -> None:
    eva, ola, kim = [await somebody(services) for _ in range(3)]
    pair = keys.new_project_pair()
    async with transaction(services, System()) as work:
        project = await a_project(work.session, await a_unit(work.session))
        keys.wrap_for(work, project.id, "p1", pair.private, [holder(eva), holder(ola)])
        for user in (eva, ola):
            opened = await open_as(work, services, user, project.id, "p1")
            assert opened == pair.private.reveal()
        with pytest.raises(AccessLost):
            await open_as(work, services, kim, project.id, "p1")
        assert await keys.holds(work, eva.id, [project.id, 999]) == {project.id: True, 999: False}
        assert await keys.holds(work, kim.id, [project.id]) == {project.id: False}


async def test_a_wrap_opens_for_its_holder_and_its_project_only(services: Services) -> None:
    eva, kim = await somebody(services), await somebody(services)
    async with transaction(services, System()) as work:
        project = await a_project(work.session, await a_unit(work.session))
        private = keys.new_project_pair().private
        keys.wrap_for(work, project.id, "p1", private, [holder(eva)])
        with pytest.raises(SealBroken):
            await open_as(work, services, eva, project.id, "p2")
        row = (await work.session.execute(select(KeyWrap))).scalar_one()
        row.user_id = kim.id
        await work.session.flush()
        with pytest.raises(SealBroken):
            await open_as(work, services, kim, project.id, "p1")


async def test_a_forgotten_project_is_lost_to_all_and_others_stay(services: Services) -> None:
    eva = await somebody(services)
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session)
        gone, kept = await a_project(work.session, unit), await a_project(work.session, unit)
        for project in (gone, kept):
            keys.wrap_for(
                work, project.id, project.public_id, keys.new_project_pair().private, [holder(eva)]
            )
        await keys.forget_project(work, gone.id)
        held = await keys.holds(work, eva.id, [gone.id, kept.id])
        assert held == {gone.id: False, kept.id: True}


async def test_no_wrap_holds_the_key_in_clear_and_no_two_are_alike(services: Services) -> None:
    people = [await somebody(services) for _ in range(2)]
    private = keys.new_project_pair().private
    async with transaction(services, System()) as work:
        project = await a_project(work.session, await a_unit(work.session))
        keys.wrap_for(work, project.id, "p1", private, map(holder, people))
        blobs = list((await work.session.execute(select(KeyWrap.columns().blob))).scalars())
    assert len(set(blobs)) == 2
    assert not any(private.reveal() in blob for blob in blobs)


async def project_of(work: Work, *users: User) -> Project:
    project = await a_project(work.session, await a_unit(work.session))
    private = keys.new_project_pair().private
    keys.wrap_for(work, project.id, project.public_id, private, map(holder, users))
    await work.session.flush()
    return project


async def test_a_shared_key_opens_for_the_new_holder_and_is_wrapped_once(
    services: Services,
) -> None:
    eva, ola = await somebody(services), await somebody(services)
    key = await unlocked(services, eva)
    async with transaction(services, System()) as work:
        project = await project_of(work, eva)
        assert await keys.share(work, key, eva.id, project, [holder(ola), holder(eva)]) == 1
        assert await keys.share(work, key, eva.id, project, [holder(ola)]) == 0
        opened = [
            await open_as(work, services, one, project.id, project.public_id) for one in (eva, ola)
        ]
    assert opened[0] == opened[1]


async def test_who_does_not_hold_a_key_cannot_share_it(services: Services) -> None:
    eva, ola = await somebody(services), await somebody(services)
    key = await unlocked(services, ola)
    async with transaction(services, System()) as work:
        held, foreign = await project_of(work, eva, ola), await project_of(work, eva)
        kim = Holder(public=b"k" * 32, user_id=eva.id)
        with pytest.raises(AccessLost):
            await keys.share(work, key, ola.id, foreign, [kim])
        shared = await keys.share_many(work, key, ola.id, [held, foreign], [])
    assert (shared.wraps, shared.lacking) == (0, [foreign.public_id])


async def test_nothing_is_wrapped_for_a_key_pair_that_was_replaced(services: Services) -> None:
    eva, ola = await somebody(services), await somebody(services)
    old = holder(ola)
    async with transaction(services, System()) as work:
        project = await project_of(work, eva)
        row = await work.session.get_one(User, ola.id)
        row.public_key = b"n" * 32
        await work.session.flush()
        key = await unlocked(services, eva)
        assert await keys.share(work, key, eva.id, project, [old]) == 0
        assert not (await keys.holds(work, ola.id, [project.id]))[project.id]


async def test_several_who_share_at_once_make_one_wrap(services: Services) -> None:
    eva, ola, kim = [await somebody(services) for _ in range(3)]
    async with transaction(services, System()) as work:
        project = await project_of(work, eva, ola)

    async def share(sharer: User) -> int:
        key = await unlocked(services, sharer)
        async with transaction(services, System()) as work:
            return await keys.share(work, key, sharer.id, project, [holder(kim)])

    assert sum(await asyncio.gather(share(eva), share(ola), share(eva))) == 1


async def test_forgetting_a_holder_takes_what_is_named_and_leaves_the_rest(
    services: Services,
) -> None:
    eva, ola = await somebody(services), await somebody(services)
    async with transaction(services, System()) as work:
        first, second = await project_of(work, eva, ola), await project_of(work, eva, ola)
        ids = [first.id, second.id]
        assert await keys.forget_holder(work, [first.id], user_id=eva.id) == 1
        assert await keys.holds(work, eva.id, ids) == {first.id: False, second.id: True}
        assert await keys.forget_holder(work, user_id=ola.id) == 2
        assert await keys.held_projects(work, user_id=eva.id) == [second.id]
        assert await keys.held_projects(work, user_id=ola.id) == []


@pytest.mark.parametrize("whose", [{}, {"user_id": 1, "kit_id": 1}])
async def test_exactly_one_holder_is_forgotten_at_a_time(
    services: Services, whose: dict[str, int]
) -> None:
    async with transaction(services, System()) as work:
        with pytest.raises(ValueError, match="exactly one"):
            await keys.forget_holder(work, None, **whose)


async def test_the_last_holder_cannot_go_and_the_refusal_names_the_projects(
    services: Services,
) -> None:
    eva, ola = await somebody(services), await somebody(services)
    async with transaction(services, System()) as work:
        both, hers, his = [
            await project_of(work, *people) for people in ((eva, ola), (eva,), (ola,))
        ]
        ids = [both.id, hers.id, his.id]
        with pytest.raises(Forbidden, match=f"the key of {hers.public_id}:"):
            await keys.require_another_holder(work, ids, eva.id)
        await keys.require_another_holder(work, [both.id, his.id], eva.id)


async def test_deactivated_people_and_invites_are_no_other_holder(services: Services) -> None:
    eva, ola = await somebody(services), await somebody(services)
    async with transaction(services, System()) as work:
        project = await project_of(work, eva, ola)
        invite = await invites.create(
            work,
            email="a@example.org",
            role=Role.RESEARCHER,
            unit_id=None,
            inviter="",
            unit_contact="",
        )
        await keys.share(
            work,
            await unlocked(services, eva),
            eva.id,
            project,
            [Holder(public=invite.public_key, invite_id=invite.id)],
        )
        (await work.session.get_one(User, ola.id)).active = False
        await work.session.flush()
        with pytest.raises(Forbidden):
            await keys.require_another_holder(work, [project.id], eva.id)


@pytest.mark.parametrize("revoked", [False, True])
async def test_a_recovery_kit_is_another_holder_until_it_is_revoked(
    services: Services, revoked: bool
) -> None:
    eva = await somebody(services)
    async with transaction(services, System()) as work:
        project = await project_of(work, eva)
        kit = RecoveryKit(
            uid="k" * 32, unit_id=project.unit_id, public_key=new_key_pair().public, created_at=NOON
        )
        work.session.add(kit)
        await work.session.flush()
        key = await unlocked(services, eva)
        paper = Holder(public=kit.public_key, kit_id=kit.id)
        assert await keys.share(work, key, eva.id, project, [paper]) == 1
        assert await keys.held_projects(work, kit_id=kit.id) == [project.id]
        kit.revoked_at = NOON if revoked else None
        await work.session.flush()
        if revoked:
            with pytest.raises(Forbidden):
                await keys.require_another_holder(work, [project.id], eva.id)
        else:
            await keys.require_another_holder(work, [project.id], eva.id)
            await keys.forget_holder(work, user_id=eva.id)
            with pytest.raises(Forbidden):
                await keys.require_another_holder(work, [project.id], leaving_kit_id=kit.id)


async def test_a_confirmed_loss_is_recorded_and_other_leavings_are_not(services: Services) -> None:
    eva, ola = await somebody(services), await somebody(services)
    async with transaction(services, System()) as work:
        kept, lost = await project_of(work, eva, ola), await project_of(work, eva)
        await keys.require_another_holder(work, [kept.id, lost.id], eva.id, confirmed=True)
    async with reading(services, System()) as work:
        entries = (await work.session.execute(select(AuditEntry))).scalars().all()
    losses = [one for one in entries if one.action == "project.lose_last_holder"]
    assert [(one.subject, json.loads(one.facts)) for one in losses] == [
        (lost.public_id, {"user": eva.id, "kit": None})
    ]


async def test_of_two_last_holders_who_leave_at_once_one_stays(services: Services) -> None:
    eva, ola = await somebody(services), await somebody(services)
    async with transaction(services, System()) as work:
        project = await project_of(work, eva, ola)

    async def leave(user: User) -> None:
        async with transaction(services, System()) as work:
            await keys.require_another_holder(work, [project.id], user.id)
            await asyncio.sleep(0.05)  # so that the other one asks meanwhile
            await keys.forget_holder(work, user_id=user.id)

    results = await asyncio.gather(leave(eva), leave(ola), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["Forbidden", "NoneType"]
