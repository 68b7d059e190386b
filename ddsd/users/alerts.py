"""Letters that tell a person what was done to the ways of logging in to their account."""

from __future__ import annotations

from ddsd.mail import outbox
from ddsd.users import login
from ddsd.users.tables import User
from ddsd.work import Work


async def security_notice(work: Work, user: User, change: str) -> None:
    """Write that a second factor was added, replaced or removed.

    Args:
        work: the transaction that does it.
        user: whose account.
        change: one or two whole sentences that say what happened.
    """
    address = await login.primary_email(work, user.id)
    await outbox.write(work, "security_notice", address, username=user.username, change=change)


async def recovery_code_used(work: Work, user: User, left: int) -> None:
    """Write that somebody logged in with a recovery code, and how many are ``left``."""
    address = await login.primary_email(work, user.id)
    await outbox.write(work, "recovery_code_used", address, username=user.username, left=str(left))
