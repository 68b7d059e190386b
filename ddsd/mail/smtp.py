"""The transport that really sends: one SMTP conversation per letter.

Invariant: a letter's words cannot become headers or commands, and an accepted letter is never reported as refused.
"""

from __future__ import annotations

import socket
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime, parseaddr
from typing import Final

import aiosmtplib
import structlog

from ddsd.errors import MailRefused, MailUnavailable
from ddsd.mail.port import Letter
from ddsd.mail.render import one_line
from ddsd.secret import SecretText
from ddsd.settings import MailSecurity

_PERMANENT: Final = 500
_log = structlog.get_logger()


class SmtpTransport:
    """Sends letters through one mail server.

    Args:
        host: the mail server.
        port: its TCP port.
        security: ``none``; ``starttls``, which is then required; or ``tls`` from the first byte. Certificates are
            verified.
        username: empty where the server wants no login.
        password: for ``username``.
        sender: an address, or ``Name <address>``; the address is also where bounces go.
        timeout_s: seconds that each step of the conversation may take.
    """

    sends = True

    def __init__(
        self,
        host: str,
        port: int,
        security: MailSecurity,
        username: str,
        password: SecretText | None,
        sender: str,
        timeout_s: float,
    ) -> None:
        self._host = host
        self._port = port
        self._security = security
        self._username = username
        self._password = password
        self._sender = sender
        self._timeout_s = timeout_s

    async def send(self, letter: Letter) -> None:
        """Hand one letter over to the server.

        Raises:
            MailUnavailable: the server is away, breaks off, refuses for now (4xx), or refuses *us*: the login or
                the sender's address, which the operator can mend.
            MailRefused: the server refuses this recipient or this letter for good (5xx), or the address is none.
        """
        message = compose(letter, self._sender)
        try:
            await self._hand_over(message)
        except aiosmtplib.SMTPRecipientsRefused as wrong:
            refused = wrong.recipients[0]
            raise _judged(refused.code, refused.message) from wrong
        except (aiosmtplib.SMTPDataError, aiosmtplib.SMTPRecipientRefused) as wrong:
            raise _judged(wrong.code, wrong.message) from wrong
        except aiosmtplib.SMTPNotSupported as wrong:
            if letter.recipient.isascii():
                raise MailUnavailable(
                    f"The mail server cannot do what is configured: {wrong}"
                ) from wrong
            raise MailRefused(
                f"The mail server cannot send to addresses outside ASCII: {letter.recipient}"
            ) from wrong
        except (aiosmtplib.SMTPException, OSError) as wrong:
            raise MailUnavailable(
                f"The mail server {self._host}:{self._port} does not take the letter: {wrong}"
            ) from wrong

    async def _hand_over(self, message: EmailMessage) -> None:
        server = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._security is MailSecurity.TLS,
            start_tls=self._security is MailSecurity.STARTTLS,
            username=self._username or None,
            password=self._password.text() if self._username and self._password else None,
            local_hostname=socket.gethostname(),
            timeout=self._timeout_s,
        )
        await server.connect()
        try:
            await server.send_message(message)
        finally:
            await _part(server)


async def _part(server: aiosmtplib.SMTP) -> None:
    # The letter's fate is decided before QUIT: an answer that fails to come must not have it sent again.
    try:
        await server.quit()
    except (aiosmtplib.SMTPException, OSError) as wrong:
        _log.debug("mail.quit_failed", why=str(wrong))
        server.close()


def compose(letter: Letter, sender: str) -> EmailMessage:
    """Return the letter as a message, ``multipart/alternative`` where there is HTML.

    Raises:
        MailRefused: the recipient's address is none.
    """
    message = EmailMessage(policy=SMTP)
    message["Subject"] = _header_text(letter.subject)
    message["From"] = _sender_address(sender)
    message["To"] = _recipient_address(letter.recipient)
    message["Date"] = localtime()
    message["Message-ID"] = letter.message_id
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice answers this
    message.set_content(letter.text)
    if letter.html:
        message.add_alternative(letter.html, subtype="html")
    return message


def _header_text(text: str) -> str:
    # The header parser decodes "=?utf-8?q?=0A…?=" even where a person typed it, line end and all.
    return one_line(text).replace("=?", "= ?")


def _sender_address(sender: str) -> Address:
    name, address = parseaddr(one_line(sender))
    return Address(_header_text(name), addr_spec=_ascii_domain(address))


def _recipient_address(recipient: str) -> Address:
    try:
        return Address(addr_spec=_ascii_domain(recipient))
    except (ValueError, IndexError) as wrong:
        raise MailRefused(f"This is no mail address: {recipient!r}") from wrong


def _ascii_domain(address: str) -> str:
    """Write an international domain as every server understands it (RFC 3490)."""
    local, at, domain = address.rpartition("@")
    return address if domain.isascii() else f"{local}{at}{domain.encode('idna').decode()}"


def _judged(code: int, message: str) -> MailUnavailable | MailRefused:
    answer = f"The mail server answered {code}: {one_line(message)}"
    return MailRefused(answer) if code >= _PERMANENT else MailUnavailable(answer)
