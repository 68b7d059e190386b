"""Reminders of deadlines, on both databases: to those who lack files, once a step, and only while it is true."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from ddsd.access import Nobody, System
from ddsd.audit import trail
from ddsd.audit.trail import Sought
from ddsd.errors import Forbidden, InvalidInput, MailUnavailable, NotFound
from ddsd.files.tables import StoredFile
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.schedule import Cron
from ddsd.mail import outbox
from ddsd.mail.tables import Mail, MailState
from ddsd.notices import reminders
from ddsd.projects.status import Status, Verb
from ddsd.projects.tables import Membership, StatusEntry
from ddsd.settings import Reminders, Settings
from ddsd.users.tables import User, UserEmail
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.mail.builders import NewServices
from tests.notices.deaths import Killed, killed_after
from tests.notices.deliveries import (
    FILES,
    ROOT,
    Delivery,
    a_delivery,
    due,
    letters,
    newest_text,
    run,
    send_all,
)
from tests.parts.smtp import MailServer

KIM, EVA, ROLF = "kim@example.org", "eva@example.org", "rolf@example.org"
REMINDER, SUMMARY = "deadline_reminder", "deadlines_summary"


async def reminded(services: Services) -> Counter[str]:
    return Counter(to for kind, to in await letters(services) if kind == REMINDER)


async def summaries(services: Services) -> list[str]:
    return [to for kind, to in await letters(services) if kind == SUMMARY]


async def test_those_who_lack_files_are_reminded_and_the_unit_is_told(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, "kim", "eva", "rolf")
    await delivery.fetch("kim", *FILES)
    await delivery.fetch("eva", "a")
    clock.set(delivery.days_before(14))
    (expected,) = await due(services)
    assert [one.email for one in expected.to_remind] == [EVA, ROLF]
    await run(services)
    contact = delivery.unit.contact_email
    assert await letters(services) == [(REMINDER, EVA), (REMINDER, ROLF), (SUMMARY, contact)]
    assert "2 of 3 files" in await newest_text(services, EVA)
    assert f"dds data get -p {delivery.project.public_id} -a" in await newest_text(services, ROLF)
    told = await newest_text(services, contact)
    assert f"{EVA} (1 of 3 files), {ROLF} (0 of 3 files)" in told
    assert KIM not in told
    assert "in 14 days" in told


async def test_each_step_comes_once_whatever_is_run_again(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, "kim")
    counts = []
    for days in range(16, -2, -1):
        for hour in (8, 9, 23):
            clock.set(delivery.days_before(days, hour))
            await run(services)
        counts.append((days, (await reminded(services))[KIM], len(await summaries(services))))
    steps = {
        days
        for (days, *now), (_, *before) in zip(counts[1:], counts, strict=False)
        if now != before
    }
    assert steps == {14, 7, 1}
    assert counts[-1] == (-1, 3, 3)


async def test_after_a_downtime_only_the_most_urgent_is_sent(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, "kim")
    clock.set(delivery.days_before(0, 6))
    await run(services)
    assert await reminded(services) == {KIM: 1}
    assert "today" in await newest_text(services, KIM)
    assert len(await summaries(services)) == 1
    assert await due(services) == []


async def test_before_its_hour_the_day_has_not_begun(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, "kim")
    clock.set(delivery.days_before(14, 6))
    assert await due(services) == []
    clock.set(delivery.days_before(14, 7))
    assert len(await due(services)) == 1


async def test_a_release_for_few_days_is_not_followed_by_a_reminder_the_next_morning(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, "kim", days=5)
    clock.set(delivery.days_before(4))
    assert await due(services) == []
    clock.set(delivery.days_before(1))
    assert [ending.step for ending in await due(services)] == [1]


@pytest.mark.parametrize(
    "columns",
    [
        {"status": Status.IN_PROGRESS},
        {"status": Status.EXPIRED},
        {"status": Status.ARCHIVED},
        {"ending": Verb.ARCHIVE},
        {"deadline": None},
        {"file_count": 0},
    ],
)
async def test_nobody_is_reminded_of_a_project_that_has_nothing_to_fetch(
    services: Services, clock: SettableClock, columns: dict[str, Any]
) -> None:
    delivery = await a_delivery(services, "kim")
    clock.set(delivery.days_before(7))
    await delivery.change(**columns)
    await run(services)
    assert await letters(services) == []


async def test_a_new_deadline_has_reminders_of_its_own(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, "kim")
    clock.set(delivery.days_before(1))
    await run(services)
    later = delivery.deadline + timedelta(days=30)
    async with transaction(services, System()) as work:
        work.session.add(
            StatusEntry(
                project_id=delivery.project.id, status=Status.AVAILABLE, deadline=later, at=work.now
            )
        )
    await delivery.change(deadline=later)
    assert await due(services) == []
    clock.set(delivery.days_before(14))
    await run(services)
    assert await reminded(services) == {KIM: 2}


async def test_who_comes_in_late_is_reminded_and_the_others_not_again(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, "kim")
    clock.set(delivery.days_before(7))
    await run(services)
    await delivery.join("eva")
    clock.set(delivery.days_before(6))
    await run(services)
    assert await reminded(services) == {KIM: 1, EVA: 1}
    assert len(await summaries(services)) == 1


async def test_deactivated_accounts_are_not_reminded(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, "kim")
    await delivery.join("eva", active=False)
    clock.set(delivery.days_before(7))
    await run(services)
    assert await reminded(services) == {KIM: 1}


async def test_a_file_that_is_gone_is_not_lacking(services: Services, clock: SettableClock) -> None:
    delivery = await a_delivery(services, "kim", "eva")
    await delivery.fetch("kim", "a", "b")
    await delivery.fetch("eva", "b", "c")
    async with transaction(services, System()) as work:
        files = StoredFile.columns()
        await work.session.execute(delete(StoredFile).where(files.name == "c"))
    await delivery.change(file_count=2)
    clock.set(delivery.days_before(7))
    await run(services)
    assert await reminded(services) == {EVA: 1}


async def test_a_unit_gets_one_summary_of_all_its_projects(
    services: Services, clock: SettableClock
) -> None:
    first = await a_delivery(services, "kim")
    second = await a_delivery(services, unit=first.unit)
    other = await a_delivery(services, "eva")
    clock.set(first.days_before(7))
    await run(services)
    assert sorted(await summaries(services)) == sorted(
        [first.unit.contact_email, other.unit.contact_email]
    )
    told = await newest_text(services, first.unit.contact_email)
    assert first.project.public_id in told
    assert second.project.public_id in told
    assert other.project.public_id not in told
    assert "nobody has access" in told


async def test_a_unit_says_when_its_researchers_are_reminded(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, "kim")
    name = delivery.unit.public_id
    async with transaction(services, ROOT) as work:
        assert (await reminders.configure(work, name, "3")).days == (3,)
    clock.set(delivery.days_before(7))
    assert await due(services) == []
    clock.set(delivery.days_before(3))
    assert [one.step for one in await due(services)] == [3]
    async with transaction(services, ROOT) as work:
        assert (await reminders.configure(work, name, "")).days == ()
    assert await due(services) == []
    async with transaction(services, ROOT) as work:
        await reminders.configure(work, name, None)
        listed = await reminders.listing(work)
    assert [(one.days, one.own) for one in listed] == [((14, 7, 1), False)]
    assert [one.step for one in await due(services)] == [7]


async def test_steps_that_are_changed_in_between_remind_nobody_again(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, "kim")
    clock.set(delivery.days_before(7))
    await run(services)
    async with transaction(services, ROOT) as work:
        await reminders.configure(work, delivery.unit.public_id, "10")
    clock.set(delivery.days_before(6))
    assert await due(services) == []


async def test_without_days_in_the_settings_nobody_is_reminded(
    services: Services, clock: SettableClock
) -> None:
    never = Settings(reminders=Reminders(days=()))
    delivery = await a_delivery(services, "kim")
    clock.set(delivery.days_before(1))
    await run(replace(services, settings=never))
    assert await letters(services) == []


async def test_several_daemons_at_once_remind_nobody_twice(
    services: Services, new_services: NewServices, clock: SettableClock
) -> None:
    people = [f"person{number}" for number in range(12)]
    delivery = await a_delivery(services, *people)
    clock.set(delivery.days_before(7))
    others = [await new_services() for _ in range(2)]
    await asyncio.gather(*(run(one) for one in (services, *others)))
    assert await reminded(services) == {f"{name}@example.org": 1 for name in people}
    assert len(await summaries(services)) == 1


@pytest.mark.parametrize("after", range(5))
async def test_killed_anywhere_and_begun_again_it_reminds_everybody_once(
    services: Services, clock: SettableClock, after: int
) -> None:
    first = await a_delivery(services, "kim", "eva")
    second = await a_delivery(services, "rolf")
    clock.set(first.days_before(7))
    with pytest.raises(Killed):
        await run(killed_after(services, after))
    await run(services)
    assert await reminded(services) == {KIM: 1, EVA: 1, ROLF: 1}
    assert sorted(await summaries(services)) == sorted(
        [first.unit.contact_email, second.unit.contact_email]
    )


async def leaves(delivery: Delivery) -> None:
    async with transaction(delivery.services, System()) as work:
        table = Membership.columns()
        theirs = table.user_id == delivery.people["kim"].id
        await work.session.execute(delete(Membership).where(theirs))


async def is_deleted(delivery: Delivery) -> None:
    async with transaction(delivery.services, System()) as work:
        theirs = User.columns().id == delivery.people["kim"].id
        await work.session.execute(delete(User).where(theirs))


async def is_deactivated(delivery: Delivery) -> None:
    async with transaction(delivery.services, System()) as work:
        theirs = User.columns().id == delivery.people["kim"].id
        await work.session.execute(update(User).where(theirs).values(active=False))


async def fetches_all(delivery: Delivery) -> None:
    await delivery.fetch("kim", *FILES)


async def is_retracted(delivery: Delivery) -> None:
    await delivery.change(status=Status.IN_PROGRESS)


async def is_extended(delivery: Delivery) -> None:
    await delivery.change(deadline=delivery.deadline + timedelta(days=10))


@pytest.mark.parametrize("meanwhile", [leaves, is_deleted, is_deactivated, fetches_all])
async def test_a_reminder_that_is_not_true_any_more_does_not_leave(
    sending: Services, mail_server: MailServer, clock: SettableClock, meanwhile: Any
) -> None:
    delivery = await a_delivery(sending, "kim")
    clock.set(delivery.days_before(7))
    await run(sending)
    await meanwhile(delivery)
    await send_all(sending)
    (summary,) = mail_server.everything()
    assert summary.recipients == (delivery.unit.contact_email,)
    assert KIM not in summary.text
    assert await states(sending) == {MailState.SENT: 1, MailState.WITHDRAWN: 1}


@pytest.mark.parametrize("meanwhile", [is_retracted, is_extended])
async def test_nothing_leaves_about_a_project_that_does_not_end_then(
    sending: Services, mail_server: MailServer, clock: SettableClock, meanwhile: Any
) -> None:
    delivery = await a_delivery(sending, "kim")
    goes_on = await a_delivery(sending, unit=delivery.unit)
    clock.set(delivery.days_before(7))
    await run(sending)
    await meanwhile(delivery)
    await send_all(sending)
    (summary,) = mail_server.everything()
    assert goes_on.project.public_id in summary.text
    assert delivery.project.public_id not in summary.text
    assert await states(sending) == {MailState.SENT: 1, MailState.WITHDRAWN: 1}


async def test_after_the_deadline_nothing_leaves_and_who_was_not_told_is_remembered(
    sending: Services, mail_server: MailServer, clock: SettableClock
) -> None:
    delivery = await a_delivery(sending, "kim")
    clock.set(delivery.days_before(1))
    await run(sending)
    mail_server.refuse(451)
    with pytest.raises(MailUnavailable):
        await send_all(sending)
    mail_server.accept()
    ended = delivery.deadline
    clock.set(ended + timedelta(hours=1))
    await delivery.change(status=Status.EXPIRED, deadline=ended + timedelta(days=30))
    with pytest.raises(GiveUp, match="passed"):
        await send_all(sending)
    assert mail_server.everything() == ()
    assert await states(sending) == {MailState.FAILED: 1, MailState.WITHDRAWN: 1}
    async with reading(sending, System()) as work:  # so its data is not removed
        waiting = await outbox.undelivered(work, [delivery.project.public_id])
    assert waiting == {delivery.project.public_id: 1}


async def test_a_withdrawn_letter_holds_nothing_back(
    sending: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(sending, "kim")
    clock.set(delivery.days_before(1))
    await run(sending)
    await fetches_all(delivery)
    await send_all(sending)
    async with reading(sending, System()) as work:
        assert await outbox.undelivered(work, [delivery.project.public_id]) == {}


async def test_a_reminder_goes_to_the_address_somebody_has_now(
    sending: Services, mail_server: MailServer, clock: SettableClock
) -> None:
    delivery = await a_delivery(sending, "kim")
    clock.set(delivery.days_before(1))
    await run(sending)
    async with transaction(sending, System()) as work:
        theirs = UserEmail.columns().user_id == delivery.people["kim"].id
        await work.session.execute(update(UserEmail).where(theirs).values(email=EVA))
    await send_all(sending)
    assert len(mail_server.to(EVA)) == 1
    assert not mail_server.to(KIM)


async def test_a_letter_that_waited_says_what_is_so_when_it_leaves(
    sending: Services, mail_server: MailServer, clock: SettableClock
) -> None:
    delivery = await a_delivery(sending, "kim")
    clock.set(delivery.days_before(7))
    await run(sending)
    await delivery.fetch("kim", "a")
    clock.set(delivery.days_before(4))
    await send_all(sending)
    (letter,) = mail_server.to(KIM)
    assert "in 4 days" in letter.text
    assert "2 of 3 files" in letter.text
    await send_all(sending)  # a job that is run again sends nothing again
    assert len(mail_server.to(KIM)) == 1


async def states(services: Services) -> Counter[MailState]:
    async with reading(services, System()) as work:
        return Counter((await work.session.execute(select(Mail.columns().state))).scalars())


async def test_what_was_written_is_in_the_audit_log(
    services: Services, clock: SettableClock
) -> None:
    delivery = await a_delivery(services, "kim")
    clock.set(delivery.days_before(7))
    for _ in range(2):
        await run(services)
    async with reading(services, ROOT) as work:
        (line,) = await trail.listing(work, Sought(action="reminders.write"), 10)
    assert line.subject == delivery.unit.public_id
    assert '"letters": 1' in line.facts


async def test_only_operators_look_begin_and_configure(services: Services) -> None:
    async with transaction(services, Nobody()) as work:
        with pytest.raises(Forbidden):
            await reminders.due(work)
        with pytest.raises(Forbidden):
            await reminders.begin(work)
        with pytest.raises(Forbidden):
            await reminders.configure(work, "unit1", "7")
    async with transaction(services, ROOT) as work:
        with pytest.raises(NotFound, match="ddsctl unit ls"):
            await reminders.configure(work, "nosuch", "7")


async def test_a_unit_cannot_be_given_what_are_no_days(services: Services) -> None:
    delivery = await a_delivery(services)
    async with transaction(services, ROOT) as work:
        with pytest.raises(InvalidInput):
            await reminders.configure(work, delivery.unit.public_id, "91")


@pytest.mark.parametrize(("at", "line"), [("07:00", "0 7 * * *"), ("23:45", "45 23 * * *")])
def test_the_job_comes_daily_at_the_configured_hour(at: str, line: str) -> None:
    job = reminders.scheduled(Settings(reminders=Reminders(at=at)))
    assert job.when == Cron(line)
    assert job.at_start
