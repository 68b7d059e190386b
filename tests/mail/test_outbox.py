"""The outbox, on both databases, with a real mail server."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlmodel import col, select

from ddsd.access import Nobody, System
from ddsd.audit import trail
from ddsd.audit.trail import Sought
from ddsd.errors import Forbidden, MailUnavailable, NotFound, WrongStatus
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.runner import JobRunner, Pace
from ddsd.jobs.tables import Job, JobState
from ddsd.mail import outbox, resending
from ddsd.mail.handlers import HANDLERS, forget_old_mails
from ddsd.mail.port import Letter, MailTransport
from ddsd.mail.tables import Mail, MailState
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.mail.builders import ROOT, NewServices, let_pass, post_to
from tests.parts.smtp import MailServer

KIM = "kim@example.org"
CODE = "40711234"


class Killed(BaseException):
    """The daemon was killed."""


class DiesAfterSending:
    """A transport whose daemon is killed once the server has accepted the letter."""

    sends = True

    def __init__(self, real: MailTransport) -> None:
        self._real = real

    async def send(self, letter: Letter) -> None:
        """Send, and die."""
        await self._real.send(letter)
        raise Killed


async def write_code(services: Services, *, at_once: bool = True) -> int:
    async with transaction(services, Nobody()) as work:
        mail = await outbox.write(
            work, "one_time_code", KIM, secret=True, at_once=at_once, code=CODE, minutes="15"
        )
    return mail.id


async def write_release(services: Services, recipient: str = KIM) -> int:
    async with transaction(services, System()) as work:
        mail = await outbox.write(
            work,
            "project_released",
            recipient,
            title="Fern",
            public_id="unit00001",
            unit="Genomics",
            unit_contact="u@x.example",
            deadline="2026-11-29 23:59:59 UTC",
        )
    return mail.id


async def write_and_fail(services: Services) -> None:
    async with transaction(services, System()) as work:
        await outbox.write(work, "one_time_code", KIM, code=CODE, minutes="15")
        raise ZeroDivisionError


async def row(services: Services, mail_id: int) -> Mail:
    async with reading(services, System()) as work:
        return await work.session.get_one(Mail, mail_id)


async def job_subjects(services: Services) -> list[tuple[str, str]]:
    async with reading(services, System()) as work:
        jobs = (await work.session.scalars(select(Job).order_by(col(Job.id)))).all()
        return [(job.kind, job.subject) for job in jobs]


async def shown(services: Services, mail_id: int) -> outbox.LetterView:
    async with reading(services, ROOT) as work:
        return await outbox.show(work, mail_id)


async def test_a_letter_of_a_transaction_that_fails_is_never_written(
    sending: Services, mail_server: MailServer
) -> None:
    with pytest.raises(ZeroDivisionError):
        await write_and_fail(sending)
    async with reading(sending, ROOT) as work:
        assert await outbox.listing(work) == []
    assert await job_subjects(sending) == []


async def test_a_letter_is_sealed_in_the_database(services: Services) -> None:
    mail = await row(services, await write_code(services))
    assert mail.body is not None
    assert CODE.encode() not in mail.body
    assert CODE not in mail.subject


async def test_without_a_mail_server_a_letter_is_kept_and_shown(services: Services) -> None:
    mail_id = await write_code(services, at_once=False)
    await outbox.send_now(services, mail_id)
    view = await shown(services, mail_id)
    assert view.envelope.state is MailState.KEPT
    assert CODE in view.text
    assert CODE in view.html
    assert view.withheld == ""
    assert await job_subjects(services) == []


async def test_a_letter_leaves_by_a_job_with_the_rows_message_id(
    sending: Services, mail_server: MailServer
) -> None:
    mail_id = await write_release(sending)
    assert await job_subjects(sending) == [(outbox.SEND_MAIL, str(mail_id))]
    await outbox.send_mail(sending, str(mail_id))
    mail = await row(sending, mail_id)
    assert (mail.state, mail.attempts) == (MailState.SENT, 1)
    assert mail.sent_at == sending.clock.now()
    assert mail_server.newest(KIM).message["Message-ID"] == mail.message_id
    assert "dds data get -p unit00001 -a --verify-checksum" in (await shown(sending, mail_id)).text


async def test_a_letter_that_was_sent_is_not_sent_again(
    sending: Services, mail_server: MailServer
) -> None:
    mail_id = await write_release(sending)
    await outbox.send_mail(sending, str(mail_id))
    await outbox.send_mail(sending, str(mail_id))
    await outbox.send_now(sending, mail_id)
    assert len(mail_server.to(KIM)) == 1


async def test_a_secret_letter_loses_its_body_when_it_was_sent(
    sending: Services, mail_server: MailServer
) -> None:
    mail_id = await write_code(sending)
    assert await job_subjects(sending) == []
    await outbox.send_now(sending, mail_id)
    assert mail_server.newest(KIM).code == CODE
    assert (await row(sending, mail_id)).body is None
    view = await shown(sending, mail_id)
    assert (view.text, view.html) == ("", "")
    assert "removed when it was sent" in view.withheld


async def test_a_secret_letter_on_its_way_is_withheld_from_operators(sending: Services) -> None:
    view = await shown(sending, await write_code(sending, at_once=False))
    assert (view.text, view.html) == ("", "")
    assert "only its recipient" in view.withheld


async def test_a_kept_secret_is_withheld_once_the_service_sends_mail(
    services: Services, new_services: NewServices, mail_server: MailServer
) -> None:
    mail_id = await write_code(services)
    later = await new_services(post_to(mail_server))
    assert (await shown(later, mail_id)).text == ""


async def test_a_letter_of_a_service_that_stopped_sending_is_kept(
    sending: Services, services: Services, mail_server: MailServer
) -> None:
    mail_id = await write_code(sending, at_once=False)
    await outbox.send_mail(services, str(mail_id))
    assert (await row(services, mail_id)).state is MailState.KEPT
    assert CODE in (await shown(services, mail_id)).text
    assert mail_server.everything() == ()


@pytest.mark.parametrize("answer", [451, 550])
async def test_a_letter_that_cannot_be_sent_now_fails_and_says_so(
    sending: Services, mail_server: MailServer, answer: int
) -> None:
    mail_id = await write_code(sending)
    mail_server.refuse(answer)
    with pytest.raises(MailUnavailable):
        await outbox.send_now(sending, mail_id)
    mail = await row(sending, mail_id)
    assert mail.state is MailState.FAILED
    assert str(answer) in mail.last_error
    assert await job_subjects(sending) == []


async def test_sending_a_letter_that_does_not_exist_is_refused(services: Services) -> None:
    with pytest.raises(NotFound):
        await outbox.send_now(services, 4711)
    with pytest.raises(NotFound):
        await shown(services, 4711)


async def test_the_job_of_a_forgotten_letter_has_nothing_to_do(services: Services) -> None:
    await outbox.send_mail(services, "4711")


async def test_a_second_try_carries_the_same_message_id(
    sending: Services, mail_server: MailServer
) -> None:
    mail_id = await write_release(sending)
    mail_server.refuse(451)
    with pytest.raises(MailUnavailable):
        await outbox.send_mail(sending, str(mail_id))
    waiting = await row(sending, mail_id)
    assert (waiting.state, waiting.attempts) == (MailState.QUEUED, 1)
    assert "451" in waiting.last_error
    mail_server.accept()
    await outbox.send_mail(sending, str(mail_id))
    sent = await row(sending, mail_id)
    assert (sent.state, sent.attempts, sent.last_error) == (MailState.SENT, 2, "")
    assert mail_server.newest(KIM).message["Message-ID"] == waiting.message_id


async def test_a_letter_fails_after_the_configured_number_of_tries(
    sending: Services, mail_server: MailServer
) -> None:
    mail_id = await write_release(sending)
    mail_server.refuse(451)
    for _ in range(2):
        with pytest.raises(MailUnavailable):
            await outbox.send_mail(sending, str(mail_id))
    with pytest.raises(GiveUp, match="451"):
        await outbox.send_mail(sending, str(mail_id))
    assert (await row(sending, mail_id)).state is MailState.FAILED


async def test_a_letter_that_is_refused_for_good_is_not_tried_again(
    sending: Services, mail_server: MailServer
) -> None:
    mail_id = await write_release(sending)
    mail_server.refuse(550)
    with pytest.raises(GiveUp, match="550"):
        await outbox.send_mail(sending, str(mail_id))
    assert (await row(sending, mail_id)).state is MailState.FAILED


async def test_a_failed_letter_is_sent_when_its_job_is_retried(
    sending: Services, mail_server: MailServer
) -> None:
    mail_id = await write_release(sending)
    mail_server.refuse(550)
    with pytest.raises(GiveUp):
        await outbox.send_mail(sending, str(mail_id))
    mail_server.accept()
    await outbox.send_mail(sending, str(mail_id))
    assert (await row(sending, mail_id)).state is MailState.SENT


async def fail(services: Services, mail_server: MailServer, mail_id: int) -> None:
    mail_server.refuse(550)
    with pytest.raises(GiveUp):
        await outbox.send_mail(services, str(mail_id))
    mail_server.accept()


async def test_a_failed_letter_is_sent_again_once_and_with_all_its_tries(
    sending: Services, mail_server: MailServer
) -> None:
    mail_id = await write_release(sending)
    await fail(sending, mail_server, mail_id)
    async with transaction(sending, System()) as work:
        assert "550" in await outbox.refusal(work)
        for job in await work.session.scalars(select(Job)):
            job.state = JobState.FAILED
    async with transaction(sending, ROOT) as work:
        assert await resending.count_failed(work) == 1
        assert (await resending.resend(work, mail_id)).state is MailState.QUEUED
        with pytest.raises(WrongStatus, match="only a failed one"):
            await resending.resend(work, mail_id)
        [entry] = await trail.listing(work, Sought(action="mail.resend"), 10)
        assert entry.subject == KIM
    assert (await row(sending, mail_id)).attempts == 0
    assert await job_subjects(sending) == [("send_mail", str(mail_id))] * 2
    await outbox.send_mail(sending, str(mail_id))
    assert len(mail_server.everything()) == 1
    async with reading(sending, ROOT) as work:
        assert await outbox.refusal(work) == ""


async def test_all_failed_letters_are_sent_again_but_for_codes_of_a_moment(
    sending: Services, mail_server: MailServer
) -> None:
    failed = [await write_release(sending) for _ in range(2)]
    for mail_id in failed:
        await fail(sending, mail_server, mail_id)
    mail_server.refuse(550)
    code = await write_code(sending)
    with pytest.raises(MailUnavailable):
        await outbox.send_now(sending, code)
    queued = await write_release(sending)
    async with transaction(sending, ROOT) as work:
        done = await resending.resend_failed(work, 0)
        assert (done.letters, done.last, done.more) == (2, failed[-1], False)
        assert await resending.count_failed(work) == 0
        with pytest.raises(WrongStatus, match="logs in again"):
            await resending.resend(work, code)
        with pytest.raises(NotFound):
            await resending.resend(work, 4711)
    async with reading(sending, ROOT) as work:
        found = await outbox.listing(work, state=MailState.QUEUED)
        assert [one.id for one in found] == [queued, *reversed(failed)]


async def test_only_operators_send_letters_again(services: Services) -> None:
    async with reading(services, Nobody()) as work:
        for refused in (
            resending.resend(work, 1),
            resending.resend_failed(work, 0),
            resending.count_failed(work),
        ):
            with pytest.raises(Forbidden):
                await refused


async def test_after_a_kill_between_acceptance_and_commit_the_same_letter_is_sent_again(
    sending: Services, new_services: NewServices, mail_server: MailServer
) -> None:
    mail_id = await write_release(sending)
    doomed = await new_services(DiesAfterSending(post_to(mail_server)))
    with pytest.raises(Killed):
        await outbox.send_mail(doomed, str(mail_id))
    assert (await row(sending, mail_id)).state is MailState.QUEUED
    await outbox.send_mail(sending, str(mail_id))
    first, second = mail_server.to(KIM)
    assert first.message["Message-ID"] == second.message["Message-ID"]


async def test_a_running_daemon_sends_at_the_commit_without_waiting_for_its_next_look(
    new_services: NewServices, mail_server: MailServer
) -> None:
    woken = asyncio.Event()
    services = await new_services(post_to(mail_server), wake=woken.set)
    runner = JobRunner(services, HANDLERS, pace=Pace(poll_s=3600))
    await runner.start()
    try:
        mail_id = await write_release(services)
        await woken.wait()
        runner.wake()
        await mail_server.arrival(KIM)
    finally:
        await runner.stop()
    assert (await row(services, mail_id)).state is MailState.SENT


async def test_the_job_of_a_refused_letter_has_failed_too(
    sending: Services, mail_server: MailServer
) -> None:
    await write_release(sending)
    mail_server.refuse(550)
    runner = JobRunner(sending, HANDLERS)
    await runner.start()
    async with asyncio.timeout(30):
        while await open_jobs(sending):  # noqa: ASYNC110  # rows ring no bell
            await asyncio.sleep(0.01)
    await runner.stop()
    async with reading(sending, System()) as work:
        (job,) = (await work.session.scalars(select(Job))).all()
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert "550" in job.last_error


async def open_jobs(services: Services) -> int:
    async with reading(services, System()) as work:
        active = col(Job.state).in_([JobState.QUEUED, JobState.RUNNING])
        return len((await work.session.scalars(select(Job).where(active))).all())


async def test_the_listing_is_newest_first_and_by_recipient(services: Services) -> None:
    first, _, third = [await write_release(services, to) for to in (KIM, "robin@example.org", KIM)]
    async with reading(services, ROOT) as work:
        assert [one.id for one in await outbox.listing(work, recipient=KIM)] == [third, first]
        assert [one.id for one in await outbox.listing(work, limit=1)] == [third]


async def test_only_operators_read_the_outbox(services: Services) -> None:
    mail_id = await write_release(services)
    async with reading(services, Nobody()) as work:
        with pytest.raises(Forbidden):
            await outbox.listing(work)
        with pytest.raises(Forbidden):
            await outbox.show(work, mail_id)


async def test_old_letters_are_forgotten_and_younger_ones_are_not(
    services: Services, clock: SettableClock
) -> None:
    await write_release(services)
    let_pass(clock, outbox.KEEP_MAILS)
    young = await write_release(services)
    let_pass(clock, timedelta(seconds=1))
    await forget_old_mails(services, "all")
    async with reading(services, ROOT) as work:
        assert [one.id for one in await outbox.listing(work)] == [young]
