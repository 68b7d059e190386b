"""A recovery key on paper: what the words stand for, and what is said of words that are wrong."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsd.errors import InvalidFields, SealBroken
from ddsd.keys import kits
from ddsd.keys.hierarchy import kit_pair, new_key_pair, wrap_project_key
from ddsd.keys.unlocked import OpenedKit
from ddsd.secret import SecretBytes, SecretText

# BIP 39's own test vectors (github.com/trezor/python-mnemonic/blob/master/vectors.json), 256 bits.
BIP39 = {
    "00" * 32: "abandon " * 23 + "art",
    "7f" * 32: "legal winner thank year wave sausage worth useful " * 2
    + "legal winner thank year wave sausage worth title",
    "80" * 32: "letter advice cage absurd amount doctor acoustic avoid " * 2
    + "letter advice cage absurd amount doctor acoustic bless",
    "ff" * 32: "zoo " * 23 + "vote",
}


@pytest.mark.parametrize("secret", BIP39)
def test_words_are_those_of_bip_39(secret: str) -> None:
    assert kits.words_of(SecretBytes(bytes.fromhex(secret))).text() == BIP39[secret]
    opened = kits.open_kit(SecretText(BIP39[secret]))
    assert opened.public == kit_pair(SecretBytes(bytes.fromhex(secret))).public


@given(st.binary(min_size=32, max_size=32))
def test_every_secret_comes_back_from_its_words(secret: bytes) -> None:
    words = kits.words_of(SecretBytes(secret))
    assert len(words.text().split()) == kits.WORDS
    assert kits.open_kit(words).public == kit_pair(SecretBytes(secret)).public


def test_no_two_kits_are_alike() -> None:
    assert len({kits.new_words().text() for _ in range(20)}) == 20


def test_words_may_be_typed_as_they_stand_on_paper() -> None:
    words = kits.new_words().text().split()
    numbered = "\n".join(f" {n}. {word.upper()}," for n, word in enumerate(words, 1))
    assert (
        kits.open_kit(SecretText(numbered)).public
        == kits.open_kit(SecretText(" ".join(words))).public
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "A kit has 24 words, and these are 0."),
        ("abandon " * 23, "A kit has 24 words, and these are 23."),
        ("abandon " * 25, "A kit has 24 words, and these are 25."),
        ("abandon " * 24, "do not fit together"),
        ("abandon ability " + "abandon " * 21 + "art", "do not fit together"),
        ("hunter2 " + "abandon " * 22 + "ärt", "number 1, 24."),
        ("abandon " * 12, "A kit has 24 words, and these are 12."),
    ],
)
def test_wrong_words_are_refused_with_what_to_look_at_and_not_repeated(
    typed: str, said: str
) -> None:
    with pytest.raises(InvalidFields, match="paper") as refused:
        kits.open_kit(SecretText(typed))
    (message,) = refused.value.fields["words"]
    assert said in message
    assert not any(word in message for word in ("hunter2", "abandon", "ärt"))
    assert refused.value.__cause__ is None


@given(st.integers(0, 23), st.integers(0, 2047))
def test_a_single_wrong_word_never_opens_the_kit(position: int, other: int) -> None:
    words = kits.words_of(SecretBytes(bytes(range(32)))).text().split()
    wrong = list(words)
    wrong[position] = kits._LIST.wordlist[other]
    if wrong == words:
        return
    try:
        opened = kits.open_kit(SecretText(" ".join(wrong)))
    except InvalidFields:
        return
    assert opened.public != kits.open_kit(SecretText(" ".join(words))).public


def test_a_kit_opens_what_was_wrapped_for_it_and_nothing_else() -> None:
    opened, private = kits.open_kit(kits.new_words()), new_key_pair().private
    blob = wrap_project_key(private, holder_public=opened.public, project="p1")
    assert opened.open_project_key(blob, "p1") == private
    for kit, project in ((opened, "p2"), (kits.open_kit(kits.new_words()), "p1")):
        with pytest.raises(SealBroken):
            kit.open_project_key(blob, project)


def test_an_opened_kit_is_not_made_from_nothing_nor_shown_nor_copied() -> None:
    opened = kits.open_kit(kits.new_words())
    with pytest.raises(TypeError):
        OpenedKit()
    with pytest.raises(TypeError):
        pickle.dumps(opened)
    with pytest.raises(TypeError):
        copy.deepcopy(opened)
    assert repr(opened) == "OpenedKit(***)"
