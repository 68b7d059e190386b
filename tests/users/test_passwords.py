"""What a password has to be, and what is kept of it."""

from __future__ import annotations

import pytest

from ddsd.access import System
from ddsd.errors import InvalidFields, SealBroken
from ddsd.keys import hierarchy
from ddsd.secret import SecretText
from ddsd.users import login, passwords
from ddsd.users.tables import User
from ddsd.work import Services, transaction
from tests.users.people import PASSWORD, somebody


@pytest.mark.parametrize(
    "text", ["Abcdefghi1", "Abcdefghi#", "Åbcdefghi1", "Ab 1" + "x" * 60, "A\u030abcdefghi1"]
)
def test_good_ones(text: str) -> None:
    passwords.check_strength(SecretText(text))


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("Abcdefg1", "at least 10 characters"),
        ("Ab1" + "x" * 62, "at most 64 characters"),
        ("ABCDEFGHI1", "a lower-case letter"),
        ("abcdefghi1", "an upper-case letter"),
        ("Abcdefghij", "a digit or one of #?!@$%^&*-"),
        ("Abcdefghi1\x00", "no control characters"),
        ("Abcdefghi1\x9b", "no control characters"),
        ("Abcdefghi1\u00ad", "no control characters"),
        ("Abcde\u0301\u0301fg1" + "x" * 60, "at most 64 characters"),
        ("A\u030abcdefg1", "at least 10 characters"),
        ("Abcdefghi1😀", "only characters of Latin-1"),
    ],
)
def test_bad_ones_are_told_the_rule_they_miss(text: str, missing: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        passwords.check_strength(SecretText(text))
    assert missing in refused.value.fields["password"][0]
    assert text not in refused.value.message


def test_every_rule_missed_is_named_at_once() -> None:
    with pytest.raises(InvalidFields) as refused:
        passwords.check_strength(SecretText(""))
    assert refused.value.fields["password"][0].count(",") == 3


async def test_a_first_password_makes_a_key_pair_that_it_opens(services: Services) -> None:
    user = await somebody(services)
    assert user.kdf_salt is not None
    split = await services.deriver.derive(PASSWORD, user.kdf_salt, services.deriver.cost)
    assert login.unlock(user, split).public == user.public_key
    wrong = await services.deriver.derive(SecretText("other"), user.kdf_salt, services.deriver.cost)
    with pytest.raises(SealBroken):
        login.unlock(user, wrong)


async def test_a_new_cost_keeps_the_key_pair(services: Services) -> None:
    user = await somebody(services)
    assert user.kdf_salt is not None
    before = (user.public_key, user.kdf_salt, user.auth_verifier)
    split = await services.deriver.derive(PASSWORD, user.kdf_salt, services.deriver.cost)
    fresh, salt, cost = await passwords.derive_new(services, PASSWORD)
    async with transaction(services, System()) as work:
        row = await work.session.get_one(User, user.id)
        passwords.follow_cost(row, login.unlock(row, split), fresh, salt, cost)
    assert (row.public_key, row.kdf_salt) == (before[0], salt)
    assert row.auth_verifier != before[2]
    assert row.auth_verifier is not None
    assert hierarchy.auth_matches(fresh.auth, row.auth_verifier)
    assert login.unlock(row, fresh).public == before[0]
