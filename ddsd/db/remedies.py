"""What an operator can do about a database that is away, by what its driver says of it.

The words are those of SQLite (sqlite.org/rescode.html), PostgreSQL 15 and the C library. What is not known gets the
place to look at.
"""

from __future__ import annotations

import re
from typing import Final

_REMEDIES: Final = (
    (
        "not a database|malformed",
        "The file is damaged or something else: keep a copy of it, and restore the database from a backup",
    ),
    (
        "unable to open",
        "Something else is in its place, or this user may not open it: look at the files in instance.state_dir",
    ),
    (
        "is locked|has it$|lock timeout",
        "Another program holds it locked: a backup, or somebody who works in it by hand; end that",
    ),
    ("disk is full|No space left", "The disk is full: make room on it; no restart is needed"),
    (
        "readonly database|read-only transaction",
        "It takes no writes: is its disk mounted read-only, does its file belong to somebody else,"
        " or is the server of database.url a standby?",
    ),
    ("was replaced", "It was exchanged while the daemon ran"),
    (
        "No such file or directory",
        "It was taken away: is the disk of instance.state_dir mounted?"
        " Or is no PostgreSQL at the socket in database.url?",
    ),
    ("disk I/O error", "The disk fails: look at the kernel's log"),
    (
        "password authentication failed|no password supplied|no pg_hba.conf entry|Peer authentication",
        "Look at the user in database.url, at database.password_file, and at pg_hba.conf of the server",
    ),
    (
        "does not exist",
        "Make it on the server, createdb --owner USER NAME, or correct database.url",
    ),
    (
        "name resolution|Name or service not known|No address associated",
        "The host in database.url is not known: look at its name, and at this machine's DNS",
    ),
    (
        "Connection refused|Connect call failed",
        "Nobody listens there: start PostgreSQL, or correct host and port in database.url",
    ),
    (
        "connection slots|too many clients|too many connections|QueuePool limit",
        "Raise max_connections of the server, or lower database.pool_size; nothing is lost meanwhile",
    ),
    ("starting up|shutting down|recovery mode", "The server starts or stops: it is tried again"),
)
_ELSE: Final = (
    "Look at the disk of instance.state_dir (SQLite), or at the server of database.url (PostgreSQL)"
)


def remedy(why: str) -> str:
    """Return what to do, as a sentence.

    ``why``: the driver's word, see :func:`ddsd.db.engine.in_the_drivers_words`.
    """
    found = (words for pattern, words in _REMEDIES if re.search(pattern, why))
    words = next(found, _ELSE)
    return words if words.endswith("?") else f"{words}."
