"""Second factors in the domain: what is issued, used, withdrawn."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import select

from ddsd.access import System
from ddsd.errors import NotAuthenticated, SealBroken
from ddsd.keys.instance import InstanceKey
from ddsd.mail import outbox
from ddsd.mail.tables import Mail
from ddsd.users import codes
from ddsd.users.tables import OneTimeCode, User
from ddsd.work import Services, transaction
from tests.builders import SettableClock, a_user


async def account(services: Services) -> User:
    async with transaction(services, System()) as work:
        return await a_user(work.session)


async def issue(services: Services, user: User) -> str | None:
    """Return the code that was mailed, if one was."""
    async with transaction(services, System()) as work:
        mail = await codes.issue_mailed(work, user, "eva@example.org")
        if mail is None:
            return None
        view = await outbox.show(work, mail.id)
    return next(word for word in view.text.split() if len(word) == 8 and word.isdigit())


async def check(services: Services, user: User, code: str) -> None:
    async with transaction(services, System()) as work:
        await codes.check_mailed(work, user, code)


async def test_codes_differ_between_accounts_and_from_one_to_the_next(
    services: Services, clock: SettableClock
) -> None:
    eva, ola = await account(services), await account(services)
    seen = set()
    for _ in range(5):
        seen |= {await issue(services, eva), await issue(services, ola)}
        clock.advance(hours=1)
    assert len(seen) == 10


async def test_a_code_is_issued_again_only_when_the_last_is_no_good(
    services: Services, clock: SettableClock
) -> None:
    eva = await account(services)
    first = await issue(services, eva)
    assert first is not None
    assert await issue(services, eva) is None
    await check(services, eva, first)
    second = await issue(services, eva)
    assert second not in {None, first}
    clock.advance(seconds=15 * 60)
    assert await issue(services, eva) not in {None, second}


async def test_a_withdrawn_code_is_worthless(services: Services) -> None:
    eva = await account(services)
    code = await issue(services, eva)
    assert code is not None
    async with transaction(services, System()) as work:
        await codes.withdraw_mailed(work, eva.id)
    with pytest.raises(NotAuthenticated, match="No one-time authentication code"):
        await check(services, eva, code)


async def test_without_the_instance_key_the_rows_lead_to_no_code(
    services: Services, clock: SettableClock
) -> None:
    eva = await account(services)
    code = await issue(services, eva)
    assert code is not None
    other = replace(services, instance_key=InstanceKey.generate())
    with pytest.raises(NotAuthenticated, match="Invalid"):
        await check(other, eva, code)
    async with transaction(other, System()) as work:
        mail = (await work.session.execute(select(Mail))).scalar_one()
        with pytest.raises(SealBroken):
            await outbox.show(work, mail.id)


async def test_a_refused_code_is_not_used_up(services: Services) -> None:
    eva = await account(services)
    await issue(services, eva)
    with pytest.raises(NotAuthenticated):
        await check(services, eva, "00000000")
    async with transaction(services, System()) as work:
        assert not (await work.session.get_one(OneTimeCode, eva.id)).used


@pytest.mark.parametrize("minutes", [5, -5])
async def test_a_clock_that_is_set_right_by_five_minutes_leaves_a_mailed_code_good(
    services: Services, clock: SettableClock, minutes: int
) -> None:
    eva = await account(services)
    code = await issue(services, eva)
    assert code is not None
    clock.advance(seconds=60 * minutes)
    await check(services, eva, code)


class TestApp:
    """RFC 6238: SHA-1, six digits, half a minute."""

    SECRET = b"\x31\x32" * 10

    async def eva(self, services: Services) -> User:
        async with transaction(services, System()) as work:
            user = await a_user(work.session)
            purpose = f"totp secret of {user.uid}"
            user.totp_secret = services.instance_key.seal(self.SECRET, purpose)
        return user

    async def check(self, services: Services, user: User, code: str) -> None:
        async with transaction(services, System()) as work:
            await codes.check_app(work, await work.session.get_one(User, user.id), code)

    async def test_a_code_read_from_an_app_is_taken_once(
        self, services: Services, clock: SettableClock
    ) -> None:
        eva = await self.eva(services)
        app = pyotp.TOTP(base64.b32encode(self.SECRET).decode())
        await self.check(services, eva, app.at(clock.now()))
        with pytest.raises(NotAuthenticated, match="at least 90 seconds apart"):
            await self.check(services, eva, app.at(clock.now()))
        clock.advance(seconds=90)
        await self.check(services, eva, app.at(clock.now() - timedelta(seconds=30)))

    @pytest.mark.parametrize("minutes", [5, -5])
    async def test_a_phone_whose_clock_is_five_minutes_off_is_refused(
        self, services: Services, clock: SettableClock, minutes: int
    ) -> None:
        eva = await self.eva(services)
        app = pyotp.TOTP(base64.b32encode(self.SECRET).decode())
        with pytest.raises(NotAuthenticated, match="Invalid time-based token"):
            await self.check(services, eva, app.at(clock.now() + timedelta(minutes=minutes)))
        await self.check(services, eva, app.at(clock.now()))

    async def test_a_wrong_one_starts_no_wait(
        self, services: Services, clock: SettableClock
    ) -> None:
        eva = await self.eva(services)
        right = pyotp.TOTP(base64.b32encode(self.SECRET).decode()).at(clock.now())
        with pytest.raises(NotAuthenticated, match="Invalid time-based token"):
            await self.check(services, eva, f"{(int(right) + 1) % 10**6:06d}")
        await self.check(services, eva, right)

    async def test_without_an_app_no_code_is_right(self, services: Services) -> None:
        with pytest.raises(NotAuthenticated, match="Invalid time-based token"):
            await self.check(services, await account(services), "000000")
