"""What is forgotten in the night: rows about people's logins and downloads that have served their time."""

from __future__ import annotations

from typing import Final

from ddsd.access import System
from ddsd.files import downloads, grants
from ddsd.users import invites, limits, links, sessions
from ddsd.work import Services, transaction

FORGET_OLD_LOGINS: Final = "forget_old_logins"


async def forget_old_logins(services: Services, _subject: str) -> None:
    """Remove ended sessions, attempt windows, links, invites, store keys and sums of downloads whose time is over."""
    async with transaction(services, System()) as work:
        await sessions.forget_old(work)
        await limits.forget_old(work)
        await links.forget_old(work)
        await invites.forget_old(work)
        await grants.forget_expired(work)
        await downloads.forget_old(work)
