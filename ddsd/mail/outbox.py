"""The outbox: a letter is a row in the transaction that causes it, and leaves once that is committed.

Invariant: a letter that is committed is sent at least once, or ends in a state that says why not. After a crash
between the mail server's yes and our commit the same letter, with the same Message-ID, is sent again. A letter with
a secret in it loses its body when it was sent, and its text is shown to nobody who operates a service that sends.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import delete, exists, func, or_, update
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from ddsd.access import Action, System, require
from ddsd.db.types import may_be_id
from ddsd.errors import MailRefused, MailUnavailable, NotFound
from ddsd.jobs import queue
from ddsd.mail.port import Attachment, Letter
from ddsd.mail.render import Fact, Rendered, common_facts, render
from ddsd.mail.tables import Mail, MailState
from ddsd.work import Services, Work, reading, transaction

SEND_MAIL: Final = "send_mail"
KEEP_MAILS: Final = timedelta(days=90)
_LONGEST_HOST: Final = 80
_DELIVERED: Final = (MailState.SENT, MailState.KEPT)
_SETTLED: Final = (*_DELIVERED, MailState.WITHDRAWN)


@dataclass(frozen=True)
class Envelope:
    """What is known of a letter without opening it."""

    id: int
    kind: str
    recipient: str
    subject: str
    secret: bool
    state: MailState
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    last_error: str


@dataclass(frozen=True)
class LetterView:
    """A letter as an operator sees it. Where ``text`` and ``html`` are empty, ``withheld`` says why."""

    envelope: Envelope
    text: str
    html: str
    withheld: str


async def write(
    work: Work,
    kind: str,
    recipient: str,
    *,
    secret: bool = False,
    at_once: bool = False,
    attachments: Sequence[Attachment] = (),
    sent_by: str = SEND_MAIL,
    told: Mapping[str, Fact] | None = None,
    **facts: Fact,
) -> Mail:
    """Write a letter in this transaction; it leaves by a job once that is committed.

    Args:
        work: the transaction.
        kind: one of :func:`ddsd.mail.render.kinds`.
        recipient: a mail address, as the account has it.
        secret: the letter has a code or a link in it that lets its reader in.
        at_once: no job: the caller calls :func:`send_now` after the commit.
        attachments: tables to go with it.
        sent_by: the kind of the job that sends it, whose subject is the letter's number. Another kind than
            :data:`SEND_MAIL` looks whether the letter is still wanted and then calls :func:`send_mail`.
        told: what the templates ask for; or, one by one,
        facts: the same. A letter that is told a ``public_id`` is about that project.

    Raises:
        jinja2.TemplateError: there is no such kind, or a fact is missing.
    """
    services = work.services
    known = dict(told or {}) | facts
    rendered = render(kind, common_facts(services.settings) | known)
    message_id = _new_message_id(services.settings.instance.public_url)
    mail = Mail(
        kind=kind,
        recipient=recipient,
        about=str(known.get("public_id", "")),
        holds="public_id" in known,
        subject=rendered.subject,
        body=_seal(services, rendered, attachments, message_id),
        secret=secret,
        message_id=message_id,
        sent_by="" if at_once else sent_by,
        state=MailState.QUEUED if services.post.sends else MailState.KEPT,
        created_at=work.now,
    )
    work.session.add(mail)
    await work.session.flush()
    if services.post.sends and not at_once:
        await queue.enqueue(work, sent_by, str(mail.id))
    return mail


async def rewrite(work: Work, mail_id: int, told: Mapping[str, Fact], *, recipient: str) -> None:
    """Render a letter that has not left anew, so that it tells what is so now, to who has this address now.

    Raises:
        jinja2.UndefinedError: a fact is missing.
    """
    mail = await _unsent(work, mail_id)
    if mail is None:
        return
    rendered = render(mail.kind, common_facts(work.services.settings) | dict(told))
    mail.recipient, mail.subject = recipient, rendered.subject
    mail.body = _seal(work.services, rendered, (), mail.message_id)


async def withdraw(work: Work, mail_id: int, why: str) -> None:
    """Do not send a letter that has not left: what it tells of is over."""
    mail = await _unsent(work, mail_id)
    if mail is not None:
        mail.state, mail.last_error = MailState.WITHDRAWN, why


async def miss(work: Work, mail_id: int, why: str) -> None:
    """Note that a letter has not left in time: it has failed, and what waits for its delivery goes on waiting."""
    mail = await _unsent(work, mail_id)
    if mail is not None:
        mail.state, mail.last_error = MailState.FAILED, why


async def send_now(services: Services, mail_id: int) -> None:
    """Send a letter that was written ``at_once``, after its commit and outside any transaction. One try.

    Raises:
        NotFound: there is no such letter.
        MailUnavailable: it could not be sent, for now or for good; the letter is marked as failed and stays so.
    """
    mail = await _find(services, mail_id)
    if mail is None:
        raise NotFound(f"There is no letter {mail_id}.")
    try:
        await _send(services, mail)
    except (MailUnavailable, MailRefused) as wrong:
        await _note_failure(services, mail_id, wrong.message, final=True)
        raise MailUnavailable(
            "The mail could not be sent. Please try again in a moment."
        ) from wrong


async def send_mail(services: Services, subject: str) -> None:
    """Handle the job :data:`SEND_MAIL`: send the letter whose number is ``subject``, unless it has left already.

    Raises:
        MailUnavailable: worth another try.
        GiveUp: the server refuses for good, or ``mail.attempts`` tries are used up; the letter is marked as failed.
    """
    mail = await _find(services, int(subject))
    if mail is None:
        return
    try:
        await _send(services, mail)
    except MailUnavailable as wrong:
        final = mail.attempts + 1 >= services.settings.mail.attempts
        await _note_failure(services, mail.id, wrong.message, final=final)
        if final:
            raise queue.GiveUp(wrong.message) from wrong
        raise
    except MailRefused as wrong:
        await _note_failure(services, mail.id, wrong.message, final=True)
        raise queue.GiveUp(wrong.message) from wrong


async def queue_again(work: Work, mail_id: int) -> bool:
    """Let a failed letter leave after all, with as many tries as a new one; say whether it was one that can.

    Its job looks first, as at the first time, whether it is still wanted.
    """
    mail = await work.session.get(Mail, mail_id, with_for_update=True, populate_existing=True)
    if mail is None or mail.state is not MailState.FAILED or mail.body is None or not mail.sent_by:
        return False
    mail.state, mail.attempts = MailState.QUEUED, 0
    await queue.enqueue_unless_active(work, mail.sent_by, str(mail.id))
    return True


async def refusal(work: Work) -> str:
    """Return why the newest letter that was tried has not left; empty: it has."""
    query = select(Mail).where(col(Mail.attempts) > 0).order_by(col(Mail.id).desc()).limit(1)
    newest = (await work.session.scalars(query)).first()
    return newest.last_error if newest and newest.state not in _SETTLED else ""


async def listing(
    work: Work,
    limit: int = 100,
    recipient: str | None = None,
    about: str | None = None,
    state: MailState | None = None,
) -> Sequence[Envelope]:
    """Return the newest ``limit`` letters, newest first; of one recipient, about one project, in one state.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    query = select(Mail).order_by(col(Mail.id).desc()).limit(limit)
    if recipient is not None:
        query = query.where(Mail.recipient == recipient)
    if about is not None:
        query = query.where(Mail.about == about)
    if state is not None:
        query = query.where(Mail.state == state)
    return [envelope(mail) for mail in await work.session.scalars(query)]


