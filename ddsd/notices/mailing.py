"""Mails a message of the day to everybody, or to those who work for units.

Invariant: nobody is mailed the same message twice, however often it is sent, by however many daemons, and wherever a
daemon is killed. A row per message and person says so; it is written in one transaction with the letter. A letter that
has failed did not reach its reader: it is queued anew when the message is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, exists, func, select, update

from ddsd.access import UNIT_ROLES, Action, System, require
from ddsd.audit import trail
from ddsd.db.statements import insert_into
from ddsd.errors import InvalidInput, NotFound
from ddsd.jobs import progress, queue
from ddsd.jobs.runner import Handler
from ddsd.mail import outbox
from ddsd.mail.tables import Mail, MailState
from ddsd.notices import motd
from ddsd.notices.tables import Motd, MotdLetter
from ddsd.users.tables import User, UserEmail
from ddsd.work import Services, Work, reading, transaction

SEND_MOTD: Final = "send_motd"
SEND_MOTD_LETTER: Final = "send_motd_letter"
BATCH: Final = 50
_UNITS_ONLY: Final = " units"


async def send(work: Work, motd_id: object, unit_only: object) -> Motd:
    """Begin to mail a message to everybody it has not reached yet; a job does it (wire contract, section 4).

    Args:
        work: the transaction.
        motd_id: the number of a message that is shown.
        unit_only: only to those who work for a unit.

    Raises:
        Forbidden: the caller may not.
        InvalidInput: ``motd_id`` is no number, or ``unit_only`` neither yes nor no.
        NotFound: no such message is shown.
        Busy: just that is being done.
    """
    require(work.actor, Action.INFORM_ALL)
    message = await _shown(work, motd_id)
    if not isinstance(unit_only, bool):
        raise InvalidInput("The 'unit_only' argument must be a boolean.")
    await queue.enqueue(work, SEND_MOTD, f"{message.id}{_UNITS_ONLY if unit_only else ''}")
    trail.record(work, "motd.send", str(message.id), unit_only=unit_only)
    return message


async def count_waiting(work: Work, motd_id: int, *, unit_only: bool) -> int:
    """Return how many people :func:`send` would mail the message to.

    Raises:
        Forbidden: the caller may not.
        NotFound: no such message is shown.
    """
    require(work.actor, Action.INFORM_ALL)
    message = await _shown(work, motd_id)
    new = await _count(work, _waiting(message.id, unit_only=unit_only))
    return new + await _count(work, _failed(message.id, unit_only=unit_only))


async def mail_out(services: Services, subject: str) -> None:
    """Handle the job :data:`SEND_MOTD`: write the letters, some at a time; begun before, it goes on where it was."""
    number, units, _ = subject.partition(_UNITS_ONLY)
    await _mail_again(services, int(number), unit_only=bool(units))
    while await _mail_some(services, int(number), unit_only=bool(units)):
        done, total = await _so_far(services, int(number), unit_only=bool(units))
        await progress.report(services, SEND_MOTD, subject, done=done, total=total)


async def send_letter(services: Services, subject: str) -> None:
    """Handle the job :data:`SEND_MOTD_LETTER`: send a letter, unless its message or its reader is no more.

    Raises:
        MailUnavailable, GiveUp: as :func:`ddsd.mail.outbox.send_mail`.
    """
    letters, messages, users = MotdLetter.columns(), Motd.columns(), User.columns()
    async with transaction(services, System()) as work:
        wanted = await work.session.execute(
            select(letters.user_id)
            .join(Motd, messages.id == letters.motd_id)
            .join(User, users.id == letters.user_id)
            .where(letters.mail_id == int(subject), messages.active, users.active)
        )
        if wanted.first() is None:
            await outbox.withdraw(work, int(subject), "The message or its reader is no more.")
    await outbox.send_mail(services, subject)


HANDLERS: Final[Mapping[str, Handler]] = {SEND_MOTD: mail_out, SEND_MOTD_LETTER: send_letter}


async def _shown(work: Work, motd_id: object) -> Motd:
    if not motd_id or not isinstance(motd_id, int) or isinstance(motd_id, bool):
        raise InvalidInput("Please specify the ID of the MOTD you want to send.")
    message = await motd.find(work, motd_id)
    if message is None or not message.active:
        raise NotFound(f"There is no active MOTD with ID '{motd_id}'.")
    return message


async def _so_far(services: Services, motd_id: int, *, unit_only: bool) -> tuple[int, int]:
    """Return how many have been written to, and with how many they will be all."""
    letters = MotdLetter.columns()
    async with reading(services, System()) as work:
        mailed = await _count(work, select(letters.user_id).where(letters.motd_id == motd_id))
        waiting = await _count(work, _waiting(motd_id, unit_only=unit_only))
    return mailed, mailed + waiting


async def _count(work: Work, query: Select[Any]) -> int:
    found = await work.session.execute(select(func.count()).select_from(query.subquery()))
    return int(found.scalar_one())


async def _mail_again(services: Services, motd_id: int, *, unit_only: bool) -> None:
    """Queue the letters that have failed, each once: those that fail again meanwhile wait for the next time."""
    failed, last = _failed(motd_id, unit_only=unit_only), 0
    mails = Mail.columns()
    while True:
        async with transaction(services, System()) as work:
            message = await motd.find(work, motd_id)
            if message is None or not message.active:
                return
            found = await work.session.scalars(failed.where(mails.id > last).limit(BATCH))
            letters = found.all()
            for mail_id in letters:
                await outbox.queue_again(work, mail_id)
        if not letters:
            return
        last = letters[-1]


async def _mail_some(services: Services, motd_id: int, *, unit_only: bool) -> bool:
    """Write the next letters; say whether there may be more."""
    async with transaction(services, System()) as work:
        message = await motd.find(work, motd_id)
        if message is None or not message.active:
            return False
        waiting = _waiting(motd_id, unit_only=unit_only).limit(BATCH)
        people = await work.session.execute(waiting)
        addresses = {int(user_id): str(email) for user_id, email in people}
        for user_id in await _reserve(work, motd_id, list(addresses)):
            await _write(work, message, user_id, addresses[user_id])
        return bool(addresses)


async def _reserve(work: Work, motd_id: int, user_ids: Sequence[int]) -> list[int]:
    """Return those of these people that nobody else is writing to."""
    if not user_ids:
        return []
    rows = [{"motd_id": motd_id, "user_id": user_id} for user_id in user_ids]
    statement = insert_into(work.session, MotdLetter).values(rows).on_conflict_do_nothing()
    won = await work.session.execute(statement.returning(MotdLetter.columns().user_id))
    return sorted(int(user_id) for (user_id,) in won)


async def _write(work: Work, message: Motd, user_id: int, address: str) -> None:
    mail = await outbox.write(work, "motd", address, sent_by=SEND_MOTD_LETTER, text=message.message)
    letters = MotdLetter.columns()
    await work.session.execute(
        update(MotdLetter)
        .where(letters.motd_id == message.id, letters.user_id == user_id)
        .values(mail_id=mail.id)
    )


def _waiting(motd_id: int, *, unit_only: bool) -> Select[Any]:
    """Select number and primary address of those who have not been mailed the message, by number."""
    users, emails, letters = User.columns(), UserEmail.columns(), MotdLetter.columns()
    mailed = exists().where(letters.motd_id == motd_id, letters.user_id == users.id)
    query = (
        select(users.id, emails.email)
        .join(UserEmail, (emails.user_id == users.id) & emails.is_primary)
        .where(users.active, ~mailed)
        .order_by(users.id)
    )
    return query.where(users.role.in_(UNIT_ROLES)) if unit_only else query


def _failed(motd_id: int, *, unit_only: bool) -> Select[Any]:
    """Select the numbers of the letters that did not reach people who are still here, ascending."""
    users, letters, mails = User.columns(), MotdLetter.columns(), Mail.columns()
    query = (
        select(mails.id)
        .join(MotdLetter, letters.mail_id == mails.id)
        .join(User, users.id == letters.user_id)
        .where(letters.motd_id == motd_id, mails.state == MailState.FAILED, users.active)
        .order_by(mails.id)
    )
    return query.where(users.role.in_(UNIT_ROLES)) if unit_only else query
