"""The outbox."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.mail import outbox, resending, samples
from ddsd.mail.tables import MailState
from ddsd.planes.admin import present
from ddsd.work import Services, reading, transaction


@get("/mails")
async def list_mails(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    recipient: FromQuery[str | None] = None,
    in_state: FromQuery[MailState | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 50,
) -> list[wire.Mail]:
    """List letters, newest first, without their text."""
    async with reading(services, operator) as work:
        found = await outbox.listing(work, limit, recipient, state=in_state)
        return [present.mail(one) for one in found]


@get("/mails/{mail_id:int}")
async def show_mail(
    mail_id: FromPath[int],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Letter:
    """Show a letter, with its text unless that is a secret and mail is really sent."""
    async with reading(services, operator) as work:
        return present.letter(await outbox.show(work, mail_id))


@post("/mails/{mail_id:int}/resend", status_code=HTTP_200_OK)
async def resend_mail(
    mail_id: FromPath[int],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Mail:
    """Let a failed letter leave after all."""
    async with transaction(services, operator) as work:
        return present.mail(await resending.resend(work, mail_id))


@post("/mails/resend", status_code=HTTP_200_OK)
async def resend_failed_mails(
    data: JSONBody[wire.TryAgain],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.TriedAgain:
    """Let all failed letters leave after all, a step at a time, or only count them."""
    async with transaction(services, operator) as work:
        if data.dry_run:
            return wire.TriedAgain(count=await resending.count_failed(work))
        done = await resending.resend_failed(work, data.after)
    return wire.TriedAgain(count=done.letters, last=done.last, more=done.more)


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
