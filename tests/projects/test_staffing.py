"""How an operator invites, and what somebody invited that way can and cannot open."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from ddsd.access import Nobody, Operator, Role, System
from ddsd.audit.tables import AuditEntry
from ddsd.errors import AlreadyExists, Busy, DdsError, Forbidden, InvalidInput, NotFound
from ddsd.keys.tables import KeyWrap
from ddsd.mail import outbox
from ddsd.projects import staffing
from ddsd.projects.staffing import Asked, Pending
from ddsd.secret import SecretText
from ddsd.users import registration
from ddsd.users.registration import Applicant
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.world import PASSWORD, World

ROOT = Operator(0, "root")
NEW = "new@example.org"


async def invite(
    services: Services,
    email: str = NEW,
    role: Role = Role.UNIT_PERSONNEL,
    unit: str | None = "unit1",
) -> Asked:
    async with transaction(services, ROOT) as work:
        return await staffing.invite(work, email, role, unit)


async def pending(services: Services) -> Sequence[Pending]:
    async with reading(services, ROOT) as work:
        return await staffing.pending(work)


async def withdraw(services: Services, email: str = NEW) -> Pending:
    async with transaction(services, ROOT) as work:
        return await staffing.withdraw(work, email)


async def link(services: Services) -> SecretText:
    async with reading(services, System()) as work:
        newest = (await outbox.listing(work, 1, NEW))[0]
        text = (await outbox.show(work, newest.id)).text
    return SecretText(next(word for word in text.split() if "/register#" in word))


async def test_somebody_invited_to_a_unit_joins_it_and_opens_nothing_yet(world: World) -> None:
    first, other = await world.project("admin1"), await world.project("admin2")
    asked = await invite(world.services)
    assert (asked.closed, asked.invite.unit_public_id) == ([first], "unit1")
    assert other not in asked.closed
    who = Applicant("newcomer", "New Comer", SecretText(PASSWORD))
    user = await registration.register(
        world.services, await link(world.services), who, address="192.0.2.7"
    )
    async with reading(world.services, ROOT) as work:
        wraps = select(KeyWrap).where(KeyWrap.columns().user_id == user.id)
        assert (await work.session.scalars(wraps)).all() == []
    assert user.role is Role.UNIT_PERSONNEL
    assert await pending(world.services) == []


async def test_a_super_admin_is_invited_in_the_name_of_the_facility(world: World) -> None:
    asked = await invite(world.services, role=Role.SUPER_ADMIN, unit=None)
    assert asked.closed == ()
    letter = await world.newest_mail(NEW, "invite")
    assert world.services.settings.instance.facility in letter


@pytest.mark.parametrize(
    ("email", "role", "unit", "kind", "says"),
    [
        (NEW, Role.RESEARCHER, None, InvalidInput, "dds user add"),
        (NEW, Role.UNIT_ADMIN, None, InvalidInput, "say which one"),
        (NEW, Role.SUPER_ADMIN, "unit1", InvalidInput, "leave the unit out"),
        (NEW, Role.UNIT_ADMIN, "nowhere", NotFound, "There is no unit"),
        ("new", Role.SUPER_ADMIN, None, InvalidInput, "@-sign"),
        ("Staff1@example.org", Role.SUPER_ADMIN, None, AlreadyExists, "account staff1"),
    ],
)
async def test_who_cannot_be_invited(
    world: World, email: str, role: Role, unit: str | None, kind: type[DdsError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        await invite(world.services, email, role, unit)
    assert await pending(world.services) == []


async def test_a_second_invite_says_how_to_send_a_new_link(world: World) -> None:
    await invite(world.services)
    with pytest.raises(AlreadyExists, match="ddsctl invite delete new@"):
        await invite(world.services, role=Role.UNIT_ADMIN)
    (waiting,) = await pending(world.services)
    assert waiting.role is Role.UNIT_PERSONNEL


async def test_of_two_invites_at_once_one_is_made(world: World) -> None:
    both = await asyncio.gather(
        invite(world.services), invite(world.services), return_exceptions=True
    )
    (refused,) = [one for one in both if isinstance(one, BaseException)]
    assert isinstance(refused, AlreadyExists | Busy)
    assert len(await pending(world.services)) == 1


async def test_invites_of_researchers_are_listed_with_their_projects(world: World) -> None:
    project = await world.project("admin1", "stranger")
    await invite(world.services)
    listed = [
        (one.email, one.unit_public_id, one.projects) for one in await pending(world.services)
    ]
    assert listed == [(NEW, "unit1", ()), ("stranger@example.org", None, [project])]


async def test_a_withdrawn_invite_leads_nowhere(world: World) -> None:
    await invite(world.services)
    mailed = await link(world.services)
    gone = await withdraw(world.services, "New@Example.org")
    assert (gone.email, gone.unit_public_id) == (NEW, "unit1")
    with pytest.raises(NotFound):
        await registration.look_up(world.services, mailed)
    with pytest.raises(NotFound, match="ddsctl invite ls"):
        await withdraw(world.services)
    await invite(world.services)


async def test_an_expired_invite_does_not_wait(world: World, clock: SettableClock) -> None:
    await invite(world.services)
    clock.advance(days=8)
    assert await pending(world.services) == []
    with pytest.raises(NotFound):
        await withdraw(world.services)


async def test_only_operators_staff_and_it_is_recorded(world: World) -> None:
    with pytest.raises(Forbidden):
        async with transaction(world.services, Nobody()) as work:
            await staffing.invite(work, NEW, Role.SUPER_ADMIN, None)
    await invite(world.services)
    await withdraw(world.services)
    async with reading(world.services, ROOT) as work:
        columns = AuditEntry.columns()
        query = select(AuditEntry).where(columns.subject == NEW).order_by(columns.id)
        recorded = [(one.actor, one.action) for one in await work.session.scalars(query)]
    assert recorded == [
        ("operator root (uid 0)", "user.invite"),
        ("operator root (uid 0)", "user.withdraw_invite"),
    ]
