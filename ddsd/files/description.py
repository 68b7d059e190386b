"""A file as a client describes it: every field checked, in the stock system's words. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from ddsd.errors import InvalidFields, MissingField
from ddsd.files import names
from ddsd.files.registration import NewFile

_LARGEST: Final = 2**50
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
_REQUIRED: Final = {
    "name": "File name required.",
    "name_in_bucket": "Remote file name required.",
    "subpath": "Subpath required.",
    "size": "File size required.",
    "size_processed": "Processed file size required.",
    "compressed": "Compression information required.",
    "salt": "Salt required.",
    "public_key": "Public key required.",
    "checksum": "Checksum required.",
}
_TRUE: Final = frozenset({"t", "true", "on", "y", "yes", "1"})
_FALSE: Final = frozenset({"f", "false", "off", "n", "no", "0"})


def read(body: Mapping[str, object]) -> NewFile:
    """Read what a client says of a file it has stored (wire contract, section 4, ``file/new``).

    Numbers may be strings, and so may flags.

    Raises:
        MissingField: a field is missing or null.
        InvalidFields: fields cannot be used; all are named at once.
    """
    for field, complaint in _REQUIRED.items():
        if body.get(field) is None:
            raise MissingField(field, complaint)
    wrong = {field: why for field, why in _complaints(body) if why}
    if wrong:
        raise InvalidFields(wrong)
    return NewFile(
        name=str(body["name"]),
        name_in_bucket=str(body["name_in_bucket"]),
        size_original=int(str(body["size"])),
        size_stored=int(str(body["size_processed"])),
        compressed=_flag(body["compressed"]) is True,
        salt=str(body["salt"]),
        public_key=str(body["public_key"]),
        checksum=str(body["checksum"]).lower(),
    )


def _complaints(body: Mapping[str, object]) -> list[tuple[str, list[str]]]:
    return [
        ("name", _text(body["name"], names.check_name)),
        ("name_in_bucket", _text(body["name_in_bucket"], names.check_key)),
        ("subpath", _subpath(body["subpath"], body["name"])),
        ("size", _size(body["size"])),
        ("size_processed", _size(body["size_processed"])),
        ("compressed", [] if _flag(body["compressed"]) is not None else ["Not a valid boolean."]),
        ("salt", _hex(body["salt"], 32)),
        ("public_key", _hex(body["public_key"], 64)),
        ("checksum", _hex(body["checksum"], 64)),
    ]


def _text(value: object, check: Callable[[str], list[str]]) -> list[str]:
    return check(value) if isinstance(value, str) else ["Not a valid string."]


def _subpath(value: object, name: object) -> list[str]:
    if not isinstance(value, str):
        return ["Not a valid string."]
    if not value:
        return ["Shorter than minimum length 1."]
    if isinstance(name, str) and names.normal_folder(value) != names.folder_of(name):
        return ["The subpath is not the folder of the file's name."]
    return []


def _size(value: object) -> list[str]:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ["Not a valid integer."]
    text = str(value)
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 20:
        return ["Not a valid integer."]
    return [] if 0 <= int(text) <= _LARGEST else [f"Must be between 0 and {_LARGEST}."]


def _flag(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _hex(value: object, length: int) -> list[str]:
    if not isinstance(value, str):
        return ["Not a valid string."]
    if len(value) != length:
        return [f"Length must be {length}."]
    return [] if _HEX.fullmatch(value) else ["Not a valid hexadecimal number."]
