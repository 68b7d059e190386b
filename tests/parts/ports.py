"""What the tests of one machine must share out: loopback ports and locks between processes.

Invariant: a lock is a kernel lock on an open file, so a killed process never keeps one.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LOOPBACK = "127.0.0.1"

_LOCKS = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp")
"""One place for all, wherever each run keeps its temporary files."""
STOCK_PORT = 5000
"""Where the stock client looks for a local server; it cannot be told otherwise."""


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago; binding port 0 is surer."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_bindable(port: int) -> bool:
    """Say whether a server could listen on the loopback ``port`` now."""
    with socket.socket() as probe:
        # As servers do: a closed connection of the test before, in TIME_WAIT, must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """Hold ``lock_file`` alone, waiting for other threads and processes as long as it takes."""
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def stock_port_alone() -> Iterator[int]:
    """Hold the stock client's port for one test, or one module of tests, of this machine at a time."""
    lock_file = _LOCKS / f"ddsd-stock-port-{os.getuid()}.lock"
    with exclusive(lock_file):
        if not is_bindable(STOCK_PORT):
            pytest.fail(
                f"{LOOPBACK}:{STOCK_PORT} is taken by a program that is no test; stop that",
                pytrace=False,
            )
        yield STOCK_PORT


@pytest.fixture
def stock_port() -> Iterator[int]:
    """Give the stock client's port to one test of this machine at a time.

    Mark such tests ``xdist_group("stock-client")`` too, or other workers wait here idly.
    """
    with stock_port_alone() as port:
        yield port
