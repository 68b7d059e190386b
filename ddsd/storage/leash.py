"""Runs a program that dies with the process that started it, however that one dies (Linux).

As a script: ``python -I -S leash.py PARENT_PID PROGRAM ARGUMENT...``. The wish is kept across exec
(prctl(2), PR_SET_PDEATHSIG). It is bound to the parent's *thread*: start children from a thread
that lives as long as the daemon, which is where the event loop runs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies.

    Raises:
        SystemExit: the parent is dead already.
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent_pid:
        sys.exit("the process that started this one is gone")


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606
