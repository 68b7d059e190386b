"""The SMTP part: it keeps what it accepts, and refuses, dawdles and hangs up when told."""

from __future__ import annotations

from email.message import EmailMessage

import aiosmtplib
import pytest

from tests.parts.smtp import MailServer, Step


def mail(text: str, *, to: str = "kim@example.org", subject: str = "Räksmörgås") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "dds@example.org"
    message["To"] = to
    message["Subject"] = subject
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    return message


async def send(server: MailServer, message: EmailMessage, *, seconds: float = 20.0) -> None:
    await aiosmtplib.send(message, hostname=server.host, port=server.port, timeout=seconds)


async def test_a_message_is_read_back_with_subject_text_and_code(mail_server: MailServer) -> None:
    await send(mail_server, mail("Code: 01234567\nIt expires on 2026-11-22."))
    received = await mail_server.arrival("kim@example.org")
    assert received.subject == "Räksmörgås"
    assert received.sender == "dds@example.org"
    assert received.addressees == ("kim@example.org",)
    assert received.code == "01234567"
    assert received.text.startswith("Code: 01234567")


async def test_the_newest_is_the_last_to_that_address(mail_server: MailServer) -> None:
    for to, code in (("kim@example.org", 11111111), ("kim@example.org", 22222222), ("o@x.org", 3)):
        await send(mail_server, mail(str(code), to=to))
    assert mail_server.newest("kim@example.org").code == "22222222"
    assert [received.text.strip() for received in mail_server.everything()][-1] == "3"


async def test_a_text_without_a_code_or_with_two_has_none(mail_server: MailServer) -> None:
    for text in ("123456789", "11111111 22222222"):
        await send(mail_server, mail(text))
        with pytest.raises(LookupError):
            _ = mail_server.newest("kim@example.org").code


async def test_no_mail_is_an_error_that_lists_what_came(mail_server: MailServer) -> None:
    await send(mail_server, mail("hello"))
    with pytest.raises(LookupError, match="Räksmörgås"):
        mail_server.newest("nobody@example.org")
    with pytest.raises(LookupError, match="1 of 2"):
        await mail_server.arrival("kim@example.org", count=2, seconds=0.01)


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("code", [451, 550])
async def test_a_refusal_reaches_the_client_and_nothing_is_kept(
    mail_server: MailServer, step: Step, code: int
) -> None:
    mail_server.refuse(code, at=step)
    with pytest.raises(aiosmtplib.SMTPException) as refusal:
        await send(mail_server, mail("hello"))
    assert str(code) in str(refusal.value)
    assert mail_server.everything() == ()


@pytest.mark.parametrize("step", Step)
async def test_a_hang_up_reaches_the_client_and_nothing_is_kept(
    mail_server: MailServer, step: Step
) -> None:
    mail_server.hang_up(at=step)
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send(mail_server, mail("hello"))
    assert mail_server.everything() == ()


async def test_a_slow_server_outlasts_an_impatient_client(mail_server: MailServer) -> None:
    mail_server.delay(30.0)
    with pytest.raises(aiosmtplib.SMTPTimeoutError):
        await send(mail_server, mail("hello"), seconds=0.1)


async def test_after_a_refusal_it_accepts_again(mail_server: MailServer) -> None:
    mail_server.refuse(451)
    with pytest.raises(aiosmtplib.SMTPException):
        await send(mail_server, mail("hello"))
    mail_server.accept()
    await send(mail_server, mail("hello again"))
    assert mail_server.newest("kim@example.org").text == "hello again\n"
    mail_server.forget()
    assert mail_server.everything() == ()
