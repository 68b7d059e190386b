"""What a login costs the service tells nobody who has an account: runs of Argon2id and their cost, in both ways."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ddsd.access import System
from ddsd.errors import NotAuthenticated
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import KdfCost, MasterSplit
from ddsd.secret import SecretText
from ddsd.users import login, proof
from ddsd.work import Services, transaction
from tests.builders import a_user
from tests.services import CHEAP
from tests.users.people import somebody

DEARER = KdfCost(memory_kib=8192, iterations=2, lanes=1)
NOBODIES = [f"nobody{number}" for number in range(8)]


class CountingDeriver(Deriver):
    """The real one; it remembers with which salt and cost it was asked."""

    def __init__(self, cost: KdfCost) -> None:
        super().__init__(cost)
        self.runs: list[tuple[bytes, KdfCost]] = []

    async def derive(self, password: SecretText, salt: bytes, cost: KdfCost) -> MasterSplit:
        self.runs.append((salt, cost))
        return await super().derive(password, salt, cost)


def counting(services: Services, cost: KdfCost) -> tuple[Services, CountingDeriver]:
    deriver = CountingDeriver(cost)
    return replace(services, deriver=deriver), deriver


async def guess(services: Services, username: str) -> None:
    with pytest.raises(NotAuthenticated):
        await login.check_password(services, username, SecretText("Wrong-horse-1"), "")


async def test_a_name_of_nobody_costs_what_the_accounts_cost_not_what_is_configured(
    services: Services,
) -> None:
    user = await somebody(services)
    dearer, deriver = counting(services, DEARER)
    for username in (user.username, *NOBODIES):
        await guess(dearer, username)
    assert [cost for _, cost in deriver.runs] == [CHEAP] * (1 + len(NOBODIES))
    assert len({salt for salt, _ in deriver.runs}) == 1 + len(NOBODIES)


async def test_both_ways_of_logging_in_agree_on_nobodys_salt_and_cost(services: Services) -> None:
    for _ in range(3):
        await somebody(services)
    await somebody(replace(services, deriver=Deriver(DEARER)))
    counted, deriver = counting(services, DEARER)
    for username in NOBODIES:
        await guess(counted, username)
        told = await proof.derivation(counted, username, "")
        assert deriver.runs[-1] == (told.salt, told.cost)


async def test_an_account_without_a_password_costs_the_same(services: Services) -> None:
    await somebody(services)
    async with transaction(services, System()) as work:
        waiting = await a_user(work.session)
    dearer, deriver = counting(services, DEARER)
    await guess(dearer, waiting.username)
    assert [cost for _, cost in deriver.runs] == [CHEAP]


async def test_in_an_empty_service_the_configured_cost_is_run_once(services: Services) -> None:
    dearer, deriver = counting(services, DEARER)
    await guess(dearer, "nobody")
    assert [cost for _, cost in deriver.runs] == [DEARER]
