"""What every request passes before an application sees it, and every answer after: the daemon's own ASGI middlewares.

Invariant: whoever asks is known by the address that a believed proxy saw, or by that of the connection; no
answer leaves without the headers that keep browsers from doing more with it than was meant.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from ddsd.errors import TooLarge
from ddsd.log import AsgiApp, Message, Receive, Scope, Send

HEADERS: Final[Sequence[tuple[bytes, bytes]]] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""What an answer gets that says nothing else: it is for the program that asked, and for nothing a browser could do."""

STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")
"""RFC 6797, one year. Other hosts of the domain are not ours to speak for: no ``includeSubDomains``."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Forwarded:
    """ASGI middleware: believes those proxies that are named, and nobody else, about who asks and over what.

    Args:
        app: sees the address and the scheme that are believed.
        believed: addresses or networks.
    """

    def __init__(self, app: AsgiApp, believed: Iterable[str]) -> None:
        self._app = app
        self._believed = tuple(ipaddress.ip_network(one) for one in believed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its true origin."""
        peer = _address(scope["client"][0]) if scope.get("client") else None
        if peer is not None:
            scope["client"] = (str(peer), scope["client"][1])
            if self._believes(peer):
                self._believe(scope, peer)
        await self._app(scope, receive, send)

    def _believe(self, scope: Scope, peer: Address) -> None:
        schemes = _values(scope, b"x-forwarded-proto")
        if schemes and schemes[-1] in {"http", "https"}:
            scope["scheme"] = schemes[-1]
        client = self._client(peer, _values(scope, b"x-forwarded-for"))
        if client != peer:
            scope["client"] = (str(client), 0)

    def _client(self, address: Address, hops: Sequence[str]) -> Address:
        """Go from proxy to proxy as long as they are believed; each names who it was asked by, the last one last."""
        for hop in reversed(hops):
            before = _address(hop) if self._believes(address) else None
            if before is None:
                break
            address = before
        return address

    def _believes(self, address: Address) -> bool:
        return any(address in network for network in self._believed)


def _values(scope: Scope, name: bytes) -> list[str]:
    """Return the elements of a list header; several lines of it are one list (RFC 9110, section 5.3)."""
    lines = [value.decode("latin-1") for found, value in scope["headers"] if found == name]
    return [one.strip() for one in ",".join(lines).split(",")] if lines else []


def _address(text: str) -> Address | None:
    """Parse an address as proxies write it, with or without a port; ``None``: it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if (
        "%" in text
    ):  # a zone (RFC 4007): it may be any text, and means nothing beyond the host that wrote it
        return None
    return getattr(found, "ipv4_mapped", None) or found


class SecurityHeaders:
    """ASGI middleware: adds :data:`HEADERS` where an answer does not say otherwise itself.

    ``strict``: tells browsers that this host is to be asked over TLS only, when it was.
    """

    def __init__(self, app: AsgiApp, *, strict: bool) -> None:
        self._app = app
        self._strict = strict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and complete its answer."""
        strict = self._strict and scope.get("scheme") == "https"
        usual = (*HEADERS, STRICT_TRANSPORT) if strict else HEADERS

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                said = {name.lower() for name, _ in headers}
                message["headers"] = headers + [one for one in usual if one[0] not in said]
            await send(message)

        await self._app(scope, receive, send_guarded)


class BodyLimit:
    """ASGI middleware: no request's body is larger than ``most_bytes``, whatever its headers say.

    What is over is answered 413 here, in a shape both planes' clients read.
    """

    _ANSWER: Final = b'{"code":"too_large","message":"The request is too large."}'
    _PATIENCE_S: Final = 5

    def __init__(self, app: AsgiApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as long as its body is within the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._declares_too_much(scope):
            await self._refuse(receive, send)
        else:
            await self._pass_on(scope, receive, send)

    def _declares_too_much(self, scope: Scope) -> bool:
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        return any(not length.isdigit() or int(length) > self._most_bytes for length in lengths)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0
        answered = refused = False

        async def receive_within_limit() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most_bytes:
                if not (answered or refused):
                    refused = True
                    await self._refuse(receive, send, comes_more=message.get("more_body", False))
                raise TooLarge("The request is too large.")
            return message

        async def send_unless_refused(message: Message) -> None:
            nonlocal answered
            answered = True
            if not refused:
                await send(message)

        try:
            await self._app(scope, receive_within_limit, send_unless_refused)
        except TooLarge:
            if not refused:
                raise

    async def _refuse(self, receive: Receive, send: Send, *, comes_more: bool = True) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self._ANSWER)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": self._ANSWER, "more_body": comes_more})
        if comes_more:
            await self._let_finish(receive)
            await send({"type": "http.response.body"})

    async def _let_finish(self, receive: Receive) -> None:
        """Throw away what still comes: who is cut off while sending may never read why (a proxy says 502)."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._PATIENCE_S):
                while (await receive()).get("more_body", False):
                    pass
