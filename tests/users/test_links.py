"""Links: the code they carry, and the first password they set."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select

from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.errors import DdsError, InvalidFields, NotFound
from ddsd.keys.hierarchy import new_secret
from ddsd.secret import SecretText
from ddsd.users import first_password, links
from ddsd.users.tables import OneTimeLink, User
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock, a_user

GOOD = SecretText("Wellen-und-Strand-7")
OTHER = SecretText("Wellen-und-Strand-8")


async def link_for(services: Services, username: str = "newcomer") -> str:
    async with transaction(services, System()) as work:
        query = select(User).where(User.columns().username == username)
        user = (await work.session.execute(query)).scalar_one_or_none()
        if user is None:
            user = await a_user(work.session, username=username)
        return await first_password.issue(work, user)


async def stored(services: Services, username: str = "newcomer") -> User:
    async with reading(services, System()) as work:
        query = select(User).where(User.columns().username == username)
        return (await work.session.execute(query)).scalar_one()


async def links_left(services: Services) -> int:
    async with reading(services, System()) as work:
        query = select(func.count()).select_from(OneTimeLink)
        return int((await work.session.execute(query)).scalar_one())


@pytest.mark.parametrize(
    "typed",
    [
        "{}",
        "  {}\n",
        "https://dds.example.org/set-password#{}",
        "<http://h/register#{}>.",
        "#{}",
        "({})",
    ],
)
def test_a_code_is_found_however_it_is_pasted(typed: str) -> None:
    secret = new_secret()
    code = links.address_of("http://h", "register", secret).partition("#")[2]
    assert links.secret_of(SecretText(typed.format(code))) == secret


def test_a_code_broken_over_lines_is_found() -> None:
    secret = new_secret()
    whole = links.address_of("http://h", "register", secret)
    assert (
        links.secret_of(SecretText("\r\n ".join((whole[:30], whole[30:50], whole[50:])))) == secret
    )


@pytest.mark.parametrize(
    "typed", ["", "#", "A" * 42, "A" * 44, "A" * 42 + "+", "A" * 42 + "=", "é" * 43, "A" * 42 + "٣"]
)
def test_what_is_no_whole_code_is_refused(typed: str) -> None:
    with pytest.raises(NotFound, match="not complete"):
        links.secret_of(SecretText(typed))


async def test_a_new_link_ends_the_earlier_one(services: Services) -> None:
    first, second = await link_for(services), await link_for(services)
    with pytest.raises(NotFound):
        await first_password.use(services, SecretText(first), GOOD)
    await first_password.use(services, SecretText(second), GOOD)


async def test_setting_the_password_makes_a_key_pair_and_is_recorded(services: Services) -> None:
    await first_password.use(services, SecretText(await link_for(services)), GOOD)
    user = await stored(services)
    assert len(user.public_key or b"") == 32
    assert user.auth_verifier is not None
    assert user.password_set_at == services.clock.now()
    assert await links_left(services) == 0
    async with reading(services, System()) as work:
        entries = (await work.session.execute(select(AuditEntry))).scalars().all()
    assert [(one.action, one.subject) for one in entries] == [("user.set_password", "newcomer")]


async def test_of_two_uses_at_once_only_one_sets_the_password(services: Services) -> None:
    code = SecretText(await link_for(services))
    results = await asyncio.gather(
        *(first_password.use(services, code, one) for one in (GOOD, OTHER, GOOD, OTHER)),
        return_exceptions=True,
    )
    won = [one for one in results if isinstance(one, User)]
    assert [type(one) for one in results if not isinstance(one, User)] == [NotFound] * 3
    assert (await stored(services)).auth_verifier == won[0].auth_verifier


async def test_a_weak_password_leaves_the_link_good(services: Services) -> None:
    code = SecretText(await link_for(services))
    with pytest.raises(InvalidFields):
        await first_password.use(services, code, SecretText("weak"))
    await first_password.use(services, code, GOOD)


async def test_a_deactivated_account_gets_no_password(services: Services) -> None:
    code = SecretText(await link_for(services))
    async with transaction(services, System()) as work:
        user = (await work.session.execute(select(User))).scalar_one()
        user.active = False
    with pytest.raises(DdsError, match="Ask whoever sent it"):
        await first_password.use(services, code, GOOD)


async def test_only_expired_links_are_forgotten(services: Services, clock: SettableClock) -> None:
    await link_for(services, "early")
    clock.advance(hours=72)
    await link_for(services, "late")
    clock.advance(seconds=1)
    async with transaction(services, System()) as work:
        assert await links.forget_old(work) == 1
    assert await links_left(services) == 1
