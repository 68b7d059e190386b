"""The mail slice's jobs, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ddsd.access import System
from ddsd.jobs.runner import Handler
from ddsd.mail import outbox
from ddsd.work import Services, transaction

FORGET_OLD_MAILS: Final = "forget_old_mails"


async def forget_old_mails(services: Services, _subject: str) -> None:
    """Handle the job :data:`FORGET_OLD_MAILS`: remove letters from long ago."""
    async with transaction(services, System()) as work:
        await outbox.forget_old(work)


HANDLERS: Final[Mapping[str, Handler]] = {
    outbox.SEND_MAIL: outbox.send_mail,
    FORGET_OLD_MAILS: forget_old_mails,
}
