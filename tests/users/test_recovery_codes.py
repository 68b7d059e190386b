"""Recovery codes: shown once, each good once, and nobody else's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select

from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.errors import NotAuthenticated, TooManyRequests
from ddsd.keys.instance import InstanceKey
from ddsd.secret import SecretText
from ddsd.users import recovery_codes, sessions
from ddsd.users.recovery_codes import CODES
from ddsd.users.tables import RecoveryCode, Session, User
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.users.logins import caller_of, fully_in, half_in, newest_letter
from tests.users.people import somebody

SHAPE = re.compile(r"[2-9A-HJ-NP-Z]{4}(-[2-9A-HJ-NP-Z]{4}){3}")


async def made(services: Services, user: User) -> list[str]:
    caller = await caller_of(services, await fully_in(services, user))
    return [code.text() for code in await recovery_codes.make(services, caller)]


async def use(services: Services, user: User, code: str) -> str:
    token = await half_in(services, user)
    return await recovery_codes.log_in(services, token, SecretText(code))


async def left(services: Services, user: User) -> int:
    async with reading(services, System()) as work:
        return (await recovery_codes.remaining(work, user.id)).codes


async def test_ten_codes_without_look_alikes_are_made(services: Services) -> None:
    eva = await somebody(services)
    codes = await made(services, eva)
    assert len(set(codes)) == CODES == 10
    assert all(SHAPE.fullmatch(code) for code in codes)
    assert await left(services, eva) == 10


async def test_a_code_logs_in_in_place_of_the_second_factor_once(services: Services) -> None:
    eva = await somebody(services)
    first, *_ = await made(services, eva)
    token = await use(services, eva, first)
    sessions.require_second_factor(await caller_of(services, token))
    with pytest.raises(NotAuthenticated, match="was used already"):
        await use(services, eva, first)
    assert await left(services, eva) == 9


async def test_every_code_of_a_set_is_good(services: Services, clock: SettableClock) -> None:
    eva = await somebody(services)
    for code in await made(services, eva):
        assert await use(services, eva, code)
        clock.advance(hours=1)
    assert await left(services, eva) == 0


@pytest.mark.parametrize(
    "typed",
    [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code.replace('-', ' ')} "],
    ids=["small", "in one", "with blanks"],
)
async def test_case_blanks_and_hyphens_do_not_matter(
    services: Services, typed: Callable[[str], str]
) -> None:
    eva = await somebody(services)
    first, *_ = await made(services, eva)
    assert await use(services, eva, typed(first))


@pytest.mark.parametrize(
    "code", ["", "ABCD", "A" * 17, "0000-0000-0000-0000", "Ä" * 16, "\x00" * 16]
)
async def test_what_has_not_the_shape_of_a_code_is_refused(services: Services, code: str) -> None:
    eva = await somebody(services)
    await made(services, eva)
    with pytest.raises(NotAuthenticated, match="not one of your recovery codes"):
        await use(services, eva, code)
    assert await left(services, eva) == 10


async def test_a_code_of_another_account_is_refused(services: Services) -> None:
    eva, ola = await somebody(services), await somebody(services)
    first, *_ = await made(services, ola)
    await made(services, eva)
    with pytest.raises(NotAuthenticated):
        await use(services, eva, first)
    assert await use(services, ola, first)


async def test_new_codes_end_the_earlier_ones(services: Services, clock: SettableClock) -> None:
    eva = await somebody(services)
    old, *_ = await made(services, eva)
    clock.advance(hours=1)
    new, *_ = await made(services, eva)
    with pytest.raises(NotAuthenticated):
        await use(services, eva, old)
    assert await use(services, eva, new)
    assert await left(services, eva) == 9


async def test_of_two_who_use_a_code_at_once_one_gets_in(services: Services) -> None:
    eva = await somebody(services)
    first, *_ = await made(services, eva)
    outcomes = await asyncio.gather(
        *(use(services, eva, first) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["NotAuthenticated", "str"]


async def test_of_two_who_make_codes_at_once_one_set_is_left(services: Services) -> None:
    eva = await somebody(services)
    caller = await caller_of(services, await fully_in(services, eva))
    sets = await asyncio.gather(*(recovery_codes.make(services, caller) for _ in range(2)))
    assert await left(services, eva) == 10
    outcomes = await asyncio.gather(
        *(use(services, eva, one[0].text()) for one in sets), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["NotAuthenticated", "str"]


async def test_guesses_are_counted_together_with_other_codes(services: Services) -> None:
    eva = await somebody(services)
    first, *_ = await made(services, eva)
    token = await half_in(services, eva)
    with pytest.raises(TooManyRequests):
        for _ in range(services.settings.security.codes_per_window + 1):
            with pytest.raises(NotAuthenticated):
                await recovery_codes.log_in(services, token, SecretText("2" * 16))
    with pytest.raises(TooManyRequests):
        await recovery_codes.log_in(services, token, SecretText(first))
    assert await left(services, eva) == 10


async def test_codes_are_made_ten_times_an_hour_at_most(
    services: Services, clock: SettableClock
) -> None:
    eva = await somebody(services)
    caller = await caller_of(services, await fully_in(services, eva))
    for _ in range(10):
        last, *_ = await recovery_codes.make(services, caller)
    with pytest.raises(TooManyRequests, match="The last ones you were shown are good"):
        await recovery_codes.make(services, caller)
    assert await use(services, eva, last.text())
    clock.advance(hours=1)
    assert await recovery_codes.make(services, caller)


async def test_the_person_is_told_of_new_codes_and_of_a_used_one(services: Services) -> None:
    eva = await somebody(services)
    first, *_ = codes = await made(services, eva)
    told = await newest_letter(services, "security_notice")
    assert "New recovery codes were made." in told
    await use(services, eva, first)
    used = await newest_letter(services, "recovery_code_used")
    assert "you have 9 of them left" in used
    assert not [code for code in codes if code in told + used]


async def test_making_and_using_are_recorded_without_a_code(services: Services) -> None:
    eva = await somebody(services)
    first, *_ = codes = await made(services, eva)
    await use(services, eva, first)
    async with reading(services, System()) as work:
        entries = (await work.session.execute(select(AuditEntry))).scalars().all()
    made_entry, used_entry, login_entry = entries[-3:]
    assert (made_entry.action, made_entry.actor) == ("recovery_codes.make", f"user {eva.username}")
    assert (used_entry.action, used_entry.facts) == ("recovery_code.use", '{"left": 9}')
    assert '"factor": "recovery code"' in login_entry.facts
    assert not [code for code in codes for entry in entries if code in entry.facts]


async def test_without_the_instance_key_the_rows_lead_to_no_code(
    services: Services, clock: SettableClock
) -> None:
    eva = await somebody(services)
    first, *_ = await made(services, eva)
    other = replace(services, instance_key=InstanceKey.generate())
    with pytest.raises(NotAuthenticated):
        await use(other, eva, first)
    async with reading(services, System()) as work:
        hashes = (await work.session.execute(select(RecoveryCode.columns().code_hash))).scalars()
        assert not [one for one in hashes if first.replace("-", "").encode() in one]


async def test_a_code_opens_nothing_without_the_password(services: Services) -> None:
    eva = await somebody(services)
    first, *_ = await made(services, eva)
    with pytest.raises(NotAuthenticated):
        await recovery_codes.log_in(services, "", SecretText(first))


async def test_a_half_login_that_was_ended_takes_no_code(services: Services) -> None:
    eva = await somebody(services)
    first, *_ = await made(services, eva)
    token = await half_in(services, eva)
    async with transaction(services, System()) as work:
        await sessions.end_all(work, eva.id, "test")
    with pytest.raises(NotAuthenticated, match="Expired"):
        await recovery_codes.log_in(services, token, SecretText(first))
    assert await left(services, eva) == 10
    async with reading(services, System()) as work:
        found = (await work.session.execute(select(Session))).scalars().all()
    assert all(one.revoked_at for one in found)
