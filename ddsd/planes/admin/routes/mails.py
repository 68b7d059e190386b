"""The outbox."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.mail import outbox, samples
from ddsd.planes.admin import present
from ddsd.work import Services, reading


@get("/mails")
async def list_mails(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    recipient: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 50,
) -> list[wire.Mail]:
    """List letters, newest first, without their text."""
    async with reading(services, operator) as work:
        return [present.mail(one) for one in await outbox.listing(work, limit, recipient)]


@get("/mails/{mail_id:int}")
async def show_mail(
    mail_id: FromPath[int],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Letter:
    """Show a letter, with its text unless that is a secret and mail is really sent."""
    async with reading(services, operator) as work:
        return present.letter(await outbox.show(work, mail_id))


@get("/mail-samples", sync_to_thread=False)
def list_samples(
    services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> list[wire.Preview]:
    """Preview every kind of letter this service writes."""
    return [_preview(services, kind) for kind in sorted(samples.SAMPLES)]


@get("/mail-samples/{kind:str}", sync_to_thread=False)
def show_sample(
    kind: FromPath[str], services: NamedDependency[Services], operator: NamedDependency[Operator]
) -> wire.Preview:
    """Preview one kind of letter, with the facility's own name and contact."""
    return _preview(services, kind)


def _preview(services: Services, kind: str) -> wire.Preview:
    letter = samples.preview(services.settings, kind)
    return wire.Preview(kind=kind, subject=letter.subject, text=letter.text, html=letter.html)
