"""How a connection is received: how much a client may send, and how long it may take, before its request is whole.

uvicorn's own protocol takes a request's head, and the trailers after a chunked body, at any size, in time that grows
with the square of it, and waits for them for ever: one stranger could stop the daemon. Invariant: beside bodies, a
request costs at most :data:`MOST_HEAD_BYTES` and one read of memory, and whoever lets us wait is cut off.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ddsd.rim import HEADERS

MOST_HEAD_BYTES: Final = 64 * 1024
_MOST_THROWN_AWAY_BYTES: Final = 1024 * 1024
# Chunks of one byte, the most wasteful honest way to send a body, need five bytes around it.
_FRAMING_PER_BODY_BYTE: Final = 8
_ANSWER: Final = b'{"code":"too_large","message":"The head of the request is too large."}'
_GUARDS: Final = b"".join(b"%b: %b\r\n" % header for header in HEADERS)
_REFUSAL: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n%b"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (_GUARDS, len(_ANSWER), _ANSWER)
)
_NOT_HTTP: Final = b'{"code":"invalid_input","message":"This is no HTTP request."}'
_NOT_UNDERSTOOD: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n%b"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (_GUARDS, len(_NOT_HTTP), _NOT_HTTP)
)


class Reception(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits: a head within ``head_s``, then no pause in a body longer than ``pause_s``.

    A pause that we make ourselves, because the application does not keep up, is not held against the client. Between
    two requests uvicorn's ``timeout_keep_alive`` counts. What still comes from a client that was refused is thrown
    away for ``linger_s``: who is cut off while sending may never read why (RFC 9112, section 9.6).
    """

    head_s: ClassVar[float] = 30.0
    pause_s: ClassVar[float] = 60.0
    linger_s: ClassVar[float] = 5.0

    _left_bytes: int = MOST_HEAD_BYTES
    _body_bytes: int = 0
    _begun: bool = False
    _refused: bool = False
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn itself
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait(self.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless what is no body has become too much."""
        if self._refused:
            self._throw_away(data)
            return
        self._body_bytes, self._begun = 0, False
        super().data_received(data)
        if self._begun:  # its first read is bounded by the size of a read
            return
        framing = len(data) - self._body_bytes
        earned = self._body_bytes * _FRAMING_PER_BODY_BYTE
        self._left_bytes = min(MOST_HEAD_BYTES, self._left_bytes - framing + earned)
        if self._left_bytes < 0:
            self._refuse()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, as every answer is guarded; uvicorn's words for it are left out."""
        if self._answering() and self.cycle.response_started:
            self.transport.close()
        else:
            self._turn_away(_NOT_UNDERSTOOD)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: such a request is answered like any other, and anybody may send one."""

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._begun, self._left_bytes = True, MOST_HEAD_BYTES
        self._wait(self.head_s)

    def on_headers_complete(self) -> None:
        """Begin a body, if one follows."""
        super().on_headers_complete()
        self._wait(self.pause_s)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._body_bytes += len(body)
        super().on_body(body)
        self._wait(self.pause_s)

    def on_message_complete(self) -> None:
        """Stop waiting: the request is whole."""
        super().on_message_complete()
        self._wait_no_more()

    def _wait(self, seconds: float) -> None:
        self._wait_no_more()
        self._patience = self.loop.call_later(seconds, self._give_up, seconds)

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self, seconds: float) -> None:
        if self.flow.read_paused:
            self._wait(seconds)
        else:
            self.transport.close()

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
        if self._answering():
            self.transport.close()
        else:
            self._turn_away(_REFUSAL)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]  # None at first

    def _turn_away(self, answer: bytes) -> None:
        if (
            self._answering()
        ):  # the request whose body is none: nobody waits for its answer any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._refused, self._left_bytes = True, _MOST_THROWN_AWAY_BYTES
        self.transport.write(answer)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait_no_more()
        self._patience = self.loop.call_later(self.linger_s, self.transport.close)

    def _throw_away(self, data: bytes) -> None:
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            self.transport.close()
