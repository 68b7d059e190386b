"""The transport that really sends: one SMTP conversation per letter.

Invariant: a letter's words cannot become headers or commands, and an accepted letter is never reported as refused.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime, formataddr, localtime
from typing import Final

import aiosmtplib
import structlog

from ddsd.errors import ConfigurationError, MailRefused, MailUnavailable
from ddsd.mail.port import Letter
from ddsd.mail.render import one_line
from ddsd.secret import SecretText
from ddsd.settings import MailSecurity

_PERMANENT: Final = 500
_LONGEST_PLAIN: Final = (
    900  # with the header's name below the 998 octets of RFC 5322, section 2.1.1
)
_POLICY: Final = SMTPUTF8.clone(refold_source="none", cte_type="7bit")
_ADDRESS: Final = re.compile(
    r'[^\s\x00-\x20\x7f@<>()\[\]\\,:;"]+@[^\s\x00-\x20\x7f@<>()\[\]\\,:;"]+'
)
_log = structlog.get_logger()


@dataclass(frozen=True)
class Sender:
    """Who letters are from. ``header`` is the From header's text, ``address`` the envelope's sender."""

    header: str
    address: str

    @classmethod
    def parse(cls, text: str) -> Sender:
        """Read an address or ``Name <address>``.

        Raises:
            ConfigurationError: the address is none.
        """
        name, _, rest = one_line(text).rpartition("<")
        try:
            address = wire_address(rest.removesuffix(">").strip())
        except MailRefused as wrong:
            raise ConfigurationError(
                f"mail.sender: must be an address or 'Name <address>' (got {text!r})"
            ) from wrong
        shown = name.strip().strip('"')
        if shown.isascii() and "=?" not in shown:
            return cls(formataddr((shown, address)), address)
        return cls(f"{_header_text('From', shown)} <{address}>", address)


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

    Raises:
        ConfigurationError: ``sender`` is no address.
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
        self._sender = Sender.parse(sender)
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
            await self._hand_over(message, wire_address(letter.recipient))
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

    async def introduce(self, recipient: str) -> None:
        """Talk to the server until it accepts a letter from us to ``recipient``, and send none.

        Raises:
            MailUnavailable: the server is away, or refuses our login or sender.
            MailRefused: it refuses the recipient for good.
        """
        server = self._server()
        try:
            await server.connect()
            try:
                await server.mail(self._sender.address)
                await server.rcpt(wire_address(recipient))
                await server.rset()
            finally:
                await _part(server)
        except aiosmtplib.SMTPRecipientRefused as wrong:
            raise _judged(wrong.code, wrong.message) from wrong
        except (aiosmtplib.SMTPException, OSError) as wrong:
            raise MailUnavailable(
                f"The mail server {self._host}:{self._port} does not take letters: {wrong}"
            ) from wrong

    async def _hand_over(self, message: bytes, recipient: str) -> None:
        server = self._server()
        await server.connect()
        try:
            options = () if recipient.isascii() else ("SMTPUTF8",)
            await server.sendmail(self._sender.address, [recipient], message, mail_options=options)
        finally:
            await _part(server)

    def _server(self) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._security is MailSecurity.TLS,
            start_tls=self._security is MailSecurity.STARTTLS,
            username=self._username or None,
            password=self._password.text() if self._username and self._password else None,
            local_hostname=socket.gethostname(),
            timeout=self._timeout_s,
        )


async def _part(server: aiosmtplib.SMTP) -> None:
    # The letter's fate is decided before QUIT: an answer that fails to come must not have it sent again.
    try:
        await server.quit()
    except (aiosmtplib.SMTPException, OSError) as wrong:
        _log.debug("mail.quit_failed", why=str(wrong))
        server.close()


def compose(letter: Letter, sender: Sender) -> bytes:
    """Return the letter as it goes over the wire: 7 bit, ``multipart/alternative`` where there is HTML.

    What is attached comes after that, in a ``multipart/mixed``.

    Only an address with a local part outside ASCII is written as it is, in UTF-8 (RFC 6532).

    Raises:
        MailRefused: the recipient's address is none.
    """
    message = EmailMessage(policy=_POLICY)
    message.set_content(letter.text)
    if letter.html:
        message.add_alternative(letter.html, subtype="html")
    for one in letter.attachments:
        message.add_attachment(one.csv, subtype="csv", filename=one.name)
    # Raw: the policy's own folding loses spaces of encoded words, and it decodes "=?utf-8?q?=0A…?=" in a title.
    message.set_raw("Subject", _header_text("Subject", letter.subject))
    message.set_raw("From", sender.header)
    message.set_raw("To", wire_address(letter.recipient))
    message.set_raw("Date", format_datetime(localtime()))
    message.set_raw("Message-ID", letter.message_id)
    message.set_raw("Auto-Submitted", "auto-generated")  # RFC 3834: no holiday notice answers this
    return message.as_bytes()


def wire_address(address: str) -> str:
    """Write an address as every server understands it: an international domain in ASCII (RFC 3490).

    Raises:
        MailRefused: it is none, or more than one.
    """
    if _ADDRESS.fullmatch(address) is None:
        raise MailRefused(f"This is no mail address: {address!r}")
    local, _, domain = address.rpartition("@")
    try:
        return f"{local.encode().decode()}@{domain.encode('idna').decode()}"
    except UnicodeError as wrong:
        raise MailRefused(f"This is no mail address: {address!r}") from wrong


def _header_text(name: str, text: str) -> str:
    plain = one_line(text)
    if plain.isascii() and "=?" not in plain and len(plain) <= _LONGEST_PLAIN:
        return plain
    return Header(plain, "utf-8", header_name=name).encode(linesep="\r\n")


def _judged(code: int, message: str) -> MailUnavailable | MailRefused:
    answer = f"The mail server answered {code}: {one_line(message)}"
    return MailRefused(answer) if code >= _PERMANENT else MailUnavailable(answer)
