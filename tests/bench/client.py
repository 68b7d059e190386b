"""The measuring side: raw requests as the stock client's library sends them, one TCP connection each."""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

_HEAD = "X-CLI-Version: 2.15.1\r\nUser-Agent: python-requests/2.33.0\r\nAccept: */*\r\nConnection: close\r\n"


@dataclass(frozen=True)
class Answer:
    """An answer read to its end."""

    status: int
    body: bytes
    seconds: float
    first_byte_s: float


@dataclass(frozen=True)
class Client:
    """Sends requests to one port of this machine, to addresses under ``prefix``."""

    port: int
    prefix: str = "/api/v1"

    def call(
        self, method: str, path: str, authorization: str, body: Any = None, *, fine: int = 200
    ) -> Answer:
        """Send one request over a connection of its own; fail on another status than ``fine``."""
        sent = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {self.prefix}{path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{_HEAD}"
            f"Authorization: {authorization}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(sent)}\r\n\r\n"
        )
        begun = time.perf_counter()
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:
            connection.sendall(head.encode() + sent)
            first = connection.recv(1 << 18)
            first_byte_s = time.perf_counter() - begun
            answer = first + b"".join(iter(lambda: connection.recv(1 << 18), b""))
        seconds = time.perf_counter() - begun
        headers, _, content = answer.partition(b"\r\n\r\n")
        status = int(headers.split(b" ", 2)[1])
        if status != fine:
            raise RuntimeError(f"{method} {path}: {status} {content[:300]!r}")
        return Answer(status, content, seconds, first_byte_s)


def median_ms(times: int, once: Callable[[], Answer]) -> float:
    """Return the median of several calls, in milliseconds, after one that does not count."""
    once()
    return statistics.median(once().seconds for _ in range(times)) * 1000


def per_second(clients: int, calls: Iterable[Callable[[], Answer]]) -> float:
    """Return how many of the calls are answered per second with so many clients at a time."""
    todo = list(calls)
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        for done in [threads.submit(call) for call in todo]:
            done.result()
    return len(todo) / (time.perf_counter() - begun)
