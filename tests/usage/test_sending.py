"""What is written down goes out as one table per unit, exact to the last digit."""

from __future__ import annotations

import csv
from datetime import timedelta
from email import message_from_bytes, policy

import pytest
from sqlalchemy import select

from ddsd.access import Nobody, System
from ddsd.errors import Forbidden, InvalidInput, NotFound
from ddsd.mail import outbox
from ddsd.mail.port import Letter
from ddsd.mail.smtp import Sender, compose
from ddsd.mail.tables import Mail
from ddsd.usage import monthly, sending
from ddsd.usage.bytehours import Month
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock, a_project, a_unit
from tests.services import make_services
from tests.usage.records import a_version, letters

MARCH = Month(2026, 3)
APRIL = Month(2026, 4)
DAY = timedelta(days=1)


@pytest.fixture
async def two_months(services: Services, clock: SettableClock) -> Services:
    """March and April are written down for two units."""
    async with transaction(services, System()) as work:
        for name in ("imaging", "genomics"):
            unit = await a_unit(work.session, public_id=name)
            project = await a_project(work.session, unit, title='Fern, "the" genome')
            a_version(work, project, 2**50 + 1, MARCH.end - DAY, APRIL.start + DAY)
    clock.set(APRIL.end + DAY)
    await monthly.collect_due(services, System())
    return services


async def test_a_table_has_a_line_per_project_and_month_and_a_sum(two_months: Services) -> None:
    async with reading(two_months, System()) as work:
        months, sheets = await sending.sheets(work, 2)
    assert months == [MARCH, APRIL]
    assert [one.name for one in sheets] == [
        "genomics_usage_2026-03-to-2026-04.csv",
        "imaging_usage_2026-03-to-2026-04.csv",
    ]
    head, march, april, total = csv.reader(sheets[0].csv.splitlines())
    assert head == [
        "Project ID",
        "Project Title",
        "Project Created",
        "Time Collected",
        "Byte Hours",
    ]
    assert march[:4] == [
        "genomics00001",
        'Fern, "the" genome',
        "2026-03-02 12:00:00",
        "2026-05-02 00:00:00",
    ]
    assert float(march[4]) == float(april[4]) == 24 * (2**50 + 1)
    assert total == ["--", "--", "--", "--", repr(48.0 * (2**50 + 1))]


async def test_the_last_month_alone_is_what_is_sent_unless_more_is_asked_for(
    two_months: Services,
) -> None:
    async with transaction(two_months, System()) as work:
        [genomics, _] = await sending.send(work, 1)
    assert genomics.name == "genomics_usage_2026-04.csv"
    assert (await letters(two_months))[-1] == ("usage_sent", "root@localhost")


async def test_the_letter_carries_the_tables_as_files(two_months: Services) -> None:
    carried: list[Letter] = []

    class Postman:
        sends = True

        async def send(self, letter: Letter) -> None:
            carried.append(letter)

    services = make_services(
        two_months.database,
        two_months.clock,  # type: ignore[arg-type]  # the same settable one
        two_months.settings.instance.state_dir,
        post=Postman(),
    )
    async with transaction(services, System()) as work:
        sent = await sending.send(work, 2, "invoices@example.org")
        newest = await work.session.scalar(
            select(Mail.columns().id).order_by(Mail.columns().id.desc())
        )
    await outbox.send_mail(services, str(newest))
    [letter] = carried
    message = message_from_bytes(
        compose(letter, Sender.parse("a@example.org")), policy=policy.default
    )
    assert message["To"] == "invoices@example.org"
    body = message.get_body(("plain",))
    assert body is not None
    assert "2026-03-to-2026-04 is attached" in body.get_content()
    files = {
        part.get_filename(): (part.get_content_type(), part.get_content())
        for part in message.iter_attachments()
    }
    assert set(files) == {one.name for one in sent}
    for one in sent:
        kind, content = files[one.name]
        assert kind == "text/csv"
        assert content.splitlines() == one.csv.splitlines()


@pytest.mark.parametrize("count", [0, 13, -1])
async def test_only_up_to_twelve_months_are_sent(services: Services, count: int) -> None:
    with pytest.raises(InvalidInput):
        async with reading(services, System()) as work:
            await sending.sheets(work, count)


async def test_before_anything_is_written_down_nothing_is_sent(services: Services) -> None:
    with pytest.raises(NotFound, match="No month has been written down yet"):
        async with transaction(services, System()) as work:
            await sending.send(work, 1)
    assert await letters(services) == []


async def test_a_stranger_gets_no_tables(two_months: Services) -> None:
    with pytest.raises(Forbidden):
        async with reading(two_months, Nobody()) as work:
            await sending.sheets(work, 1)
