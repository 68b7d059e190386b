"""The embedded store's door when strangers take every place."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from ddsd.secret import SecretText
from ddsd.storage.gate import Gate, Inside
from ddsd.storage.keyfile import KeyFile, write_keys
from ddsd.storage.port import May, ScopedKey

PLACES = 512
PATIENCE_S = 20.0
ROOT = ScopedKey("ROOTROOTROOTROOTROOT", SecretText("r" * 40), May.EVERYTHING)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A gate with nothing behind it; its address."""
    write_keys(tmp_path / "keys.json", [ROOT])
    listener = socket.create_server(("127.0.0.1", 0), backlog=PLACES)
    inside = Inside(str(tmp_path / "nobody.sock"), ROOT)
    gate = Gate(listener, KeyFile(tmp_path / "keys.json"), inside)
    thread = threading.Thread(target=gate.serve_forever)
    thread.start()
    yield listener.getsockname()
    gate.shutdown()
    thread.join()
    gate.server_close()


@pytest.mark.parametrize("sent", [b"", b"GET /a"], ids=["silent", "half a request"])
def test_strangers_who_take_every_place_keep_nobody_out(gate: tuple[str, int], sent: bytes) -> None:
    with ExitStack() as strangers:
        for _ in range(PLACES + 1):
            stranger = strangers.enter_context(socket.create_connection(gate, timeout=PATIENCE_S))
            stranger.sendall(sent)
        for _ in range(3):
            answer = httpx.get(
                f"http://{gate[0]}:{gate[1]}/bucket/key", timeout=PATIENCE_S, trust_env=False
            )
            assert answer.status_code == 403
