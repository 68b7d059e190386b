"""Mailing a message of the day, on both databases: all are mailed, nobody twice, and nobody who is gone."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from sqlalchemy import delete, select, update

from ddsd.access import Nobody, Operator, Role, System
from ddsd.errors import Busy, Forbidden
from ddsd.jobs import queue
from ddsd.jobs.tables import Job, JobState
from ddsd.mail.tables import Mail, MailState
from ddsd.notices import mailing, motd
from ddsd.users.tables import User, UserEmail
from ddsd.work import Services, Work, reading, transaction
from tests.builders import a_unit, a_user
from tests.mail.builders import NewServices
from tests.notices.deaths import Killed, killed_after
from tests.parts.smtp import MailServer

ROOT = Operator(0, "root")


async def a_message(services: Services, people: int = 0) -> int:
    """Add a message, and this many researchers."""
    async with transaction(services, ROOT) as work:
        for _ in range(people):
            await a_user(work.session)
        return (await motd.add(work, "Closed on Sunday.")).id


async def mailed(services: Services) -> Counter[str]:
    """Return how many letters were written to each address."""
    async with reading(services, System()) as work:
        return Counter((await work.session.execute(select(Mail.columns().recipient))).scalars())


async def states(services: Services) -> Counter[MailState]:
    async with reading(services, System()) as work:
        return Counter((await work.session.execute(select(Mail.columns().state))).scalars())


async def waiting(services: Services, motd_id: int, *, unit_only: bool = False) -> int:
    async with reading(services, ROOT) as work:
        return await mailing.count_waiting(work, motd_id, unit_only=unit_only)


async def test_everybody_gets_one_letter_at_their_primary_address(services: Services) -> None:
    number = await a_message(services, people=2 * mailing.BATCH + 3)
    async with transaction(services, System()) as work:
        user = await a_user(work.session, email="first@example.org")
        work.session.add(UserEmail(user_id=user.id, email="second@example.org", is_primary=False))
        await a_user(work.session, email="closed@example.org", active=False)
    everybody = await waiting(services, number)
    await mailing.mail_out(services, str(number))
    letters = await mailed(services)
    assert (len(letters), set(letters.values())) == (everybody, {1})
    assert everybody == 2 * mailing.BATCH + 4
    assert "first@example.org" in letters
    assert not {"second@example.org", "closed@example.org"} & set(letters)


async def test_only_people_of_units_are_mailed_if_so_asked(services: Services) -> None:
    number = await a_message(services, people=2)
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session)
        for role in (Role.UNIT_ADMIN, Role.UNIT_PERSONNEL):
            await a_user(work.session, role=role, unit_id=unit.id, email=f"{role.name}@example.org")
        await a_user(work.session, role=Role.SUPER_ADMIN)
    assert await waiting(services, number, unit_only=True) == 2
    await mailing.mail_out(services, f"{number} units")
    assert await mailed(services) == {
        "UNIT_ADMIN@example.org": 1,
        "UNIT_PERSONNEL@example.org": 1,
    }


async def test_sent_again_it_reaches_only_those_who_were_not_mailed(services: Services) -> None:
    number = await a_message(services, people=3)
    await mailing.mail_out(services, str(number))
    async with transaction(services, System()) as work:
        await a_user(work.session, email="late@example.org")
    assert await waiting(services, number) == 1
    await mailing.mail_out(services, str(number))
    assert set((await mailed(services)).values()) == {1}
    assert (await mailed(services))["late@example.org"] == 1


async def test_sent_again_it_reaches_those_whose_letter_has_failed(
    sending: Services, mail_server: MailServer
) -> None:
    number = await a_message(sending, people=2)
    await mailing.mail_out(sending, str(number))
    mail_server.refuse(550)
    for job in await _letter_jobs(sending):
        with pytest.raises(queue.GiveUp):
            await mailing.send_letter(sending, job.subject)
    async with transaction(sending, System()) as work:
        await work.session.execute(update(Job).values(state=JobState.FAILED))
        await a_user(work.session, role=Role.SUPER_ADMIN, email="late@example.org")
    assert await states(sending) == {MailState.FAILED: 2}
    assert await waiting(sending, number) == 3
    assert await waiting(sending, number, unit_only=True) == 0
    mail_server.accept()
    await mailing.mail_out(sending, str(number))
    assert await waiting(sending, number) == 0
    await _send_all(sending)
    assert await states(sending) == {MailState.SENT: 3}
    assert len({one.recipients for one in mail_server.everything()}) == 3


async def test_two_daemons_at_once_mail_nobody_twice(
    services: Services, new_services: NewServices
) -> None:
    number = await a_message(services, people=2 * mailing.BATCH)
    others = [await new_services() for _ in range(2)]
    await asyncio.gather(*(mailing.mail_out(one, str(number)) for one in (services, *others)))
    letters = await mailed(services)
    assert (len(letters), set(letters.values())) == (2 * mailing.BATCH, {1})


@pytest.mark.parametrize("after", [1, mailing.BATCH - 1, mailing.BATCH + 7])
async def test_killed_anywhere_and_begun_again_it_mails_everybody_once(
    services: Services, after: int
) -> None:
    number = await a_message(services, people=mailing.BATCH + 20)
    with pytest.raises(Killed):
        await mailing.mail_out(killed_after(services, after), str(number))
    assert sum((await mailed(services)).values()) == after // mailing.BATCH * mailing.BATCH
    await mailing.mail_out(services, str(number))
    letters = await mailed(services)
    assert (len(letters), set(letters.values())) == (mailing.BATCH + 20, {1})


async def test_deactivated_while_it_is_mailed_it_is_mailed_no_more(
    sending: Services, mail_server: MailServer
) -> None:
    number = await a_message(sending, people=2)
    await mailing.mail_out(sending, str(number))
    async with transaction(sending, ROOT) as work:
        await a_user(work.session)
        await motd.deactivate(work, number)
    await mailing.mail_out(sending, str(number))
    await _send_all(sending)
    assert await states(sending) == {MailState.WITHDRAWN: 2}
    assert mail_server.everything() == ()


async def test_who_left_meanwhile_is_not_mailed(sending: Services, mail_server: MailServer) -> None:
    async with transaction(sending, System()) as work:
        gone = await a_user(work.session, email="gone@example.org")
        closed = await a_user(work.session, email="closed@example.org")
        await a_user(work.session, email="here@example.org")
    number = await a_message(sending)
    await mailing.mail_out(sending, str(number))
    async with transaction(sending, System()) as work:
        table = User.columns()
        await work.session.execute(delete(User).where(table.id == gone.id))
        await work.session.execute(update(User).where(table.id == closed.id).values(active=False))
    await _send_all(sending)
    assert await states(sending) == {MailState.WITHDRAWN: 2, MailState.SENT: 1}
    (letter,) = mail_server.everything()
    assert letter.recipients == ("here@example.org",)
    assert "Closed on Sunday." in letter.text


async def test_the_same_is_not_begun_twice_at_once(services: Services) -> None:
    number = await a_message(services)
    async with transaction(services, ROOT) as work:
        await mailing.send(work, number, False)
        with pytest.raises(Busy):
            await mailing.send(work, number, False)


async def test_nobody_may_neither_count_nor_list(services: Services) -> None:
    async with reading(services, System()) as work:
        nobody = Work(work.session, work.now, Nobody(), services)
        with pytest.raises(Forbidden):
            await mailing.count_waiting(nobody, 1, unit_only=False)
        with pytest.raises(Forbidden):
            await motd.listing(nobody)


async def _send_all(services: Services) -> None:
    """Run the jobs that send letters."""
    for job in await _letter_jobs(services):
        await mailing.HANDLERS[job.kind](services, job.subject)


async def _letter_jobs(services: Services) -> list[Job]:
    async with reading(services, System()) as work:
        found = await queue.listing(work, JobState.QUEUED)
        return [one for one in found if one.kind == mailing.SEND_MOTD_LETTER]
