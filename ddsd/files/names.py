"""What a file may be called: a relative POSIX path that stays inside whatever folder it is downloaded to. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_LONGEST_PART_BYTES: Final = 255
# PostgreSQL indexes values of at most 2704 bytes.
_LONGEST_BYTES: Final = 2048
_DEEPEST: Final = 128
ROOT: Final = "."
_DRIVE: Final = re.compile(r"[A-Za-z]:")


def check_name(name: str) -> list[str]:
    """Return what is wrong with a file's name (its path from the project's root); empty when nothing is.

    Refused: absolute paths, ``.``, ``..`` and empty parts, backslashes and parts like ``C:x`` (which lead elsewhere on
    Windows), control characters, parts over 255 bytes and paths over 2048 bytes in UTF-8, more than 128 levels.
    """
    if not name:
        return ["Shorter than minimum length 1."]
    if not _is_text(name):
        return [
            "The name has characters that are not allowed (control characters or no valid text)."
        ]
    if len(name.encode()) > _LONGEST_BYTES:
        return [f"Longer than maximum length {_LONGEST_BYTES} (bytes)."]
    parts = name.split("/")
    if "\\" in name:
        return [
            "The name must not have a backslash in it: on other systems it stands between folders."
        ]
    if name.startswith("/"):
        return ["The name must be a relative path with '/' between folders."]
    if any(part in {"", ".", ".."} for part in parts):
        return ["The name must not have empty parts, '.' or '..' in it."]
    if any(_DRIVE.match(part) for part in parts):
        return ["No part of the name may begin like a drive, with one letter and a colon."]
    if any(len(part.encode()) > _LONGEST_PART_BYTES for part in parts):
        return [f"A part of the name is longer than {_LONGEST_PART_BYTES} bytes."]
    if len(parts) > _DEEPEST:
        return [f"The name has more than {_DEEPEST} levels."]
    return []


def check_key(key: str) -> list[str]:
    """Return what is wrong with an object's key in the bucket: opaque, but printable, relative and short."""
    if not key:
        return ["Shorter than minimum length 1."]
    if len(key.encode(errors="replace")) > 1024:
        return ["Longer than maximum length 1024 (bytes)."]
    parts = key.split("/")
    if not _is_text(key) or "\\" in key or any(part in {"", ".", ".."} for part in parts):
        return ["The name in the bucket has characters or parts that are not allowed."]
    return []


def folder_of(name: str) -> str:
    """Return the folder a file is in: ``a/b/c.txt`` is in ``a/b``, ``c.txt`` in the root ``.``."""
    return name.rpartition("/")[0] or ROOT


def with_ancestors(folder: str) -> list[str]:
    """Return the folder and all above it, root first: ``a/b`` gives ``.``, ``a``, ``a/b``."""
    if folder == ROOT:
        return [ROOT]
    parts = folder.split("/")
    return [ROOT, *("/".join(parts[: depth + 1]) for depth in range(len(parts)))]


def normal_folder(asked: str | None) -> str:
    """Return the folder a person means: nothing, ``.`` and ``/`` are the root, a trailing ``/`` is ignored."""
    stripped = (asked or "").strip("/").removeprefix("./")
    return stripped or ROOT


def _is_text(text: str) -> bool:
    return not any(unicodedata.category(c) in {"Cc", "Cs"} for c in text)
