"""Whose certificates are good for a store: those this machine trusts, and those of the facility's own CA.

Invariant: the CA of ``store.ca_file`` is added to the machine's: a store inside can be used beside one outside.
"""

from __future__ import annotations

import ssl
from pathlib import Path


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return a client's context; ``ca_file``: one more CA, PEM.

    Raises:
        OSError: the file cannot be read, or holds no certificate (``ssl.SSLError``).
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(str(ca_file))
    return context
