"""Limits on guessing and flooding: counted in the database, so that they hold across restarts and daemons.

A budget is a number of attempts in a fixed window of time for one subject. Guesses are counted in a transaction
of their own, before the work they pay for, so that a refusal further on cannot give them back. What is limited because
of its effect, as letters to strangers are, is counted together with that effect.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete

from ddsd.access import Nobody
from ddsd.db.statements import affected, insert_into
from ddsd.errors import TooManyRequests
from ddsd.users.tables import AttemptWindow
from ddsd.work import Services, Work, transaction


@dataclass(frozen=True)
class Budget:
    """``attempts`` per ``window`` for the subject that ``of`` names (kind first, then whose)."""

    of: tuple[str, ...]
    attempts: int
    window: timedelta
    refusal: str

    @property
    def subject(self) -> str:
        """Return the row's name: the kind in clear, whose it is hashed (it may be long, or a typed password)."""
        kind, *whose = self.of
        return f"{kind}:{hashlib.sha256(repr(whose).encode()).hexdigest()}"


def network_of(address: str) -> str:
    """Return what an attempt from this address is charged to: an IPv6 client has all of its /64 to itself.

    An IPv4 address stands for itself, in IPv6 dress (RFC 4291, section 2.5.5.2) too; what is no address, likewise.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found), 64), strict=False))


async def spend(services: Services, *budgets: Budget) -> None:
    """Count one attempt against each budget.

    Raises:
        TooManyRequests: one of them is used up; it says when it is full again.
    """
    async with transaction(services, Nobody()) as work:
        used = [await _count(work, budget) for budget in budgets]
    _check(services, budgets, used)


async def spend_with(work: Work, *budgets: Budget) -> None:
    """Count what this transaction does against each budget: what is rolled back was not done, and is not counted.

    Raises:
        TooManyRequests: one of them is used up; it says when it is full again.
    """
    used = [await _count(work, budget) for budget in budgets]
    _check(work.services, budgets, used)


async def forget_old(work: Work) -> int:
    """Remove the windows that are over; return how many."""
    gone = await work.session.execute(
        delete(AttemptWindow).where(AttemptWindow.columns().expires_at < work.now)
    )
    return affected(gone)


async def _count(work: Work, budget: Budget) -> int:
    start = _window_start(budget, work.now)
    table = AttemptWindow.columns()
    statement = (
        insert_into(work.session, AttemptWindow)
        .values(
            subject=budget.subject,
            window_start=start,
            attempts=1,
            expires_at=datetime.fromtimestamp(start, UTC) + 2 * budget.window,
        )
        .on_conflict_do_update(
            index_elements=[table.subject, table.window_start],
            set_={"attempts": table.attempts + 1},
        )
        .returning(table.attempts)
    )
    return int((await work.session.execute(statement)).scalar_one())


def _check(services: Services, budgets: Sequence[Budget], used: Sequence[int]) -> None:
    for budget, attempts in zip(budgets, used, strict=True):
        if attempts > budget.attempts:
            raise TooManyRequests(
                budget.refusal,
                retry_after_s=_seconds_left(budget, services.clock.now()),
            )


def _window_start(budget: Budget, now: datetime) -> int:
    seconds = int(budget.window.total_seconds())
    return int(now.timestamp()) // seconds * seconds


def _seconds_left(budget: Budget, now: datetime) -> int:
    end = _window_start(budget, now) + int(budget.window.total_seconds())
    return max(1, end - int(now.timestamp()))
