"""Turns a kind of letter and its facts into subject, plain text and HTML.

Invariant: whatever a fact contains, it stays a fact: it cannot add a header, a line or an element. Each kind is a
pair of templates, ``<kind>.txt`` (whose first line is ``Subject: …``) and ``<kind>.html``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ddsd.settings import Settings

Fact = str | Sequence[Mapping[str, str]]
"""What a letter is told: one line, or rows of named lines."""

_SUBJECT: Final = "Subject: "
# These reorder what is printed after them, so that a title could disguise a line of ours.
_REORDERING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("ddsd.mail"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Rendered:
    """A letter's content. ``subject`` is one line."""

    subject: str
    text: str
    html: str


def kinds() -> frozenset[str]:
    """Return every kind of letter there are templates for."""
    names = _ENVIRONMENT.list_templates(extensions=["txt"])
    return frozenset(name.removesuffix(".txt") for name in names if not name.startswith("_"))


def common_facts(settings: Settings) -> dict[str, Fact]:
    """Return the facts that every letter may state: who runs the service, whom to ask, where it is."""
    instance = settings.instance
    return {
        "facility": instance.facility,
        "contact": instance.contact,
        "public_url": instance.public_url.rstrip("/"),
    }


def render(kind: str, facts: Mapping[str, Fact]) -> Rendered:
    """Render a letter.

    Args:
        kind: one of :func:`kinds`.
        facts: what the templates of the kind ask for, and :func:`common_facts`. Each, and each in a row, is folded
            into one line.

    Raises:
        jinja2.TemplateNotFound: there is no such kind.
        jinja2.UndefinedError: a fact is missing.
    """
    lines = {name: _lines(fact) for name, fact in facts.items()}
    head, _, text = _ENVIRONMENT.get_template(f"{kind}.txt").render(lines).partition("\n")
    subject = head.removeprefix(_SUBJECT).strip()
    html = _ENVIRONMENT.get_template(f"{kind}.html").render(lines, subject=subject)
    return Rendered(subject, text.strip() + "\n", html)


def _lines(fact: Fact) -> Fact:
    if isinstance(fact, str):
        return one_line(fact)
    return [{name: one_line(value) for name, value in row.items()} for row in fact]


def one_line(value: str) -> str:
    """Fold ``value`` into one printable line: control characters and line ends become single spaces."""
    return " ".join("".join(map(_printable, value)).split())


def _printable(character: str) -> str:
    if character in _REORDERING:
        return ""
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp":
            return " "
        case "Cs":  # half a surrogate pair: JSON can carry it, UTF-8 cannot
            return "\ufffd"
        case _:
            return character
