"""Units are made with names that projects and buckets can carry, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minio.helpers import check_bucket_name

from ddsd.access import Operator
from ddsd.audit.tables import AuditEntry
from ddsd.db.engine import Database
from ddsd.errors import AlreadyExists, InvalidFields
from ddsd.projects.projects import bucket_name
from ddsd.units import units
from ddsd.units.tables import Unit
from ddsd.work import Services, transaction
from tests.admin.serving import services_on
from tests.builders import NOON, SettableClock

OPERATOR = Operator(1000, "olga")
GENOMICS = {
    "public_id": "genomics",
    "name": "Genomics Platform",
    "external_display_name": "Genomics",
    "contact_email": "delivery@example.org",
}


@pytest.fixture
def services(database: Database, clock: SettableClock) -> Services:
    return services_on(database, clock)


async def made(services: Services, **change: object) -> Unit:
    async with transaction(services, OPERATOR) as work:
        return await units.create(work, **(GENOMICS | change))  # type: ignore[arg-type]  # wrong values are the point


async def test_a_unit_gets_its_defaults_and_is_recorded(
    services: Services, clock: SettableClock
) -> None:
    unit = await made(services)
    assert (unit.internal_ref, unit.days_in_available, unit.days_in_expired) == ("genomics", 90, 30)
    assert (unit.quota_bytes, unit.warning_level, unit.created_at) == (0, 0.8, clock.now())
    async with transaction(services, OPERATOR) as work:
        entry = await work.session.get_one(AuditEntry, 1)
    assert (entry.actor, entry.action) == (OPERATOR.label, "unit.create")
    assert entry.subject == "genomics"


async def test_units_are_listed_by_public_id(services: Services) -> None:
    await made(services, public_id="b", name="B")
    await made(services, public_id="a", name="A")
    async with transaction(services, OPERATOR) as work:
        assert [row.public_id for row in await units.listing(work)] == ["a", "b"]


async def test_names_are_stripped(services: Services) -> None:
    unit = await made(services, public_id=" x ", name=" X ", contact_email=" x@example.org ")
    assert (unit.public_id, unit.internal_ref, unit.name) == ("x", "x", "X")
    assert unit.contact_email == "x@example.org"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("public_id", ""),
        ("public_id", "."),
        ("public_id", "-a"),
        ("public_id", ".a"),
        ("public_id", "a.b.c.d"),
        ("public_id", "a..b"),
        ("public_id", "a.-b"),
        ("public_id", "a_b"),
        ("public_id", "a b"),
        ("public_id", "å"),
        ("public_id", "a\nb"),
        ("public_id", "xn--a"),
        ("public_id", "XN--a"),
        ("public_id", "a" * 51),
        ("internal_ref", ""),
        ("internal_ref", "a" * 31),
        ("internal_ref", "-a"),
        ("name", " "),
        ("name", "a" * 256),
        ("name", "a\nb"),
        ("external_display_name", ""),
        ("external_display_name", "\x1b[31mred"),
        ("contact_email", "nobody"),
        ("contact_email", "a@b@c"),
        ("contact_email", "a@example.org\nBcc: b@example.org"),
        ("days_in_available", 0),
        ("days_in_available", 91),
        ("days_in_expired", 0),
        ("days_in_expired", 31),
        ("quota_bytes", -1),
        ("quota_bytes", 2**63),
        ("warning_level", 0.0),
        ("warning_level", 1.01),
        ("warning_level", float("nan")),
    ],
)
async def test_a_value_that_cannot_be_used_is_refused_by_the_fields_name(
    services: Services, field: str, value: object
) -> None:
    fits = {"internal_ref": "fits"} if field == "public_id" else {}
    with pytest.raises(InvalidFields) as refused:
        await made(services, **(fits | {field: value}))
    assert set(refused.value.fields) == {field}
    async with transaction(services, OPERATOR) as work:
        assert await units.listing(work) == []


async def test_a_public_id_too_long_for_a_bucket_needs_an_internal_reference(
    services: Services,
) -> None:
    with pytest.raises(InvalidFields) as refused:
        await made(services, public_id="a" * 50)
    assert set(refused.value.fields) == {"internal_ref"}
    assert (await made(services, public_id="a" * 50, internal_ref="a" * 30)).public_id == "a" * 50


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Other", "internal_ref": "other"}, "public ID 'genomics'"),
        ({"public_id": "GENOMICS", "name": "Other", "internal_ref": "other"}, "public ID"),
        ({"public_id": "other"}, "name 'Genomics Platform'"),
        ({"public_id": "other", "name": "Other", "internal_ref": "Genomics"}, "internal reference"),
    ],
)
async def test_a_name_that_is_taken_is_refused_and_the_other_unit_is_named(
    services: Services, change: dict[str, str], said: str
) -> None:
    await made(services)
    with pytest.raises(AlreadyExists, match=rf"{said}.*: genomics"):
        await made(services, **change)


@given(reference=st.text(alphabet="ab0.-XNxn", max_size=32), counter=st.integers(1, 99_999))
def test_every_reference_that_is_accepted_makes_a_bucket_name_that_stores_accept(
    reference: str, counter: int
) -> None:
    if units.why_not_a_name(reference, units.MAX_INTERNAL_REF):
        return
    bucket = bucket_name(f"{reference}{counter:05d}", NOON)
    assert len(bucket) <= units.MAX_BUCKET
    check_bucket_name(bucket, True)
