"""The audit log: found by who, what, to whom and when; page by page, without gaps."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ddsd.access import Actor, Nobody, Operator, System
from ddsd.audit import trail
from ddsd.audit.trail import Sought
from ddsd.errors import Forbidden
from ddsd.users.sessions import member_of
from ddsd.work import Services, reading, transaction
from tests.builders import NOON, SettableClock, a_user

ROOT = Operator(0, "root")
MARIA = Operator(7, "maria")
EVERYTHING = Sought()


async def record(services: Services, actor: Actor, action: str, subject: str) -> None:
    async with transaction(services, actor) as work:
        trail.record(work, action, subject, note='with "quotes" and Å')


async def found(services: Services, sought: Sought, limit: int = 100) -> list[str]:
    async with reading(services, ROOT) as work:
        return [f"{one.action} {one.subject}" for one in await trail.listing(work, sought, limit)]


@pytest.fixture
async def log(services: Services, clock: SettableClock) -> Services:
    """Return services with a log: an hour between two entries."""
    async with transaction(services, System()) as work:
        maria = member_of(await a_user(work.session, username="maria"), 1)
    for actor, action, subject in (
        (ROOT, "user.create", "maria"),
        (maria, "project.create", "u1"),
        (MARIA, "user.create", "eva"),
        (System(), "users.count", "eva"),
        (maria, "user_%", "100%"),
    ):
        await record(services, actor, action, subject)
        clock.advance(hours=1)
    return services


async def test_the_newest_comes_first_and_no_more_than_asked_for(log: Services) -> None:
    assert await found(log, EVERYTHING, 2) == ["user_% 100%", "users.count eva"]


@pytest.mark.parametrize(
    ("sought", "expected"),
    [
        (Sought(actor="maria"), ["user_% 100%", "user.create eva", "project.create u1"]),
        (Sought(actor="user maria"), ["user_% 100%", "project.create u1"]),
        (Sought(actor="operator maria (uid 7)"), ["user.create eva"]),
        (Sought(actor="mari"), []),
        (Sought(actor="%"), []),
        (Sought(action="user"), ["user.create eva", "user.create maria"]),
        (Sought(action="user.create"), ["user.create eva", "user.create maria"]),
        (Sought(action="user_%"), ["user_% 100%"]),
        (Sought(subject="eva"), ["users.count eva", "user.create eva"]),
        (Sought(subject="e%"), []),
        (Sought(since=NOON + timedelta(hours=3)), ["user_% 100%", "users.count eva"]),
        (Sought(actor="maria", subject="eva", action="user"), ["user.create eva"]),
    ],
)
async def test_entries_are_found(log: Services, sought: Sought, expected: list[str]) -> None:
    assert await found(log, sought) == expected


async def test_pages_follow_each_other_without_gaps_while_the_log_grows(log: Services) -> None:
    everything = await found(log, EVERYTHING)
    seen: list[str] = []
    before = None
    while True:
        async with reading(log, ROOT) as work:
            page = await trail.listing(work, Sought(before=before), 2)
        if not page:
            break
        seen += [f"{one.action} {one.subject}" for one in page]
        before = page[-1].id
        await record(log, ROOT, "unit.create", "late")
    assert seen == everything


async def test_only_operators_read_it(log: Services) -> None:
    with pytest.raises(Forbidden):
        async with reading(log, Nobody()) as work:
            await trail.listing(work, EVERYTHING, 1)
