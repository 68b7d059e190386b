"""Sessions: what lives, what dies, what is forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import delete, select

from ddsd.access import System
from ddsd.errors import NotAuthenticated, SealBroken, SecondFactorRequired, UnknownSubject
from ddsd.users import login, sessions
from ddsd.users.sessions import Caller
from ddsd.users.tables import Session, User
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.users.people import PASSWORD, somebody


async def partial(services: Services, user: User) -> str:
    assert user.kdf_salt is not None
    split = await services.deriver.derive(PASSWORD, user.kdf_salt, services.deriver.cost)
    async with transaction(services, System()) as work:
        row = await work.session.get_one(User, user.id)
        return await sessions.start(work, row, login.unlock(row, split), "192.0.2.7")


async def full(services: Services, user: User) -> str:
    token = await partial(services, user)
    async with transaction(services, System()) as work:
        return await sessions.complete(work, await sessions.find(work, token))


async def find(services: Services, token: str) -> Caller:
    async with reading(services, System()) as work:
        return await sessions.find(work, token)


async def test_a_full_session_opens_the_persons_key(services: Services) -> None:
    user = await somebody(services)
    caller = await find(services, await full(services, user))
    sessions.require_second_factor(caller)
    assert caller.unlock().public == user.public_key
    assert caller.session.address == "192.0.2.7"


async def test_a_partial_one_is_not_enough(services: Services) -> None:
    caller = await find(services, await partial(services, await somebody(services)))
    with pytest.raises(SecondFactorRequired):
        sessions.require_second_factor(caller)


async def test_a_partial_token_does_not_become_full_with_its_row(services: Services) -> None:
    token = await partial(services, await somebody(services))
    async with transaction(services, System()) as work:
        for row in (await work.session.execute(select(Session))).scalars():
            row.second_factor_at = work.now
    caller = await find(services, token)
    with pytest.raises(SecondFactorRequired):
        sessions.require_second_factor(caller)


async def test_rows_of_two_sessions_cannot_be_exchanged(services: Services) -> None:
    by_number = select(Session).order_by(Session.columns().id)
    mine = await full(services, await somebody(services))
    await full(services, await somebody(services))
    async with transaction(services, System()) as work:
        first, second = (await work.session.execute(by_number)).scalars()
        first.sealed_private_key = second.sealed_private_key
    with pytest.raises(SealBroken):
        (await find(services, mine)).unlock()
    async with transaction(services, System()) as work:
        first, second = (await work.session.execute(by_number)).scalars()
        first.verifier = second.verifier
    with pytest.raises(NotAuthenticated, match="Invalid token"):
        await find(services, mine)


async def test_ending_all_ends_only_that_persons(services: Services) -> None:
    eva, ola = await somebody(services), await somebody(services)
    evas, olas = [await full(services, eva) for _ in range(2)], await full(services, ola)
    async with transaction(services, System()) as work:
        assert await sessions.end_all(work, eva.id, "logged out") == 2
        assert await sessions.end_all(work, eva.id, "logged out") == 0
    for token in evas:
        with pytest.raises(NotAuthenticated, match="Expired token"):
            await find(services, token)
    assert (await find(services, olas)).user.id == ola.id


async def test_a_session_whose_row_is_gone_has_no_subject(services: Services) -> None:
    token = await full(services, await somebody(services))
    async with transaction(services, System()) as work:
        await work.session.execute(delete(Session))
    with pytest.raises(UnknownSubject):
        await find(services, token)


async def test_an_account_that_is_gone_takes_its_sessions_along(services: Services) -> None:
    user = await somebody(services)
    token = await full(services, user)
    async with transaction(services, System()) as work:
        await work.session.execute(delete(User).where(User.columns().id == user.id))
    with pytest.raises(UnknownSubject):
        await find(services, token)


async def test_what_ended_is_forgotten_after_a_week(
    services: Services, clock: SettableClock
) -> None:
    user = await somebody(services)
    await partial(services, user)
    await full(services, user)
    async with transaction(services, System()) as work:
        assert await sessions.forget_old(work) == 0
    clock.advance(days=7, seconds=1)
    living = await full(services, user)
    async with transaction(services, System()) as work:
        assert await sessions.forget_old(work) == 1
    clock.set(clock.now() + timedelta(days=6))
    assert (await find(services, living)).user.id == user.id
    clock.set(clock.now() + timedelta(days=2))
    async with transaction(services, System()) as work:
        assert await sessions.forget_old(work) == 1
