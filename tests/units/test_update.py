"""A unit can be changed, all at once or not at all, and it is on record."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from ddsd.access import Nobody, Operator, System
from ddsd.audit.tables import AuditEntry
from ddsd.errors import AlreadyExists, Forbidden, InvalidFields, NotFound
from ddsd.units import units
from ddsd.units.tables import Unit
from ddsd.units.units import Change, Wanted
from ddsd.work import Services, reading, transaction
from tests.builders import a_unit

OPERATOR = Operator(1000, "olga")


@pytest.fixture(autouse=True)
async def two_units(services: Services) -> None:
    async with transaction(services, System()) as work:
        for name in ("genomics", "imaging"):
            await a_unit(work.session, public_id=name, name=name.title(), quota_bytes=10**12)


async def change(services: Services, wanted: Wanted, *, dry_run: bool = False) -> list[Change]:
    async with transaction(services, OPERATOR) as work:
        return await units.update(work, "genomics", wanted, dry_run=dry_run)


async def genomics(services: Services) -> Unit:
    async with reading(services, System()) as work:
        return await units.find(work, "genomics")


async def entries(services: Services) -> list[AuditEntry]:
    async with reading(services, System()) as work:
        return list(await work.session.scalars(select(AuditEntry)))


async def test_what_is_named_is_changed_and_nothing_else(services: Services) -> None:
    before = await genomics(services)
    changes = await change(services, Wanted(name=" Core ", days_in_available=60, warning_level=0.9))
    assert changes == [
        Change("name", "Genomics", "Core"),
        Change("days_in_available", 90, 60),
        Change("warning_level", 0.8, 0.9),
    ]
    after = (await genomics(services)).model_dump()
    told = {"name": "Core", "days_in_available": 60, "warning_level": 0.9}
    assert after == before.model_dump() | told
    [entry] = await entries(services)
    assert (entry.actor, entry.action, entry.subject) == (OPERATOR.label, "unit.update", "genomics")
    facts = {"name": "Core", "days_in_available": 60, "warning_level": "0.9"}
    assert json.loads(entry.facts) == facts


async def test_a_dry_run_tells_the_same_and_changes_nothing(services: Services) -> None:
    before = (await genomics(services)).model_dump()
    wanted = Wanted(quota_bytes=0, quota_enforced=False)
    told = await change(services, wanted, dry_run=True)
    assert (await genomics(services)).model_dump() == before
    assert await entries(services) == []
    assert await change(services, wanted) == told


async def test_what_is_so_already_is_no_change_and_not_recorded(services: Services) -> None:
    assert await change(services, Wanted(name="Genomics", quota_bytes=10**12)) == []
    assert await entries(services) == []


@pytest.mark.parametrize("dry_run", [False, True])
async def test_one_field_that_does_not_fit_leaves_all_as_it_was(
    services: Services, dry_run: bool
) -> None:
    with pytest.raises(InvalidFields) as refused:
        await change(
            services, Wanted(name="New", quota_bytes=-1, days_in_expired=31), dry_run=dry_run
        )
    assert set(refused.value.fields) == {"quota_bytes", "days_in_expired"}
    assert (await genomics(services)).name == "Genomics"


async def test_a_unit_with_a_name_that_could_not_be_given_today_is_changed_all_the_same(
    services: Services,
) -> None:
    async with transaction(services, System()) as work:
        await a_unit(work.session, public_id="unit_1", internal_ref="unit_1", name="One")
    async with transaction(services, OPERATOR) as work:
        changes = await units.update(work, "unit_1", Wanted(days_in_available=60), dry_run=False)
    assert changes == [Change("days_in_available", 90, 60)]


@pytest.mark.parametrize("dry_run", [False, True])
async def test_another_units_name_is_refused(services: Services, dry_run: bool) -> None:
    with pytest.raises(AlreadyExists, match="'IMAGING': imaging"):
        await change(services, Wanted(name="IMAGING"), dry_run=dry_run)


async def test_an_unknown_unit_is_not_found(services: Services) -> None:
    with pytest.raises(NotFound, match="There is no unit 'nowhere'"):
        async with transaction(services, OPERATOR) as work:
            await units.update(work, "nowhere", Wanted(), dry_run=False)


async def test_a_stranger_changes_nothing(services: Services) -> None:
    with pytest.raises(Forbidden):
        async with transaction(services, Nobody()) as work:
            await units.update(work, "genomics", Wanted(name="X"), dry_run=False)
