"""What people may be called and where they may be written to: user names, shown names, e-mail addresses.

Invariant: two user names with the same :func:`fold` are never both in use, and an address has one spelling in the
database, that of :func:`normal_email`. Pure: whether something is taken is not looked up here.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import Final

from email_validator import EmailNotValidError, validate_email

from ddsd.errors import InvalidInput

LONGEST_NAME: Final = 255
LONGEST_EMAIL: Final = 254

# The names the stock system allows (wire contract, section 10).
_USERNAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,30}")
_SHORTEST_NAME: Final = 2
# What ASCII itself offers to imitate a name with (Unicode TS 39). "i" goes with "l" because its capital does.
_ALIKE: Final = (("0", "o"), ("1", "l"), ("i", "l"), ("rn", "m"), ("vv", "w"))
# Invisible, and no printable characters to Python; but Persian and Indic names are spelt with them.
_JOINERS: Final = frozenset("\u200c\u200d")
# Their letters look like each other's, so nobody who means well mixes them in one word.
_TWINS: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"})


def username_misfits(username: str) -> list[str]:
    """Return what is wrong with a user name; nothing if it can be used."""
    if _USERNAME.fullmatch(username):
        return []
    return ["Use 3 to 30 letters (a-z), digits, '_', '.' or '-'."]


def fold(username: str) -> str:
    """Return what two user names that a person could take for each other have in common.

    Case is passed over, and so are the look-alikes of ASCII: ``Karl`` and ``kar1``, ``modern`` and ``modem``. No
    longer than ``username``.
    """
    folded = username.lower()
    for one, other in _ALIKE:
        folded = folded.replace(one, other)
    return folded


def shown(name: str) -> str:
    """Return a person's name as it is kept: composed (NFC), single spaces, none around."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def name_misfits(name: str) -> list[str]:
    """Return what is wrong with a person's name, in the form :func:`shown` gives it; nothing if it can be used."""
    kept = shown(name)
    if (
        _SHORTEST_NAME <= len(kept) <= LONGEST_NAME
        and "".join(set(kept) - _JOINERS).isprintable()
        and _joiners_have_an_effect(kept)
    ):
        return []
    return [f"Use {_SHORTEST_NAME} to {LONGEST_NAME} printable characters."]


def normal_email(email: str) -> str:
    """Return the address as it is stored and compared: valid, composed (NFC), lower-case, the domain in Unicode.

    What follows a ``+`` is part of the address: ``eva+run7@…`` and ``eva@…`` are two, as not every mail server takes
    them for one. No lookup is made.

    Raises:
        InvalidInput: it is no address, or made of letters that imitate those of another script.
    """
    try:
        valid = validate_email(
            email, check_deliverability=False, test_environment=True, strict=True
        )
    except EmailNotValidError as wrong:
        raise InvalidInput(str(wrong)) from None
    address = unicodedata.normalize("NFC", valid.normalized.lower())
    if len(address) > LONGEST_EMAIL:
        raise InvalidInput("The email address is too long.")
    if unicodedata.normalize("NFKC", address) != address or any(
        map(_mixes_scripts, re.split(r"[@.]", address))
    ):
        raise InvalidInput("The email address mixes letters that look like other letters.")
    return address


def _mixes_scripts(text: str) -> bool:
    return len({_script(one) for one in text if one.isalpha()} & _TWINS) > 1


def _joiners_have_an_effect(name: str) -> bool:
    """Say whether every joiner stands between letters that join, where it can be seen."""
    if name[0] in _JOINERS or name[-1] in _JOINERS:
        return False
    return all(
        _joins(before) and _joins(after)
        for before, after in pairwise(name)
        if before in _JOINERS or after in _JOINERS
    )


def _joins(character: str) -> bool:
    if character in _JOINERS:
        return True
    return unicodedata.category(character)[0] in "LM" and _script(character) not in _TWINS


def _script(character: str) -> str:
    """Return the first word of a character's name, which is its script for letters."""
    return unicodedata.name(character, "").partition(" ")[0]
