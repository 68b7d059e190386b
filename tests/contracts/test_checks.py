"""The operator's checks, performed on every store of the tests: what comes of them is what ``docs/stores.md`` says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ddsd.storage.check.catalogue import CHECKS
from ddsd.storage.check.outcome import Check, perform
from ddsd.storage.port import ObjectStore
from tests.contracts.stores import SCRATCH, SERVED, a_bench, started
from tests.stores_table import cell, documented


@pytest.fixture(params=SERVED)
def kind(request: pytest.FixtureRequest) -> str:
    """Which store the test runs on this time."""
    return str(request.param)


@pytest.fixture
async def store(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    running = await started(kind, request)
    yield running
    await running.stop()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
async def test_check_says_of_a_store_what_is_documented(
    kind: str, store: ObjectStore, check: Check
) -> None:
    async with a_bench(store) as bench:
        outcome = await perform(check, bench)
    assert cell(outcome) == documented()[check.capability][kind], outcome.seen
    assert await store.list_buckets(SCRATCH) == ()


def test_every_check_is_documented_in_the_order_of_the_catalogue() -> None:
    assert list(documented()) == [check.capability for check in CHECKS]
