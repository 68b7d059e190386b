"""What can carry a letter away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Attachment:
    """A table that goes with a letter, as CSV (RFC 4180). ``name`` is a file's, ASCII, without a path."""

    name: str
    csv: str


@dataclass(frozen=True)
class Letter:
    """A rendered letter. ``text`` is required, ``html`` may be empty. ``message_id`` stays the same over retries."""

    recipient: str
    subject: str
    text: str
    html: str
    message_id: str
    attachments: tuple[Attachment, ...] = ()


class MailTransport(Protocol):
    """A way for letters to leave."""

    @property
    def sends(self) -> bool:
        """Say whether letters really leave; if not they are only kept for ``ddsctl mail show``."""
        ...

    async def send(self, letter: Letter) -> None:
        """Hand one letter over.

        Raises:
            MailUnavailable: the server is away or refuses for now; worth another try.
            MailRefused: the server refuses for good.
        """
        ...
