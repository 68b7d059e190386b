"""A child process that is kept running, and that never outlives the daemon.

Invariant: while started, the program runs or is about to be started again; after ``stop`` or after
the death of this process, however sudden, neither it nor anything it started is left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_HEALTHY_AFTER_S = 30.0
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. ``argv`` must see to it that the process dies with its parent (``leash``)."""

    name: str
    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    pass_fds: tuple[int, ...] = ()
    before: Callable[[], None] | None = None
    """Called, in a thread, before every start, when the program surely does not run."""
    passed_over: re.Pattern[str] | None = None
    """What it says that means nothing; the other lines of its standard error are logged. None: it is left alone."""


class Child:
    """One supervised program. Start it from the daemon's main thread (see ``leash``)."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the running program, or None between two runs."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def start(self) -> None:
        """Run the program once and watch over it from then on.

        Raises:
            OSError: the program cannot be run at all.
        """
        process = await self._spawn()
        self._supervisor = asyncio.create_task(self._supervise(process), name=self._program.name)

    async def stop(self) -> None:
        """Ask the program to end, make it after five seconds, and wait until it has."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor:
            supervisor.cancel()
            await asyncio.wait({supervisor})
        process, self._process = self._process, None
        if process and process.returncode is None:
            await _end(process)
        if self._listening:
            await asyncio.wait({self._listening})

    async def _spawn(self) -> asyncio.subprocess.Process:
        if self._program.before:
            await asyncio.to_thread(self._program.before)
        self._process = await asyncio.create_subprocess_exec(
            *self._program.argv,
            cwd=self._program.cwd,
            env=dict(self._program.environment),
            pass_fds=self._program.pass_fds,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE if self._program.passed_over else None,
            start_new_session=True,
        )
        if self._process.stderr:
            self._listening = asyncio.create_task(self._listen(self._process.stderr))
        return self._process

    async def _listen(self, said: asyncio.StreamReader) -> None:
        """Log what the program says until its end: read on whatever it is, or it would wait for us."""
        while line := await _line(said):
            text = line.decode(errors="replace").rstrip()
            if self._program.passed_over and not self._program.passed_over.search(text):
                _LOG.error("%s: %s", self._program.name, text)

    async def _supervise(self, process: asyncio.subprocess.Process) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            status = await process.wait()
            _kill_group(process.pid)
            if time.monotonic() - started > _HEALTHY_AFTER_S:
                pause_s = _FIRST_PAUSE_S
            _LOG.warning(
                "%s ended with status %s; starting it again in %.1f s",
                self._program.name,
                status,
                pause_s,
            )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            process = await self._respawn()

    async def _respawn(self) -> asyncio.subprocess.Process:
        while True:
            try:
                return await self._spawn()
            except OSError as error:
                _LOG.error("%s cannot be started: %s", self._program.name, error)
                await asyncio.sleep(_LONGEST_PAUSE_S)


async def _line(said: asyncio.StreamReader) -> bytes:
    """Return the next line, or of a very long one the beginning; nothing at the end."""
    try:
        return await said.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as long:
        return await said.read(long.consumed)


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _GRACE_S)
    except TimeoutError:
        _kill_group(process.pid)
        await process.wait()
    _kill_group(process.pid)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
