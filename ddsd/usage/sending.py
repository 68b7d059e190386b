"""What is written down, as tables for whoever writes the invoices: one CSV file per unit, sent by mail."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from ddsd.audit import trail
from ddsd.errors import InvalidInput, NotFound
from ddsd.mail import outbox
from ddsd.mail.port import Attachment
from ddsd.usage import monthly, reports
from ddsd.usage.bytehours import Month
from ddsd.usage.reports import ProjectUsage
from ddsd.users.names import normal_email
from ddsd.work import Work

MOST_MONTHS: Final = 12
# The columns of the original, in its order (wire contract, section 11).
_HEAD: Final = ("Project ID", "Project Title", "Project Created", "Time Collected", "Byte Hours")


async def sheets(work: Work, count: int) -> tuple[list[Month], list[Attachment]]:
    """Return the last ``count`` months that are written down, and a table of them for each unit that used anything.

    Raises:
        Forbidden: the actor does not operate this service.
        InvalidInput: ``count`` is not from 1 to 12.
        NotFound: no month has been written down yet.
    """
    if not 1 <= count <= MOST_MONTHS:
        raise InvalidInput(f"months: must be from 1 to {MOST_MONTHS}.")
    last = await monthly.newest_collected(work)
    if last is None:
        raise NotFound("No month has been written down yet. See: ddsctl usage collect --dry-run")
    first = last.preceding(count - 1)
    lines = await reports.recorded(work, first, last)
    return [first, last], [
        Attachment(f"{unit}_usage_{_span(first, last)}.csv", table(list(of_unit)))
        for unit, of_unit in groupby(lines, key=lambda one: one.unit_public_id)
    ]


async def send(work: Work, count: int, recipient: str | None = None) -> list[Attachment]:
    """Mail the tables of :func:`sheets`, to the service's contact if nobody is named; return them.

    Raises:
        Forbidden, NotFound: as for :func:`sheets`.
        InvalidInput: the same; or ``recipient`` is no address.
    """
    to = normal_email(recipient) if recipient else work.services.settings.instance.contact
    [first, last], attached = await sheets(work, count)
    await outbox.write(
        work,
        "usage_sent",
        to,
        attachments=attached,
        month=_span(first, last),
        units=", ".join(one.name for one in attached) or "none, as nothing was stored",
    )
    trail.record(work, "usage.send", _span(first, last), to=to, sheets=len(attached))
    return attached


def table(lines: Sequence[ProjectUsage]) -> str:
    """Return CSV (RFC 4180) with a header, a line per project and month, and one with the sum."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_HEAD)
    for one in lines:
        collected = f"{one.collected_at:%Y-%m-%d %H:%M:%S}" if one.collected_at else ""
        created = f"{one.created_at:%Y-%m-%d %H:%M:%S}"
        writer.writerow([one.public_id, one.title, created, collected, repr(one.byte_hours)])
    writer.writerow(["--", "--", "--", "--", repr(sum(one.byte_hours for one in lines))])
    return text.getvalue()


def _span(first: Month, last: Month) -> str:
    return str(first) if first == last else f"{first}-to-{last}"
