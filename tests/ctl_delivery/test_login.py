"""The client's half of the login: the vectors of docs/formats.md, and that nothing false is taken for true."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import ValidationError

from ddsctl.delivery import login
from ddsctl.delivery.login import KeyDoesNotOpen, PasswordKeys
from ddsd.contract.delivery import Account, Cost, Derivation, LoggedIn, ProjectKey
from ddsd.keys import hierarchy
from ddsd.secret import SecretBytes, SecretText

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
VECTORS = dict(
    re.findall(
        r"^(\S+) +([0-9a-f]+)$",
        PAGE.read_text().split("```vectors\n")[1].split("```")[0],
        re.MULTILINE,
    )
)
PASSWORD = "Blåbärsöl 2026!"
DEFAULT = Cost(memory_kib=65536, iterations=3, lanes=4)
CHEAP = Cost(memory_kib=8192, iterations=1, lanes=1)
USER_PRIVATE, PROJECT_PRIVATE = bytes(range(0x20, 0x40)), bytes(range(0x40, 0x60))


def vector(name: str) -> bytes:
    return bytes.fromhex(VECTORS[name])


def public_of(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


KEYS = PasswordKeys(auth=vector("auth"), kek=vector("kek"))
ANSWER = LoggedIn(
    token="t",
    expires_at=datetime(2026, 11, 29, tzinfo=UTC),
    account=Account(uid="user-anna", username="anna", name="Anna", role="Researcher"),
    public_key=vector("user-public"),
    wrapped_private_key=vector("user-key"),
    wanted_cost=None,
)
PROJECT = ProjectKey(
    project="project-7", public_key=public_of(PROJECT_PRIVATE), wrap=vector("project-key")
)
ME = X25519PrivateKey.from_private_bytes(USER_PRIVATE)


def flipped(blob: bytes, at: int) -> bytes:
    return blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_auth_and_kek_are_as_printed_in_either_unicode_form(form: str) -> None:
    password = unicodedata.normalize(form, PASSWORD)  # type: ignore[arg-type]
    assert login.derive(password, Derivation(salt=bytes(range(16)), cost=DEFAULT)) == KEYS


def test_the_printed_keys_open() -> None:
    assert login.open_private_key(ANSWER, KEYS).private_bytes_raw() == USER_PRIVATE
    assert login.open_project_key(PROJECT, ME).private_bytes_raw() == PROJECT_PRIVATE


@pytest.mark.parametrize("password", ["Correct-horse-1", "ÿ þ ß Ä", "e\u0301", "\u00e9", "x" * 64])
def test_client_and_service_derive_the_same(password: str) -> None:
    by = Derivation(salt=bytes(range(16, 32)), cost=CHEAP)
    mine = login.derive(password, by)
    cost = hierarchy.KdfCost(memory_kib=8192, iterations=1, lanes=1)
    theirs = hierarchy.split_master(
        hierarchy.derive_master(SecretText(password), bytes(range(16, 32)), cost)
    )
    assert (mine.auth, mine.kek) == (theirs.auth.reveal(), theirs.kek.reveal())


def test_the_service_opens_what_the_client_sealed_anew() -> None:
    asked, anew = login.upgrade(PASSWORD, KEYS, ANSWER, CHEAP)
    opened = hierarchy.open_user_key(
        asked.wrapped_private_key, kek=SecretBytes(anew.kek), owner="user-anna"
    )
    assert opened.reveal() == USER_PRIVATE
    assert asked.auth_before == KEYS.auth
    assert asked.auth == anew.auth != KEYS.auth
    assert hierarchy.is_user_key(asked.wrapped_private_key)


def test_two_upgrades_share_neither_salt_nor_blob() -> None:
    one, _ = login.upgrade(PASSWORD, KEYS, ANSWER, CHEAP)
    other, _ = login.upgrade(PASSWORD, KEYS, ANSWER, CHEAP)
    assert one.salt != other.salt
    assert one.wrapped_private_key != other.wrapped_private_key


@pytest.mark.parametrize(
    "changes",
    [
        {"account": ANSWER.account.model_copy(update={"uid": "user-bo"})},
        {"public_key": public_of(PROJECT_PRIVATE)},
        *({"wrapped_private_key": flipped(vector("user-key"), at)} for at in (0, 1, 2, 13, 14, 61)),
    ],
)
def test_an_altered_private_key_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(KeyDoesNotOpen):
        login.open_private_key(ANSWER.model_copy(update=changes), KEYS)


def test_another_password_does_not_open() -> None:
    other = PasswordKeys(auth=KEYS.auth, kek=KEYS.auth)
    with pytest.raises(KeyDoesNotOpen, match="with this password"):
        login.open_private_key(ANSWER, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"project": "project-8"},
        {"public_key": public_of(USER_PRIVATE)},
        *({"wrap": flipped(vector("project-key"), at)} for at in (0, 1, 2, 33, 34, 81)),
    ],
)
def test_an_altered_wrap_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(KeyDoesNotOpen):
        login.open_project_key(PROJECT.model_copy(update=changes), ME)


@pytest.mark.parametrize(
    "cost",
    [
        {"memory_kib": 8, "iterations": 1, "lanes": 1},
        {"memory_kib": 8191, "iterations": 3, "lanes": 4},
        {"memory_kib": 2**23, "iterations": 3, "lanes": 4},
        {"memory_kib": 65536, "iterations": 0, "lanes": 4},
        {"memory_kib": 65536, "iterations": 10**6, "lanes": 4},
        {"memory_kib": 65536, "iterations": 3, "lanes": 17},
    ],
)
def test_a_service_cannot_ask_for_a_cost_that_gives_the_password_away_or_stops_the_client(
    cost: dict[str, int],
) -> None:
    with pytest.raises(ValidationError):
        Derivation.model_validate({"salt": "00" * 16, "cost": cost})


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(ValidationError):
        Derivation.model_validate({"salt": "00" * 15, "cost": CHEAP.model_dump()})


def test_no_secret_shows_when_printed() -> None:
    asked, anew = login.upgrade(PASSWORD, KEYS, ANSWER, CHEAP)
    printed = repr([KEYS, anew, login.prove("anna", KEYS), asked])
    for secret in (KEYS.auth, KEYS.kek, anew.auth, anew.kek):
        assert secret.hex() not in printed
        assert repr(secret)[2:-1] not in printed
