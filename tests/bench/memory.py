"""What a daemon and its children hold in memory, as the kernel counts it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

MIB = 1024 * 1024
_EVERY_S = 0.25


def held_mib(pid: int) -> float:
    """Return the proportional set size of a process and those it has started: a shared page counts once in all."""
    held = 0
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for one in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                held += one.memory_full_info().pss
    return held / MIB


@contextmanager
def most_held(pid: int) -> Iterator[list[float]]:
    """Yield a list whose one element is the most that was held, MiB, while the block runs."""
    most, over = [held_mib(pid)], threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY_S):
            most[0] = max(most[0], held_mib(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()
