"""The embedded store's keys, in one file that the daemon writes and the gate reads.

Invariant: the file is replaced whole (never half written), is readable by its owner only, and what
it does not name is worth nothing. JSON, because both sides must do with the standard library.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TypedDict

from ddsd.secret import SecretText
from ddsd.storage.port import May, ScopedKey


class _Row(TypedDict):
    access_key: str
    secret_key: str
    may: str
    bucket: str | None
    expires_at: str | None


def write_keys(path: Path, keys: Iterable[ScopedKey]) -> None:
    """Replace the file, mode 0600, and return when it is on the disk."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        json.dump({"keys": [_row(key) for key in keys]}, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)


def read_keys(path: Path) -> dict[str, ScopedKey]:
    """Return the keys by their access key, expired ones included; none where there is no file."""
    if not path.exists():
        return {}
    rows: list[_Row] = json.loads(path.read_text(encoding="utf-8"))["keys"]
    return {row["access_key"]: _key(row) for row in rows}


class KeyFile:
    """A reader that sees every replacement of the file at the next look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._keys: Mapping[str, ScopedKey] = {}

    def find(self, access_key: str) -> ScopedKey | None:
        """Return the key of that name as the file has it now."""
        status = self._path.stat()
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._seen:
            self._keys = read_keys(self._path)
            self._seen = seen
        return self._keys.get(access_key)


def _row(key: ScopedKey) -> _Row:
    return {
        "access_key": key.access_key,
        "secret_key": key.secret_key.text(),
        "may": key.may.value,
        "bucket": key.bucket,
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
    }


def _key(row: _Row) -> ScopedKey:
    return ScopedKey(
        access_key=row["access_key"],
        secret_key=SecretText(row["secret_key"]),
        may=May(row["may"]),
        bucket=row["bucket"],
        expires_at=datetime.fromisoformat(row["expires_at"]) if row["expires_at"] else None,
    )
