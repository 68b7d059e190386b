"""The configuration file: its bytes made into sections, or a refusal in an operator's words.

Invariant: nothing is taken from a file that is not whole and understood from its first byte to its last.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from ddsd.errors import ConfigurationError

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_PLAIN_WORDS: Final = {
    r"Illegal character '\\n'|Unterminated string": "a quote is opened and not closed",
    r"Cannot declare \('(.+)',\) twice": r"the section [\1] is there twice; put its keys under one",
    r"Cannot overwrite a value": "this key is there twice in its section",
    r"Invalid value": "this is no value: text stands in quotes, yes and no are true and false",
    r"Expected newline or end of document.*": "something follows the value; text stands in quotes",
    r"Expected '=' after a key.*": "this needs to be: key = value",
    r"Invalid statement": "this is neither key = value nor [section]",
    r"Expected '\]' at the end of a table declaration": "a section's name ends with ]",
    r"Unclosed array": "a list is opened with [ and not closed",
}


def read(path: Path) -> dict[str, dict[str, object]]:
    """Return the sections of a TOML file, each with its keys; their values are not looked at.

    A byte order mark (Windows editors write one) is passed over.

    Raises:
        ConfigurationError: it is missing, cannot be read, ends in the middle of a line, is not UTF-8 or no TOML, or
            has a key outside all sections.
    """
    text = _text(path, _content(path))
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise ConfigurationError(f"{path}: {_in_plain_words(str(wrong))}") from wrong
    except RecursionError:
        raise ConfigurationError(f"{path}: too many brackets are opened in one another") from None
    _require_whole(path, text)
    if stray := [name for name, value in tree.items() if not isinstance(value, dict)]:
        raise ConfigurationError(
            f"{path}: unknown key {', '.join(stray)}: every key is in a [section]"
        )
    return tree


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as wrong:
        raise ConfigurationError(
            f"there is no configuration file {path}; copy config/ddsd.toml there,"
            " or name one with --config"
        ) from wrong
    except PermissionError as wrong:
        raise ConfigurationError(
            f"{path} may not be read by this user: be root or the daemon's user (sudo -u ddsd …);"
            " its group should be the daemon's, with mode 0640"
        ) from wrong
    except OSError as wrong:
        raise ConfigurationError(f"{path} cannot be read: {wrong.strerror}") from wrong


def _text(path: Path, content: bytes) -> str:
    content = content.removeprefix(_BYTE_ORDER_MARK)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as wrong:
        line = content.count(b"\n", 0, wrong.start) + 1
        raise ConfigurationError(
            f"{path}: line {line} is not in UTF-8; save the file in that encoding"
        ) from wrong


def _require_whole(path: Path, text: str) -> None:
    """Tell a file that was cut off in the middle of a number (port = 50) from one that is meant so."""
    if text and not text.endswith("\n"):
        raise ConfigurationError(
            f"{path}: the last line does not end: the file may be cut off."
            " If it is complete, end it with a new line"
        )


def _in_plain_words(toml_error: str) -> str:
    """Say in an operator's words what tomllib says in a parser's; what it says else stays."""
    said, _, place = toml_error.rstrip(")").partition(" (at ")
    for pattern, words in _PLAIN_WORDS.items():
        if found := re.fullmatch(pattern, said):
            said = found.expand(words)
            break
    return f"{place or 'somewhere'}: {said}"
