"""The transport of an installation without a mail server: letters stay in the outbox.

Invariant: nothing leaves, and whoever asks is told so.
"""

from __future__ import annotations

from ddsd.mail.port import Letter


class KeptTransport:
    """Keeps letters for ``ddsctl mail show``."""

    sends = False

    async def send(self, letter: Letter) -> None:
        """Do nothing: the outbox has the letter already, and keeps it because :attr:`sends` is False."""
