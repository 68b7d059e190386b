"""Argon2id off the event loop, one run at a time: the one expensive thing a login does.

So a flood of logins takes ``argon2_memory_kib`` of memory once, and not once per login; the runs wait for each other
anyway, see :func:`ddsd.keys.primitives.argon2id`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ddsd.keys.hierarchy import KdfCost, MasterSplit, derive_master, split_master
from ddsd.secret import SecretText


class Deriver:
    """Derives login material from passwords.

    Args:
        cost: what new passwords are derived with.
    """

    def __init__(self, cost: KdfCost) -> None:
        self.cost = cost
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="argon2")

    async def derive(self, password: SecretText, salt: bytes, cost: KdfCost) -> MasterSplit:
        """Return what proves the password and what opens the private key.

        Args:
            password: as the person typed it.
            salt: 16 bytes or more, the account's own.
            cost: the account's own, see :class:`KdfCost`.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, lambda: split_master(derive_master(password, salt, cost))
        )

    def close(self) -> None:
        """Let no new derivation start."""
        self._thread.shutdown(wait=False, cancel_futures=True)
