"""Changing an account's address: who can, what it is worth to know a link, and what happens to earlier letters."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from sqlalchemy import select

from ddsd.access import Role, System
from ddsd.audit.tables import AuditEntry
from ddsd.errors import AlreadyExists, DdsError, InvalidFields, NotFound, TooManyRequests
from ddsd.mail import outbox
from ddsd.secret import SecretText
from ddsd.users import accounts, email_change, invites, login, password_reset
from ddsd.users.sessions import Caller
from ddsd.users.tables import User, UserEmail
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.users.logins import caller_of, fully_in, newest_letter
from tests.users.people import PASSWORD, somebody

NEW = "new@example.org"


async def kim(services: Services, **fields: str) -> Caller:
    user = await somebody(services, **{"email": "kim@example.org", "username": "kim"} | fields)
    return await caller_of(services, await fully_in(services, user))


async def want(services: Services, caller: Caller, email: str = NEW) -> str:
    return await email_change.request(services, caller, PASSWORD, email, address="192.0.2.7")


async def link(services: Services, kind: str = "confirm_email") -> SecretText:
    letter = await newest_letter(services, kind)
    return SecretText(next(word for word in letter.split() if "#" in word))


async def confirm(services: Services, caller: Caller, code: SecretText) -> str:
    async with transaction(services, caller.member) as work:
        user = await work.session.get_one(User, caller.user.id)
        return await email_change.confirm(work, user, code)


async def addresses(services: Services, caller: Caller) -> list[str]:
    async with reading(services, System()) as work:
        return await accounts.emails_of(work, caller.user.id)


async def letters_to(services: Services, address: str) -> list[str]:
    async with reading(services, System()) as work:
        return [one.kind for one in await outbox.listing(work, 100, address)]


async def test_a_link_mailed_to_the_new_address_makes_it_the_accounts(services: Services) -> None:
    caller = await kim(services)
    assert await want(services, caller, " New@Example.org ") == NEW
    assert await addresses(services, caller) == ["kim@example.org"]
    assert await confirm(services, caller, await link(services)) == NEW
    assert await addresses(services, caller) == [NEW]
    assert NEW in await newest_letter(services, "email_changed")
    assert (await letters_to(services, "kim@example.org"))[0] == "email_changed"
    async with reading(services, System()) as work:
        table = AuditEntry.columns()
        found = await work.session.scalars(
            select(AuditEntry).where(table.action == "user.change_email")
        )
        entry = found.one()
    assert entry.actor == "user kim"
    assert json.loads(entry.facts) == {"before": "kim@example.org", "now": NEW}


async def test_a_link_works_once_and_for_an_hour(services: Services, clock: SettableClock) -> None:
    caller = await kim(services)
    await want(services, caller)
    used = await link(services)
    await confirm(services, caller, used)
    with pytest.raises(NotFound):
        await confirm(services, caller, used)
    await want(services, caller, "third@example.org")
    clock.advance(hours=1)
    with pytest.raises(NotFound):
        await confirm(services, caller, await link(services))


async def test_whoever_reads_the_mail_of_a_mistyped_address_gains_nothing(
    services: Services,
) -> None:
    caller = await kim(services)
    other = await kim(services, username="eve", email="eve@example.org")
    await want(services, caller)
    with pytest.raises(NotFound):
        await confirm(services, other, await link(services))
    assert await addresses(services, other) == ["eve@example.org"]
    await confirm(services, caller, await link(services))


async def test_the_password_is_asked_for(services: Services) -> None:
    caller = await kim(services)
    with pytest.raises(InvalidFields) as refused:
        await email_change.request(
            services, caller, SecretText("Wrong-horse-1"), NEW, address="192.0.2.7"
        )
    assert list(refused.value.fields) == ["current"]
    assert await letters_to(services, NEW) == []


@pytest.mark.parametrize("email", ["", "kim", "kim@", "KIM@example.org", "kim@ex\u0430mple.org"])
async def test_what_is_no_new_address_is_refused(services: Services, email: str) -> None:
    caller = await kim(services)
    with pytest.raises(InvalidFields) as refused:
        await want(services, caller, email)
    assert list(refused.value.fields) == ["email"]


async def test_an_address_of_another_account_is_told_to_its_reader_alone(
    services: Services,
) -> None:
    caller = await kim(services)
    await kim(services, username="eve", email="eve@example.org")
    assert await want(services, caller, "eve@example.org") == "eve@example.org"
    assert (await letters_to(services, "eve@example.org"))[0] == "email_taken"
    assert "#" not in await newest_letter(services, "email_taken")


async def test_an_address_that_was_invited_waits_for_its_invite(services: Services) -> None:
    caller = await kim(services)
    async with transaction(services, System()) as work:
        await invites.create(
            work, email=NEW, role=Role.RESEARCHER, unit_id=None, inviter="x", unit_contact=None
        )
    await want(services, caller)
    assert (await letters_to(services, NEW))[0] == "email_taken"


async def test_of_two_who_want_one_address_the_first_to_confirm_gets_it(
    services: Services,
) -> None:
    people = [await kim(services), await kim(services, username="eve", email="eve@example.org")]
    codes = []
    for caller in people:
        await want(services, caller)
        codes.append(await link(services))
    done = await asyncio.gather(
        *(confirm(services, *one) for one in zip(people, codes, strict=True)),
        return_exceptions=True,
    )
    assert [type(one) for one in done if isinstance(one, DdsError)] == [AlreadyExists]
    assert [one for one in done if not isinstance(one, DdsError)] == [NEW]
    now = [await addresses(services, caller) for caller in people]
    assert now.count([NEW]) == 1


async def test_what_lies_in_the_earlier_mailbox_is_worthless(services: Services) -> None:
    caller = await kim(services)
    await password_reset.mail_reset_link(services, "kim@example.org")
    reset = await link(services, "reset_password")
    partial = (await login.check_password(services, "kim", PASSWORD, "192.0.2.8")).token
    letter = await newest_letter(services, "one_time_code")
    await want(services, caller)
    await confirm(services, caller, await link(services))
    with pytest.raises(NotFound):
        await password_reset.use(services, reset, SecretText("Other-horse-2"), address="192.0.2.7")
    code = re.search(r"\b[0-9]{8}\b", letter)
    assert code
    with pytest.raises(DdsError):
        await login.check_second_factor(services, partial, mailed=code[0], app=None)
    await login.check_password(services, "kim", PASSWORD, "192.0.2.8")
    assert (await letters_to(services, NEW))[0] == "one_time_code"


async def test_a_second_address_of_ones_own_becomes_the_first(services: Services) -> None:
    caller = await kim(services)
    async with transaction(services, System()) as work:
        work.session.add(UserEmail(user_id=caller.user.id, email=NEW, is_primary=False))
    await want(services, caller)
    await confirm(services, caller, await link(services))
    assert await addresses(services, caller) == [NEW]


async def test_nobody_fills_a_strangers_mailbox(services: Services, clock: SettableClock) -> None:
    people = [await kim(services), await kim(services, username="eve", email="eve@example.org")]
    for number in range(5):
        await want(services, people[number % 2])
    with pytest.raises(TooManyRequests) as refused:
        await want(services, people[0])
    assert 0 < refused.value.retry_after_s <= 3600
    assert len(await letters_to(services, NEW)) == 5
    clock.advance(hours=1)
    await want(services, people[0])
