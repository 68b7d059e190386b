"""The transfer engine: what happens to a file between a disk and the object store.

Invariant of everything below: bytes that cannot be proven to be the sender's are an exception,
never a short file.
"""

from __future__ import annotations


class DeliveryError(Exception):
    """Root of everything that stops a transfer; its message is for the person at the terminal."""


class DamagedObject(DeliveryError):
    """The stored bytes are not what was sent: nothing of what was written so far may be used."""
