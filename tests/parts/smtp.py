"""A real SMTP server on loopback that keeps what it accepts, and misbehaves when told to.

It runs in a thread of its own, so it serves clients in this process, on any loop, and in others.
Invariant: a message counts as received exactly when the server answered its data with 250.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import getaddresses
from enum import StrEnum

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.parts.ports import LOOPBACK

ACCEPTED = "250 OK"
ONE_TIME_CODE = re.compile(r"(?<!\d)\d{8}(?!\d)")


class Step(StrEnum):
    """Where in the conversation the server does what it was told."""

    SENDER = "MAIL"
    RECIPIENT = "RCPT"
    CONTENT = "DATA"


@dataclass(frozen=True)
class Manner:
    """How the server answers at ``step``; at the other steps it accepts."""

    step: Step = Step.CONTENT
    answer: str = ACCEPTED
    delay_seconds: float = 0.0
    hangs_up: bool = False


@dataclass(frozen=True)
class Received:
    """A message the server accepted, with its envelope."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage

    @property
    def subject(self) -> str:
        """The decoded subject."""
        return str(self.message["Subject"] or "")

    @property
    def addressees(self) -> tuple[str, ...]:
        """The addresses in the To header, which need not be those of the envelope."""
        return tuple(address for _, address in getaddresses(self.message.get_all("To", [])))

    @property
    def text(self) -> str:
        """The decoded text of the message, the plain alternative before the HTML one."""
        body = self.message.get_body(preferencelist=("plain", "html"))
        return str(body.get_content()).replace("\r\n", "\n") if body is not None else ""

    @property
    def code(self) -> str:
        """The one-time code of eight digits in the text.

        Raises:
            LookupError: there is none, or there are two different ones.
        """
        codes = set(ONE_TIME_CODE.findall(self.text))
        if len(codes) != 1:
            raise LookupError(f"{len(codes)} one-time codes in {self.subject!r}:\n{self.text}")
        return str(codes.pop())


class MailServer:
    """What was received so far, and how the server behaves from now on."""

    def __init__(self, port: int) -> None:
        self.host = LOOPBACK
        self.port = port
        self._manner = Manner()
        self._received: list[Received] = []
        self._arrival = threading.Condition()

    def accept(self) -> None:
        """Accept everything at once, as at the start."""
        self._manner = Manner()

    def refuse(self, code: int, *, at: Step = Step.CONTENT) -> None:
        """Answer ``at`` with ``code``: 4xx for now, 5xx for good."""
        self._manner = Manner(step=at, answer=f"{code} refused by the test")

    def delay(self, seconds: float, *, at: Step = Step.CONTENT) -> None:
        """Accept, but let the client wait for the answer."""
        self._manner = Manner(step=at, delay_seconds=seconds)

    def hang_up(self, *, at: Step = Step.CONTENT) -> None:
        """Close the connection instead of answering."""
        self._manner = Manner(step=at, hangs_up=True)

    def everything(self) -> tuple[Received, ...]:
        """Return all messages, oldest first."""
        with self._arrival:
            return tuple(self._received)

    def to(self, address: str) -> tuple[Received, ...]:
        """Return the messages whose envelope names ``address``, oldest first."""
        return tuple(mail for mail in self.everything() if address in mail.recipients)

    def newest(self, address: str) -> Received:
        """Return the newest message to ``address``.

        Raises:
            LookupError: there is none; the text lists what was received.
        """
        found = self.to(address)
        if not found:
            known = [f"{mail.recipients}: {mail.subject}" for mail in self.everything()]
            raise LookupError(f"no mail to {address}; received: {known}")
        return found[-1]

    def wait_for(self, address: str, *, count: int = 1, seconds: float = 20.0) -> Received:
        """Block until ``address`` has had ``count`` messages; return the newest.

        On a running loop use `arrival`: this would keep the sender from sending.

        Raises:
            LookupError: nothing was received in time, or fewer than ``count``.
        """
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self.to(address)) >= count, seconds):
                had = len(self.to(address))
                raise LookupError(f"{had} of {count} mails to {address} after {seconds} s")
        return self.newest(address)

    async def arrival(self, address: str, *, count: int = 1, seconds: float = 20.0) -> Received:
        """Wait as `wait_for` does while the loop goes on."""
        return await asyncio.to_thread(self.wait_for, address, count=count, seconds=seconds)

    def forget(self) -> None:
        """Drop what was received."""
        with self._arrival:
            self._received.clear()

    async def answer(self, step: Step, server: SMTP) -> str:
        """Behave at ``step`` as told; return the answer."""
        manner = self._manner
        if manner.step is not step:
            return ACCEPTED
        await asyncio.sleep(manner.delay_seconds)
        if manner.hangs_up:
            _transport(server).close()
        return manner.answer

    def keep(self, received: Received) -> None:
        """Take in what was accepted."""
        with self._arrival:
            self._received.append(received)
            self._arrival.notify_all()


class _Conversation:
    """aiosmtpd's hooks; each says what the client is answered."""

    def __init__(self, mails: MailServer) -> None:
        self._mails = mails

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._mails.answer(Step.SENDER, server)
        if answer == ACCEPTED:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return answer

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._mails.answer(Step.RECIPIENT, server)
        if answer == ACCEPTED:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return answer

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        answer = await self._mails.answer(Step.CONTENT, server)
        if answer == ACCEPTED and not _transport(server).is_closing():
            self._mails.keep(_received(envelope))
        return answer


class _LoopbackController(Controller):
    """aiosmtpd's thread, on a socket that is bound before: its own port 0 does not work."""

    def __init__(self, mails: MailServer, listener: socket.socket) -> None:
        super().__init__(_Conversation(mails), hostname=mails.host, port=mails.port)
        self._listener = listener

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        return self.loop.create_server(self._factory_invoker, sock=self._listener)


@contextmanager
def running_mail_server() -> Iterator[MailServer]:
    """Run a server on a free loopback port for as long as the block lasts."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        mails = MailServer(listener.getsockname()[1])
        controller = _LoopbackController(mails, listener)
        controller.start()
        try:
            yield mails
        finally:
            controller.stop()


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """A mail server that is this test's alone."""
    with running_mail_server() as server:
        yield server


def _transport(server: SMTP) -> asyncio.BaseTransport:
    assert server.transport is not None, "a conversation has a connection"
    return server.transport


def _received(envelope: Envelope) -> Received:
    assert isinstance(envelope.content, bytes), "decode_data is off"
    return Received(
        sender=envelope.mail_from or "",
        recipients=tuple(envelope.rcpt_tos),
        message=message_from_bytes(envelope.content, policy=SMTP_POLICY),
    )
