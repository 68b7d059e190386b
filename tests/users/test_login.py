"""Logging in, in the domain: what is recorded, and what a change beside it does."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.errors import InvalidInput, NotAuthenticated
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import MasterSplit
from ddsd.mail import outbox
from ddsd.secret import SecretText
from ddsd.users import login, passwords
from ddsd.users.tables import OneTimeCode, Session, User
from ddsd.work import Services, reading, transaction
from tests.services import CHEAP
from tests.users.people import PASSWORD, somebody


async def code(services: Services) -> str:
    async with reading(services, System()) as work:
        [newest, *_] = await outbox.listing(work)
        view = await outbox.show(work, newest.id)
    return next(word for word in view.text.split() if len(word) == 8 and word.isdigit())


async def test_a_login_is_recorded_with_where_it_came_from(services: Services) -> None:
    user = await somebody(services)
    accepted = await login.check_password(services, user.username, PASSWORD, "192.0.2.7")
    await login.check_second_factor(services, accepted.token, mailed=await code(services), app=None)
    async with reading(services, System()) as work:
        [entry] = (await work.session.execute(select(AuditEntry))).scalars()
    assert (entry.action, entry.subject) == ("session.start", user.username)
    assert json.loads(entry.facts) == {"address": "192.0.2.7", "factor": "HOTP"}


async def test_a_wrong_password_leaves_no_session_and_no_code(services: Services) -> None:
    user = await somebody(services)
    with pytest.raises(NotAuthenticated):
        await login.check_password(services, user.username, SecretText("wrong"), "192.0.2.7")
    async with reading(services, System()) as work:
        for table in (Session, OneTimeCode):
            assert (await work.session.execute(select(table))).all() == []


async def test_neither_factor_is_no_attempt(services: Services) -> None:
    user = await somebody(services)
    accepted = await login.check_password(services, user.username, PASSWORD, "")
    for _ in range(15):
        with pytest.raises(InvalidInput, match="MFA method not supplied"):
            await login.check_second_factor(services, accepted.token, mailed=None, app=None)


class ChangingDeriver(Deriver):
    """The real one; while it runs for the first time, somebody else sets another password."""

    services: Services
    user_id: int
    changed = False

    async def derive(self, password: SecretText, salt: bytes, cost: object) -> MasterSplit:
        if not self.changed:
            self.changed = True
            split, fresh, new_cost = await passwords.derive_new(
                self.services, SecretText("Another-horse-2")
            )
            derived = await super().derive(password, salt, CHEAP)
            async with transaction(self.services, System()) as work:
                row = await work.session.get_one(User, self.user_id)
                passwords.set_first(work, row, split, fresh, new_cost)
            return derived
        return await super().derive(password, salt, CHEAP)


async def test_a_password_that_is_changed_during_the_login_no_longer_logs_in(
    services: Services,
) -> None:
    user = await somebody(services)
    deriver = ChangingDeriver(CHEAP)
    deriver.services, deriver.user_id = services, user.id
    racing = Services(**{**vars(services), "deriver": deriver})
    with pytest.raises(NotAuthenticated, match=login.WRONG):
        await login.check_password(racing, user.username, PASSWORD, "")
    assert deriver.changed
    new = SecretText("Another-horse-2")
    assert (await login.check_password(services, user.username, new, "")).token
