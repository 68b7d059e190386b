"""What an operator does about letters that have failed: let them leave after all. Audited.

Invariant: a letter that has left, or was withdrawn, does not leave again. Codes for one login are not sent late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlmodel import col, func, select

from ddsd.access import Action, require
from ddsd.audit import trail
from ddsd.db.types import may_be_id
from ddsd.errors import NotFound, WrongStatus
from ddsd.mail import outbox
from ddsd.mail.outbox import Envelope
from ddsd.mail.tables import Mail, MailState
from ddsd.work import Work

AT_ONCE: Final = 200


@dataclass(frozen=True)
class Resent:
    """One step: how many letters were queued anew; ``more``: go on after ``last``."""

    letters: int
    last: int
    more: bool


async def resend(work: Work, mail_id: int) -> Envelope:
    """Queue a failed letter anew.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such letter.
        WrongStatus: it has not failed, or cannot be sent any more.
    """
    require(work.actor, Action.OPERATE)
    mail = await work.session.get(Mail, mail_id) if may_be_id(mail_id) else None
    if mail is None:
        raise NotFound(f"There is no letter {mail_id}.")
    if not await outbox.queue_again(work, mail_id):
        raise WrongStatus(_why_not(mail))
    trail.record(work, "mail.resend", mail.recipient, number=mail.id)
    return outbox.envelope(mail)


async def count_failed(work: Work) -> int:
    """Return how many letters :func:`resend_failed` would queue.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    query = select(func.count()).select_from(Mail).where(*_RESENDABLE)
    return (await work.session.scalar(query)) or 0


async def resend_failed(work: Work, after: int) -> Resent:
    """Queue failed letters anew, :data:`AT_ONCE` of them over the number ``after``.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    query = select(col(Mail.id)).where(*_RESENDABLE, col(Mail.id) > after)
    found = (await work.session.scalars(query.order_by(col(Mail.id)).limit(AT_ONCE))).all()
    queued = [mail_id for mail_id in found if await outbox.queue_again(work, mail_id)]
    if queued:
        trail.record(work, "mail.resend_failed", f"{len(queued)} letters", last=queued[-1])
    return Resent(len(queued), found[-1] if found else after, more=len(found) == AT_ONCE)


_RESENDABLE: Final = (
    col(Mail.state) == MailState.FAILED,
    col(Mail.body).is_not(None),
    col(Mail.sent_by) != "",
)


def _why_not(mail: Mail) -> str:
    if mail.state is not MailState.FAILED:
        return f"Letter {mail.id} is {mail.state}; only a failed one can be sent again."
    if not mail.sent_by:
        return "It has a code for one login in it. Whoever needs one logs in again."
    return "Its text was removed when the project it tells of was aborted or deleted."
