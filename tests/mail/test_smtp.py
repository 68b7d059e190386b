"""What reaches a real mail server, and what each of its refusals means."""

from __future__ import annotations

import socket
from dataclasses import replace
from email import message_from_bytes

import pytest

from ddsd.errors import ConfigurationError, MailRefused, MailUnavailable
from ddsd.mail.port import Letter
from ddsd.mail.smtp import Sender, SmtpTransport, compose
from ddsd.secret import SecretText
from ddsd.settings import MailSecurity
from tests.mail.builders import SENDER, post_to
from tests.parts.smtp import MailServer, Step

LETTER = Letter(
    recipient="kim@example.org",
    subject="Räksmörgås för " + "Åke & Söner, " * 12 + "slut",
    text="Hej Åke\n.\nen punkt ovan, och " + "långt " * 300 + "\n",
    html="<p>Hej Åke</p>\n",
    message_id="<0123@dds.core.example>",
)


async def test_subject_text_and_html_arrive_as_written(mail_server: MailServer) -> None:
    await post_to(mail_server).send(LETTER)
    received = mail_server.newest("kim@example.org")
    html = received.message.get_body(preferencelist=("html",))
    assert html is not None
    assert (received.subject, received.text) == (LETTER.subject, LETTER.text)
    assert html.get_content().replace("\r\n", "\n") == LETTER.html
    assert received.message.get_content_type() == "multipart/alternative"
    assert received.message["Message-ID"] == LETTER.message_id
    assert received.message["From"] == SENDER
    assert received.message["Date"]
    assert received.message["Auto-Submitted"] == "auto-generated"
    assert received.sender == "deliveries@core.example"


async def test_a_letter_without_html_is_plain_text(mail_server: MailServer) -> None:
    await post_to(mail_server).send(replace(LETTER, html=""))
    assert mail_server.newest("kim@example.org").message.get_content_type() == "text/plain"


@pytest.mark.parametrize(
    "subject",
    [
        "x\r\nBcc: victim@x.example",
        "x\n\nbody",
        "=?utf-8?q?x=0D=0ABcc:_victim@x.example?=",
        "=?utf-8?b?eA0KQmNjOiB2aWN0aW1AeC5leGFtcGxl?= " + "and long " * 30,
        "\x00\x85\u2028Bcc: v@x.example",
    ],
)
async def test_no_subject_adds_a_header(mail_server: MailServer, subject: str) -> None:
    plain = message_from_bytes(compose(LETTER, Sender.parse(SENDER))).keys()
    await post_to(mail_server).send(replace(LETTER, subject=subject))
    received = mail_server.newest("kim@example.org")
    assert sorted(received.message.keys()) == sorted([*plain, *_added_by(mail_server)])
    assert received.recipients == ("kim@example.org",)
    assert "\n" not in received.subject


def _added_by(server: MailServer) -> list[str]:
    return [name for name in server.everything()[-1].message if name.startswith("X-")]


@pytest.mark.parametrize(
    "recipient",
    [
        "",
        "kim",
        "kim@",
        "@example.org",
        "kim@example.org\r\nRCPT TO:<v@x.example>",
        "kim@example.org, v@x.example",
        "Kim <kim@example.org>",
        "kim @example.org",
        "\ud800@example.org",
    ],
)
async def test_what_is_no_address_is_refused_and_nothing_is_sent(
    mail_server: MailServer, recipient: str
) -> None:
    with pytest.raises(MailRefused):
        await post_to(mail_server).send(replace(LETTER, recipient=recipient))
    assert mail_server.everything() == ()


async def test_an_international_domain_is_written_in_ascii(mail_server: MailServer) -> None:
    await post_to(mail_server).send(replace(LETTER, recipient="kim@räksmörgås.example"))
    assert mail_server.newest("kim@xn--rksmrgs-5wao1o.example").subject == LETTER.subject


async def test_a_local_part_outside_ascii_is_sent_to_a_server_that_knows_them(
    mail_server: MailServer,
) -> None:
    await post_to(mail_server).send(replace(LETTER, recipient="åke@example.org"))
    received = mail_server.newest("åke@example.org")
    assert received.subject == LETTER.subject
    assert received.addressees == ("åke@example.org",)


@pytest.mark.parametrize("step", Step)
async def test_a_refusal_for_now_is_worth_another_try(mail_server: MailServer, step: Step) -> None:
    mail_server.refuse(451, at=step)
    with pytest.raises(MailUnavailable, match="451"):
        await post_to(mail_server).send(LETTER)