async def show(work: Work, mail_id: int) -> LetterView:
    """Return one letter; the text of a secret one only where mail is not sent at all.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such letter.
        SealBroken: the instance key is another one than when the letter was written.
    """
    require(work.actor, Action.OPERATE)
    mail = await work.session.get(Mail, mail_id) if may_be_id(mail_id) else None
    if mail is None:
        raise NotFound(f"There is no letter {mail_id}.")
    withheld = _why_withheld(mail, sends=work.services.post.sends)
    if withheld or mail.body is None:
        return LetterView(envelope(mail), "", "", withheld)
    letter = _unseal(work.services, mail, mail.body)
    return LetterView(envelope(mail), letter.text, letter.html, "")


async def undelivered(work: Work, public_ids: Iterable[str]) -> Mapping[str, int]:
    """Return, by project, how many letters about it have not left, nor any later one to the same recipient.

    Whoever sends no mail at all (``mail.kind`` ``outbox``) has delivered by keeping it.
    """
    later = aliased(Mail)
    made_good = exists().where(
        col(later.about) == col(Mail.about),
        col(later.recipient) == col(Mail.recipient),
        col(later.id) > col(Mail.id),
        col(later.state).in_(_DELIVERED),
    )
    found = await work.session.execute(
        select(Mail.about, func.count())
        .where(
            col(Mail.about).in_(list(public_ids)),
            col(Mail.holds),
            col(Mail.state).not_in(_SETTLED),
            ~made_good,
        )
        .group_by(col(Mail.about))
    )
    return {str(about): int(number) for about, number in found}


