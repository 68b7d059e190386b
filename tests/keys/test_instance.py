"""The instance key: how it is read, what it refuses, what it seals."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsd.errors import ConfigurationError, InvalidInput, SealBroken
from ddsd.keys.instance import InstanceKey
from ddsd.secret import SecretBytes, SecretText

RAW = bytes(range(100, 132))
BASE64URL = base64.urlsafe_b64encode(RAW).decode()
KEY = InstanceKey(SecretBytes(RAW))


@pytest.mark.parametrize(
    "text",
    [RAW.hex(), RAW.hex().upper(), BASE64URL, BASE64URL.rstrip("="), f"  {RAW.hex()}\n"],
    ids=["hex", "upper hex", "padded base64url", "base64url", "white space"],
)
def test_every_spelling_reads_as_the_same_key(text: str) -> None:
    assert InstanceKey.from_text(SecretText(text)).token_key == KEY.token_key


def test_generated_keys_differ_and_survive_their_file() -> None:
    one, two = InstanceKey.generate(), InstanceKey.generate()
    assert one.token_key != two.token_key
    assert InstanceKey.from_text(one.to_text()).token_key == one.token_key
    assert len(one.to_text()) == 43


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "secret",
        RAW.hex()[:-1],
        RAW.hex() + "0",
        f"{RAW.hex()[:32]}\n{RAW.hex()[32:]}",
        BASE64URL[:-4],
        BASE64URL + "A",
        "+" + BASE64URL[1:],
        "é" * 43,
    ],
)
def test_text_of_another_form_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="64 hex digits or 43 characters") as refusal:
        InstanceKey.from_text(SecretText(text))
    assert not text.strip() or text not in str(refusal.value)


@pytest.mark.parametrize(
    "raw", [bytes(32), b"\xff" * 32, b"ab" * 16, b"change!" * 4 + b"chan"], ids=repr
)
def test_a_key_that_was_typed_is_refused(raw: bytes) -> None:
    with pytest.raises(ConfigurationError, match="not random"):
        InstanceKey.from_text(SecretText(raw.hex()))


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ConfigurationError, match="32 bytes"):
        InstanceKey(SecretBytes(bytes(range(length))))


@given(plain=st.binary(max_size=300), purpose=st.from_regex(r"[a-z0-9/-]{1,40}", fullmatch=True))
def test_secret_at_rest_opens_again(plain: bytes, purpose: str) -> None:
    blob = KEY.seal(plain, purpose)
    assert len(blob) == len(plain) + 30
    assert KEY.open(blob, purpose) == SecretBytes(plain)


def test_secret_at_rest_does_not_open_for_another_purpose_or_instance() -> None:
    blob = KEY.seal(b"hemlig", "s3-secret/unit-1")
    with pytest.raises(SealBroken):
        KEY.open(blob, "s3-secret/unit-2")
    with pytest.raises(SealBroken):
        InstanceKey.generate().open(blob, "s3-secret/unit-1")


def test_every_flipped_bit_of_a_secret_at_rest_is_refused() -> None:
    blob = KEY.seal(b"hemlig", "totp")
    for bit in range(len(blob) * 8):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            KEY.open(bytes(damaged), "totp")


def test_a_secret_without_purpose_is_refused() -> None:
    with pytest.raises(InvalidInput):
        KEY.seal(b"hemlig", "")


def test_no_key_shows() -> None:
    assert repr(KEY) == str(KEY) == "InstanceKey(***)"
    assert repr(KEY.token_key) == repr(KEY.to_text()) == "***"
    assert repr(KEY.open(KEY.seal(b"hemlig", "totp"), "totp")) == "***"
