"""What clients call themselves, in words that a person knows their devices by.

Nothing is decided by it: a client can call itself anything.
"""

from __future__ import annotations

import re
from typing import Final

_COMMAND_LINES: Final = (
    (re.compile(r"dds-cli/(\d+(?:\.\d+)*)"), "dds command line {}"),
    (re.compile(r"ddsctl/(\d+(?:\.\d+)*)"), "ddsctl {}"),
)
# The first that is found counts: browsers name those they descend from, too.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def readable(agent: str) -> str:
    """Return what a session's client is called, such as "Firefox on Linux"; what is not known, as it came."""
    for pattern, words in _COMMAND_LINES:
        found = pattern.match(agent)
        if found:
            return words.format(found[1])
    browser = _first(agent, _BROWSERS) if agent.startswith("Mozilla/") else None
    if browser is None:
        return agent
    system = _first(agent, _SYSTEMS)
    return f"{browser} on {system}" if system else browser


def _first(agent: str, known: tuple[tuple[str, str], ...]) -> str | None:
    return next((words for mark, words in known if mark in agent), None)
