"""Who holds a project's key: wraps are made, opened and forgotten here alone."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from ddsd.access import System
from ddsd.errors import AccessLost, SealBroken
from ddsd.keys import service as keys
from ddsd.keys.service import Holder
from ddsd.keys.tables import KeyWrap
from ddsd.keys.unlocked import Unlocked
from ddsd.users import login
from ddsd.users.tables import User
from ddsd.work import Services, Work, transaction
from tests.builders import a_project, a_unit
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
