"""What a stranger sends before a request is one: too much of it, or too slowly."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from ddsd.daemon import PlaneServer
from ddsd.log import AsgiApp, Receive, Scope, Send
from ddsd.reception import MOST_HEAD_BYTES, Reception
from ddsd.settings import Listen

PATIENCE_S = 30.0
MIB = 1024 * 1024
GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"


class Impatient(Reception):
    """Gives up almost at once."""

    head_s = 0.2
    pause_s = 0.2


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the number of the body's bytes."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    headers = [(b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"%d bytes" % length})


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without a look at the body."""
    if scope["type"] == "lifespan":
        await echo(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 405, "headers": []})
    await send({"type": "http.response.body", "body": b"no"})


@asynccontextmanager
async def serving(
    protocol: type[Reception] = Reception, app: AsgiApp = echo
) -> AsyncIterator[tuple[str, int]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = PlaneServer("public", app, listener, Listen(), protocol)
        await server.open()
        yield listener.getsockname()
        await server.close()


async def answer_to(address: tuple[str, int], pieces: Iterator[bytes]) -> bytes:
    """Send the pieces, as far as they are taken, and return everything that is answered until the end."""

    def visit() -> bytes:
        answer = b""
        with socket.create_connection(address, timeout=PATIENCE_S) as visitor:
            try:
                for piece in pieces:
                    visitor.sendall(piece)
                while piece := visitor.recv(65536):
                    answer += piece
            except (ConnectionResetError, BrokenPipeError):
                return answer or b"cut off"
        return answer

    return await asyncio.to_thread(visit)


def one_long_header() -> Iterator[bytes]:
    yield GET + b"X: "
    for _ in range(16):
        yield b"a" * MIB


def many_short_headers() -> Iterator[bytes]:
    yield GET
    for _ in range(16):
        yield b"A:b\r\n" * (MIB // 5)


def a_long_target() -> Iterator[bytes]:
    yield b"GET /"
    for _ in range(16):
        yield b"a" * MIB


def long_trailers() -> Iterator[bytes]:
    yield POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    for _ in range(16):
        yield b"A:b\r\n" * (MIB // 5)


def empty_lines() -> Iterator[bytes]:
    for _ in range(16):
        yield b"\r\n" * (MIB // 2)


@pytest.mark.parametrize(
    "pieces",
    [one_long_header, many_short_headers, a_long_target, long_trailers, empty_lines],
)
async def test_a_head_without_an_end_is_cut_off(pieces: Callable[[], Iterator[bytes]]) -> None:
    sent = 0

    def counted() -> Iterator[bytes]:
        nonlocal sent
        for piece in pieces():
            yield piece
            sent += len(piece)

    async with serving() as address:
        answer = await answer_to(address, counted())
    assert b"200" not in answer
    assert answer == b"cut off" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert sent < 16 * MIB


@pytest.mark.parametrize("app", [echo, refuse])
@pytest.mark.parametrize(
    "body",
    [
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"F" * 17 + b"\r\n",
        b"5;\nxx\r\nhello\r\n",
        b"5\r\nhello!",
    ],
)
async def test_a_body_that_is_none_gets_one_answer_and_leaves_no_traceback(
    app: AsgiApp, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    async with serving(app=app) as address:
        answer = await answer_to(address, iter([head + body]))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert [one for one in caplog.records if one.exc_info or one.levelname == "ERROR"] == []


AMBIGUOUS = {
    "both lengths": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "space before the colon": b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "folded line": b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello",
    "a list of lengths": b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": b"Content-Length: +5\r\n\r\nhello",
    "lines without a return": b"\nContent-Length: 5\n\nhello",
}


@pytest.mark.parametrize("form", AMBIGUOUS)
async def test_a_request_that_two_programs_would_read_in_two_ways_is_refused_with_what_follows_it(
    form: str,
) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    async with serving() as address:
        answer = await answer_to(address, iter([POST + AMBIGUOUS[form] + smuggled]))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "beginning",
    [b"", b"GET /sta", POST + b"Content-Length: 10\r\n\r\nabc"],
    ids=["nothing", "half a head", "half a body"],
)
async def test_whoever_lets_us_wait_is_cut_off(beginning: bytes) -> None:
    async with serving(Impatient) as address:
        assert await answer_to(address, iter([beginning])) in {b"", b"cut off"}


async def test_large_honest_requests_are_taken() -> None:
    def in_tiny_chunks() -> Iterator[bytes]:
        yield POST + b"Transfer-Encoding: chunked\r\n\r\n"
        for _ in range(64):
            yield b"1\r\na\r\n" * 1024
        yield b"0\r\n\r\n"

    head = GET + b"X: " + b"a" * (MOST_HEAD_BYTES - 100) + b"\r\n\r\n"
    body = POST + b"Content-Length: %d\r\n\r\n" % (8 * MIB)
    async with serving() as address:
        assert b"200 OK" in await answer_to(address, iter([head]))
        assert b"8388608 bytes" in await answer_to(address, iter([body, b"a" * 8 * MIB]))
        assert b"65536 bytes" in await answer_to(address, in_tiny_chunks())
