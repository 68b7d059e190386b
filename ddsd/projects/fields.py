"""What a project's title, description and principal investigator may be (wire contract, section 4). Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from email_validator import EmailNotValidError, validate_email

# White space that ends a line would break mails and tables apart.
_NOT_IN_TITLES: Final = re.compile(r"(?:[^\w\s()]|[\n\r\v\f\x1c-\x1f\x85\u2028\u2029])+")
# The blocks the stock system refuses; not every symbol is one: "℃" and "№" are plain text.
_EMOJI: Final = re.compile(
    "[\U0001f1e0-\U0001f1ff\U0001f300-\U0001f64f\U0001f680-\U0001faff\u2702-\u27b0]"
)
_LONGEST: Final = {"title": 500, "description": 10_000}


def check_title(title: str) -> list[str]:
    """Return what is wrong with a title: only letters, digits, ``_``, white space and brackets may be in it."""
    if wrong := _length("title", title):
        return wrong
    strange = list(dict.fromkeys(_NOT_IN_TITLES.findall(title)))
    if not strange:
        return []
    within = f"within '[italic]{title}[/italic]'"
    if len(strange) == 1:
        return [f"The character '{strange[0]}' {within} is not allowed."]
    return [f"The characters '{' '.join(strange)}' {within} are not allowed."]


def check_description(description: str) -> list[str]:
    """Return what is wrong with a description: any text, but no emoji and no control characters."""
    if wrong := _length("description", description):
        return wrong
    strange = "".join(
        c for c in description if _EMOJI.match(c) or (_is_control(c) and c not in "\n\r\t")
    )
    return [f"This input is not allowed: {strange}"] if strange else []


def check_pi(pi: str) -> list[str]:
    """Return what is wrong with a principal investigator: it must be an e-mail address."""
    try:
        validate_email(pi, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return ["The PI email is invalid."]
    return []


def _length(field: str, text: str) -> list[str]:
    if not text:
        return ["Shorter than minimum length 1."]
    if len(text) > _LONGEST[field]:
        return [f"Longer than maximum length {_LONGEST[field]}."]
    return []


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs"}
