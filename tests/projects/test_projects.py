"""Names of buckets, and who may make projects at all."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsd.access import Nobody, Operator, System
from ddsd.errors import Forbidden
from ddsd.projects import projects
from ddsd.projects.projects import ProjectFields
from ddsd.work import Services, transaction
from tests.builders import NOON

MOMENT = datetime(2026, 11, 22, 7, 0, 53, 720608, tzinfo=UTC)


def test_a_bucket_is_named_as_the_stock_service_does() -> None:
    name = projects.bucket_name("Genom00001", MOMENT)
    assert re.fullmatch(r"genom00001-261122070053720608-[0-9a-f]{8}", name)


@given(st.text(min_size=1, max_size=60))
def test_any_public_id_makes_a_name_that_s3_takes(public_id: str) -> None:
    name = projects.bucket_name(public_id, NOON)
    assert 3 <= len(name) <= 63
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*[a-z0-9]", name)


def test_names_differ_within_a_moment() -> None:
    assert len({projects.bucket_name("x00001", NOON) for _ in range(50)}) == 50


@pytest.mark.parametrize("actor", [Nobody(), System(), Operator(0, "root")])
async def test_only_members_make_projects(
    services: Services, actor: Nobody | System | Operator
) -> None:
    async with transaction(services, actor) as work:
        with pytest.raises(Forbidden):
            await projects.create(work, ProjectFields("a", "b", "c@example.org", True))
