"""Usage and statistics over the stock wire."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from ddsd.access import System
from ddsd.files.tables import FileVersion
from ddsd.projects.tables import Project
from ddsd.usage import monthly, statistics
from ddsd.work import transaction
from tests.world import World, file_body

GB = 10**9
MESSAGE = "You do not have the necessary permissions."


@pytest.fixture
def kind() -> str:
    """The wire is the same on both databases."""
    return "sqlite"


async def two_projects(world: World) -> list[str]:
    """Store 1 GB for ten hours in one project of unit1, replace it by 2 GB for another ten; nothing in the other."""
    full, empty = await world.project("admin1", "researcher1"), await world.project()
    await world.add_file(full, "a", size_processed=GB)
    world.clock.advance(hours=10)
    body = file_body("a", size_processed=2 * GB)
    await world.call("PUT", f"/file/new?project={full}", "admin1", json=body)
    world.clock.advance(hours=10)
    return [full, empty]


async def listed(world: World, who: str, **options: bool) -> dict[str, Any]:
    """Return what ``dds ls --usage`` is told."""
    answer = await world.call("GET", "/proj/list", who, json={"usage": True} | options)
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


@pytest.mark.parametrize("who", ["admin1", "staff1", "super"])
async def test_a_list_with_usage_tells_byte_hours_and_what_they_cost(
    world: World, who: str
) -> None:
    await two_projects(world)
    told = await listed(world, who)
    cost = pytest.approx(30 * 0.09 / 720)
    assert [(one["Usage"], one["Cost"]) for one in told["project_info"]] == [
        (30 * GB, cost),
        (0.0, 0.0),
    ]
    assert told["total_usage"] == {"usage": 30 * GB, "cost": cost}


async def test_the_list_tells_the_same_after_the_months_are_written_down(world: World) -> None:
    await two_projects(world)
    world.clock.advance(days=70)
    world.tokens.clear()
    before = await listed(world, "admin1")
    await monthly.collect_due(world.services, System())
    after = await listed(world, "admin1")
    assert after["total_usage"]["usage"] == pytest.approx(before["total_usage"]["usage"], rel=1e-12)
    assert after["total_usage"]["usage"] > 2 * GB * 24 * 70


async def test_a_researcher_is_told_no_usage(world: World) -> None:
    """The keys are there all the same: the client breaks without them when it is to sort by one."""
    await two_projects(world)
    told = await listed(world, "researcher1")
    assert "total_usage" not in told
    assert [(one["Usage"], one["Cost"]) for one in told["project_info"]] == [(None, None)]


async def test_what_is_listed_is_what_is_summed(world: World) -> None:
    full, _ = await two_projects(world)
    async with transaction(world.services, System()) as work:
        projects = Project.columns()
        await work.session.execute(
            update(Project).where(projects.public_id == full).values(active=False)
        )
        versions = FileVersion.columns()
        await work.session.execute(
            update(FileVersion).where(versions.removed_at.is_(None)).values(removed_at=work.now)
        )
    assert (await listed(world, "admin1"))["total_usage"]["usage"] == 0
    told = await listed(world, "admin1", show_all=True)
    assert told["total_usage"]["usage"] == 30 * GB
    assert (await listed(world, "admin2", show_all=True))["total_usage"]["usage"] == 0


@pytest.mark.parametrize("edition", ["v1", "v3"])
async def test_usage_is_gigabytes_times_hours_of_every_project_of_the_unit(
    world: World, edition: str
) -> None:
    full, empty = await two_projects(world)
    for who in ("admin1", "staff1"):
        answer = await world.call("GET", "/usage", who, edition=edition)
        assert answer.json() == {
            "total_usage": {"gbhours": 30.0, "cost": 0.0},
            "project_usage": {
                full: {"gbhours": 30.0, "cost": 0.0},
                empty: {"gbhours": 0.0, "cost": 0.0},
            },
        }
    other = await world.call("GET", "/usage", "admin2", edition=edition)
    assert other.json() == {"total_usage": {"gbhours": 0.0, "cost": 0.0}, "project_usage": {}}


async def test_usage_is_not_for_those_without_a_unit(world: World) -> None:
    for who, message in (("super", MESSAGE), ("researcher1", "Insufficient credentials")):
        answer = await world.call("GET", "/usage", who)
        assert (answer.status_code, answer.json()) == (403, {"message": message})


@pytest.mark.parametrize("edition", ["v1", "v3"])
async def test_statistics_are_never_empty(world: World, edition: str) -> None:
    await two_projects(world)
    for counted in (False, True):
        if counted:
            await statistics.collect_statistics(world.services, "all")
            world.clock.advance(days=1, hours=1)
        answer = (await world.call("GET", "/stats", "super", edition=edition)).json()
        assert answer["stats"] == [
            {
                "Date": "2026-03-03",
                "Units": 2,
                "Researchers": 2,
                "Project Owners": 0,
                "Unit Personnel": 2,
                "Unit Admins": 5,
                "Super Admins": 1,
                "Total Users": 10,
                "Total Projects": 2,
                "Active Projects": 2,
                "Inactive Projects": 0,
                "Data Now (TB)": 0.002,
                "Data Uploaded (TB)": 0.003,
                "TBHours Last Month": 0.0,
                "TBHours Total": 0.03,
            }
        ]
        assert list(answer["columns"]) == list(answer["stats"][0])
        assert all(answer["columns"].values())


async def test_statistics_are_for_super_admins(world: World) -> None:
    for who in ("admin1", "staff1", "researcher1"):
        answer = await world.call("GET", "/stats", who)
        assert (answer.status_code, answer.json()) == (403, {"message": "Insufficient credentials"})
    assert (await world.call("GET", "/stats")).json() == {"message": "No token"}


async def test_a_day_without_anything_is_a_day_of_nothing(world: World) -> None:
    world.clock.advance(days=1)
    told = await listed(world, "admin1")
    assert told["total_usage"] == {"usage": 0, "cost": 0.0}
