"""How many invites are sent: by one person, and to one address."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ddsd.access import Actor, Role, System
from ddsd.errors import TooManyRequests
from ddsd.users import invites, sessions
from ddsd.work import Services, transaction
from tests.builders import SettableClock
from tests.users.people import somebody


def allowing(services: Services, invites_per_hour: int) -> Services:
    settings = services.settings
    security = settings.security.model_copy(update={"invites_per_hour": invites_per_hour})
    return replace(services, settings=settings.model_copy(update={"security": security}))


async def invite(services: Services, email: str, actor: Actor) -> None:
    async with transaction(services, actor) as work:
        await invites.create(
            work, email=email, role=Role.RESEARCHER, unit_id=None, inviter="x", unit_contact=None
        )


async def withdraw(services: Services, email: str) -> None:
    async with transaction(services, System()) as work:
        found = await invites.find(work, email)
        assert found is not None
        await invites.withdraw(work, found)


async def test_an_address_is_invited_five_times_a_day_whoever_asks(
    services: Services, clock: SettableClock
) -> None:
    people = [sessions.member_of(await somebody(services), 1) for _ in range(2)]
    for number in range(5):
        await invite(services, "new@example.org", people[number % 2])
        await withdraw(services, "new@example.org")
    with pytest.raises(TooManyRequests) as refused:
        await invite(services, "new@example.org", System())
    assert 0 < refused.value.retry_after_s <= 24 * 3600
    clock.advance(days=1)
    await invite(services, "new@example.org", System())


async def test_a_person_has_a_number_of_invites_an_hour(
    services: Services, clock: SettableClock
) -> None:
    services = allowing(services, 2)
    one, other = [sessions.member_of(await somebody(services), 1) for _ in range(2)]
    for number in range(2):
        await invite(services, f"new{number}@example.org", one)
    with pytest.raises(TooManyRequests) as refused:
        await invite(services, "new2@example.org", one)
    assert 0 < refused.value.retry_after_s <= 3600
    await invite(services, "new2@example.org", other)
    clock.advance(hours=1)
    await invite(services, "new3@example.org", one)


async def test_an_invite_that_was_not_made_is_not_counted(services: Services) -> None:
    services = allowing(services, 1)
    person = sessions.member_of(await somebody(services), 1)
    with pytest.raises(RuntimeError):
        async with transaction(services, person) as work:
            await invites.create(
                work, email="a@example.org", role=Role.RESEARCHER, unit_id=None,
                inviter="x", unit_contact=None,
            )  # fmt: skip
            raise RuntimeError("something else went wrong")
    await invite(services, "a@example.org", person)


async def test_invites_at_once_are_counted_each(services: Services) -> None:
    services = allowing(services, 3)
    person = sessions.member_of(await somebody(services), 1)
    done = await asyncio.gather(
        *(invite(services, f"new{number}@example.org", person) for number in range(6)),
        return_exceptions=True,
    )
    assert [type(one) for one in done if one is not None] == [TooManyRequests] * 3