async def wrote_since(work: Work, kind: str, moment: datetime) -> bool:
    """Say whether a letter of this kind was written after ``moment`` (aware)."""
    query = select(exists().where(col(Mail.kind) == kind, col(Mail.created_at) > moment))
    return bool(await work.session.scalar(query))


async def nothing_waits_for(work: Work, public_id: str, *, forget_text: bool) -> None:
    """Note that the project is over: its letters need not be delivered for anything any more.

    ``forget_text``: what describes the project is forgotten; of letters that left, only who got them and when stays.
    """
    about = update(Mail).where(col(Mail.about) == public_id)
    await work.session.execute(about.values(holds=False))
    if forget_text:
        await work.session.execute(about.where(col(Mail.state).in_(_SETTLED)).values(body=None))


async def forget_old(work: Work) -> int:
    """Remove letters written more than :data:`KEEP_MAILS` ago; return how many.

    Undelivered ones about a project stay while it lives: its data is not removed because they were forgotten.
    """
    gone = await work.session.scalars(
        delete(Mail)
        .where(
            col(Mail.created_at) < work.now - KEEP_MAILS,
            or_(col(Mail.state).in_(_SETTLED), ~col(Mail.holds)),
        )
        .returning(col(Mail.id))
    )
    return len(gone.all())


def _why_withheld(mail: Mail, *, sends: bool) -> str:
    if not mail.secret:
        forgotten = "Its text was removed when the project it tells of was aborted or deleted."
        return "" if mail.body is not None else forgotten
    if mail.state is MailState.SENT:
        return "It has a secret in it, so its text was removed when it was sent."
    if sends:
        return (
            "It has a secret in it that lets its reader in, and this service really sends mail,"
            " so only its recipient may read it."
        )
    return ""


async def _unsent(work: Work, mail_id: int) -> Mail | None:
    mail = await work.session.get(Mail, mail_id, with_for_update=True)
    return None if mail is None or mail.state in _SETTLED else mail


async def _find(services: Services, mail_id: int) -> Mail | None:
    async with reading(services, System()) as work:
        return await work.session.get(Mail, mail_id)


async def _send(services: Services, mail: Mail) -> None:
    if mail.body is None or mail.state in _SETTLED:
        return
    await services.post.send(_unseal(services, mail, mail.body))
    await _note_success(services, mail.id)


async def _note_success(services: Services, mail_id: int) -> None:
    async with transaction(services, System()) as work:
        mail = await work.session.get_one(Mail, mail_id)
        mail.attempts += 1
        mail.last_error = ""
        if services.post.sends:
            mail.state, mail.sent_at = MailState.SENT, work.now
            mail.body = None if mail.secret else mail.body
        else:  # written before the operator turned sending off
            mail.state = MailState.KEPT


async def _note_failure(services: Services, mail_id: int, why: str, *, final: bool) -> None:
    async with transaction(services, System()) as work:
        mail = await work.session.get_one(Mail, mail_id)
        mail.attempts += 1
        mail.last_error = why
        if final and mail.state is MailState.QUEUED:
            mail.state = MailState.FAILED


def _seal(
    services: Services, rendered: Rendered, attachments: Sequence[Attachment], message_id: str
) -> bytes:
    parts = {"text": rendered.text, "html": rendered.html}
    attached = [[one.name, one.csv] for one in attachments]
    body = json.dumps(parts | {"attachments": attached} if attached else parts).encode()
    return services.instance_key.seal(body, _purpose(message_id))


def _unseal(services: Services, mail: Mail, body: bytes) -> Letter:
    opened = services.instance_key.open(body, _purpose(mail.message_id))
    parts = json.loads(opened.reveal())
    attached = tuple(Attachment(name, csv) for name, csv in parts.get("attachments", []))
    return Letter(
        mail.recipient, mail.subject, parts["text"], parts["html"], mail.message_id, attached
    )


def _purpose(message_id: str) -> str:
    return f"mail-body:{message_id}"


def _new_message_id(public_url: str) -> str:
    host = urlsplit(public_url).hostname or "localhost"
    if not host.isascii() or len(host) > _LONGEST_HOST or ":" in host:
        host = "localhost"
    return f"<{secrets.token_hex(16)}@{host}>"


def envelope(mail: Mail) -> Envelope:
    """Return what is known of a letter without opening it."""
    return Envelope(
        id=mail.id,
        kind=mail.kind,
        recipient=mail.recipient,
        subject=mail.subject,
        secret=mail.secret,
        state=mail.state,
        attempts=mail.attempts,
        created_at=mail.created_at,
        sent_at=mail.sent_at,
        last_error=mail.last_error,
    )
