"""The operator's check of a store: what is written down of it, and that two at once are one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ddsd.access import Nobody, Operator
from ddsd.audit import trail
from ddsd.audit.trail import Sought
from ddsd.errors import Busy, Forbidden, NotFound
from ddsd.files import store_check
from ddsd.files.store_check import CHECK_STORE
from ddsd.jobs import progress, queue
from ddsd.jobs.schedule import EVERYTHING
from ddsd.secret import SecretText
from ddsd.storage.check.catalogue import CHECKS
from ddsd.storage.check.outcome import Verdict
from ddsd.storage.minio import S3Store
from ddsd.work import Services, reading, transaction
from tests.builders import a_unit
from tests.parts.ports import free_port

ROOT = Operator(0, "root")


@pytest.fixture
async def away(services: Services) -> Services:
    """Services whose store is not there."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    store = S3Store(endpoint=endpoint, access_key="x" * 20, secret_key=SecretText("y" * 20))
    await store.start()
    return replace(services, store=store)


async def seen(services: Services, unit: str | None = None) -> list[tuple[str, Verdict]]:
    async with reading(services, ROOT) as work:
        return [(check.name, row.verdict) for check, row in await store_check.results(work, unit)]


async def test_store_that_does_not_answer_is_asked_nothing_else(away: Services) -> None:
    await store_check.check_store(away, EVERYTHING)
    await store_check.check_store(away, EVERYTHING)
    assert await seen(away) == [("answers", Verdict.FAILED)]
    await away.store.stop()


async def test_check_is_enqueued_once_and_recorded(services: Services) -> None:
    async with transaction(services, ROOT) as work:
        await store_check.begin(work, None)
    with pytest.raises(Busy):
        async with transaction(services, ROOT) as work:
            await store_check.begin(work, None)
    async with reading(services, ROOT) as work:
        entries = await trail.listing(work, Sought(action="store"), 10)
        assert [(one.action, one.subject) for one in entries] == [("store.check", EVERYTHING)]
        [job] = await queue.listing(work)
    assert (job.kind, job.subject) == (CHECK_STORE, EVERYTHING)


async def test_new_check_forgets_what_came_of_the_last(away: Services) -> None:
    await store_check.check_store(away, EVERYTHING)
    async with transaction(away, ROOT) as work:
        await store_check.begin(work, None)
    assert await seen(away) == []
    await away.store.stop()


async def test_checks_of_units_are_kept_apart(away: Services) -> None:
    async with transaction(away, ROOT) as work:
        for name in ("one", "two"):
            await a_unit(work.session, public_id=name, name=name, internal_ref=name)
        await store_check.begin(work, "one")
    await store_check.check_store(away, "one")
    assert await seen(away, "one") == [("answers", Verdict.FAILED)]
    assert await seen(away, "two") == []
    assert await seen(away) == []
    told = await progress.reported(away, CHECK_STORE, "one")
    assert (told.done, told.total) == (1, len(CHECKS))
    await away.store.stop()


async def test_only_operators_check_and_only_units_that_exist(services: Services) -> None:
    with pytest.raises(NotFound):
        async with transaction(services, ROOT) as work:
            await store_check.begin(work, "nowhere")
    async with reading(services, Nobody()) as work:
        with pytest.raises(Forbidden):
            await store_check.results(work, None)
        with pytest.raises(Forbidden):
            await store_check.begin(work, None)


def test_every_check_can_be_told_apart_and_says_what_to_do() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert len({check.capability for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert len(check.name) <= 40
        assert check.meaning.endswith(".")
        assert check.remedy.endswith(".")
