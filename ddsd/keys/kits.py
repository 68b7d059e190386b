"""A unit's recovery key on paper: 32 bytes written as 24 words (BIP 39, English list), and opened from them.

Invariant: the words are in no ``repr``, and no refusal repeats what was typed.
"""

from __future__ import annotations

from typing import Final

from mnemonic import Mnemonic

from ddsd.errors import InvalidFields
from ddsd.keys import hierarchy
from ddsd.keys.unlocked import OpenedKit, unlock_kit
from ddsd.secret import SecretBytes, SecretText

WORDS: Final = 24
_LIST: Final = Mnemonic("english")


def new_words() -> SecretText:
    """Draw a kit: 24 words with single spaces between them, which carry 256 random bits and 8 of checksum."""
    return words_of(hierarchy.new_secret())


def words_of(secret: SecretBytes) -> SecretText:
    """Write a kit's 32-byte secret as words (BIP 39: 24 words of 11 bits, the last 8 bits a checksum)."""
    return SecretText(_LIST.to_mnemonic(secret.reveal()))


def open_kit(words: SecretText) -> OpenedKit:
    """Open a kit with its words as somebody types them: case, line breaks and numbering do not matter.

    Whether the kit is one of ours is not checked: compare :attr:`~ddsd.keys.unlocked.OpenedKit.public`.

    Raises:
        InvalidFields: these are not the words of any kit; it says which word to look at, by its number.
    """
    typed = _typed(words)
    unknown = [number for number, word in enumerate(typed, 1) if word not in _LIST.wordlist]
    if unknown:
        raise _wrong(f"Not on the list of words: number {', '.join(map(str, unknown))}.")
    if len(typed) != WORDS:
        raise _wrong(f"A kit has {WORDS} words, and these are {len(typed)}.")
    try:
        return unlock_kit(SecretBytes(bytes(_LIST.to_entropy(typed))))
    except ValueError:  # not chained: its text may hold what was typed
        raise _wrong(
            "The words do not fit together: one is wrong, or two changed places."
        ) from None


def _typed(words: SecretText) -> list[str]:
    pieces = words.text().lower().replace(",", " ").split()
    return [piece for piece in pieces if not piece.rstrip(".)").isdecimal()]


def _wrong(why: str) -> InvalidFields:
    return InvalidFields({"words": [f"{why} Compare them with the paper."]})