@pytest.mark.parametrize("step", [Step.RECIPIENT, Step.CONTENT])
async def test_a_refusal_of_the_letter_for_good_is_not(mail_server: MailServer, step: Step) -> None:
    mail_server.refuse(550, at=step)
    with pytest.raises(MailRefused, match="550"):
        await post_to(mail_server).send(LETTER)


async def test_a_refusal_of_our_own_address_can_be_mended_by_the_operator(
    mail_server: MailServer,
) -> None:
    mail_server.refuse(550, at=Step.SENDER)
    with pytest.raises(MailUnavailable, match="550"):
        await post_to(mail_server).send(LETTER)


@pytest.mark.parametrize("step", Step)
async def test_a_server_that_hangs_up_is_unavailable(mail_server: MailServer, step: Step) -> None:
    mail_server.hang_up(at=step)
    with pytest.raises(MailUnavailable):
        await post_to(mail_server).send(LETTER)


async def test_a_server_that_does_not_answer_in_time_is_unavailable(
    mail_server: MailServer,
) -> None:
    mail_server.delay(3)
    with pytest.raises(MailUnavailable):
        await post_to(mail_server, timeout_s=0.3).send(LETTER)


async def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    post = SmtpTransport("127.0.0.1", port, MailSecurity.NONE, "", None, SENDER, 5)
    with pytest.raises(MailUnavailable, match=f"127.0.0.1:{port}"):
        await post.send(LETTER)


@pytest.mark.parametrize("security", [MailSecurity.STARTTLS, MailSecurity.TLS])
async def test_a_server_without_encryption_gets_nothing_when_it_is_required(
    mail_server: MailServer, security: MailSecurity
) -> None:
    with pytest.raises(MailUnavailable):
        await post_to(mail_server, security=security, timeout_s=5).send(LETTER)
    assert mail_server.everything() == ()


async def test_a_server_without_logins_gets_nothing_when_one_is_configured(
    mail_server: MailServer,
) -> None:
    post = SmtpTransport(
        mail_server.host,
        mail_server.port,
        MailSecurity.NONE,
        "ddsd",
        SecretText("hunter2"),
        SENDER,
        5,
    )
    with pytest.raises(MailUnavailable) as refused:
        await post.send(LETTER)
    assert "hunter2" not in str(refused.value)
    assert mail_server.everything() == ()


@pytest.mark.parametrize(
    "name", ["Core\r\nBcc: v@x.example", "Kärna, “Öst”", '"Core, East"', "=?utf-8?q?=0ABcc:x?="]
)
async def test_the_sender_may_have_any_name(mail_server: MailServer, name: str) -> None:
    post = SmtpTransport(
        mail_server.host,
        mail_server.port,
        MailSecurity.NONE,
        "",
        None,
        f"{name} <deliveries@core.example>",
        5,
    )
    await post.send(LETTER)
    received = mail_server.newest("kim@example.org")
    (sender,) = received.message["From"].addresses
    assert sender.addr_spec == "deliveries@core.example"
    assert sender.display_name == " ".join(name.split()).strip('"')
    assert "Bcc" not in received.message


@pytest.mark.parametrize("sender", ["", "Core", "Core <>", "a@b, c@d"])
def test_a_sender_without_one_address_is_a_configuration_error(sender: str) -> None:
    with pytest.raises(ConfigurationError, match=r"mail\.sender"):
        SmtpTransport("127.0.0.1", 25, MailSecurity.NONE, "", None, sender, 5)


async def test_a_server_whose_name_leads_nowhere_is_named() -> None:
    post = SmtpTransport(
        host="mail.invalid",
        port=25,
        security=MailSecurity.NONE,
        username="",
        password=None,
        sender=SENDER,
        timeout_s=5,
    )
    for talk in (post.send(LETTER), post.introduce("kim@example.org")):
        with pytest.raises(MailUnavailable, match=r"mail\.invalid:25"):
            await talk


async def test_an_introduction_sends_nothing(mail_server: MailServer) -> None:
    await post_to(mail_server).introduce("kim@example.org")
    assert mail_server.everything() == ()


@pytest.mark.parametrize(
    ("step", "code", "refusal"),
    [
        (Step.RECIPIENT, 550, MailRefused),
        (Step.RECIPIENT, 450, MailUnavailable),
        (Step.SENDER, 553, MailUnavailable),
    ],
)
async def test_an_introduction_tells_what_a_letter_would_meet(
    mail_server: MailServer, step: Step, code: int, refusal: type[Exception]
) -> None:
    mail_server.refuse(code, at=step)
    with pytest.raises(refusal, match=str(code)):
        await post_to(mail_server).introduce("kim@example.org")
