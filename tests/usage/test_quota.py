"""A quota is enforced where it is to be, told of once per crossing, and never in the way of those without one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select, text

from ddsd.access import Member, Nobody, Operator, Role, System
from ddsd.audit.tables import AuditEntry
from ddsd.db.engine import Database
from ddsd.errors import Forbidden, QuotaExceeded
from ddsd.files import intake, registration
from ddsd.files.registration import NewFile, Upload
from ddsd.projects import quota as quota_rules
from ddsd.projects.admission import Admission
from ddsd.projects.tables import Project
from ddsd.units import units
from ddsd.units.units import Wanted
from ddsd.usage import quota
from ddsd.usage.quota import Standing
from ddsd.work import Services, reading, transaction
from tests.builders import a_project, a_unit, a_user
from tests.usage.records import letters
from tests.world import PROJECT, World, file_body

OPERATOR = Operator(1000, "olga")
FORCED = PROJECT | {"force": True}


async def limit(world: World, size: int, *, enforced: bool = True) -> None:
    """Give unit1 a quota."""
    async with transaction(world.services, OPERATOR) as work:
        wanted = Wanted(quota_bytes=size, quota_enforced=enforced)
        await units.update(work, "unit1", wanted, dry_run=False)


async def register(world: World, project: str, name: str, size: int) -> tuple[int, str]:
    """Register a file that takes so much in the store; return status and message."""
    body = file_body(name, size_processed=size)
    answer = await world.call("POST", f"/file/new?project={project}", "admin1", json=body)
    return answer.status_code, answer.json()["message"]


class TestEnforcement:
    """What is refused, and what never is."""

    async def test_files_are_registered_up_to_the_quota_and_no_byte_further(
        self, world: World
    ) -> None:
        await limit(world, 1000)
        first, second = await world.project(), await world.project()
        assert (await register(world, first, "a", 600))[0] == 200
        status, message = await register(world, second, "b", 401)
        assert status == 400
        assert message == (
            "unit1 has 600 B of its quota of 1.0 kB in use: another 401 B would be too much. "
            "Archive or delete projects that are no longer needed ('dds ls --usage' lists what each uses), "
            "or ask root@localhost for a larger quota."
        )
        assert (await register(world, second, "b", 400))[0] == 200

    async def test_a_full_unit_makes_no_project_and_begins_no_upload(self, world: World) -> None:
        project = await world.project()
        await world.add_file(project, "a", size_processed=1000)
        await limit(world, 1000)
        for answer in (
            await world.call("POST", "/proj/create", "admin1", json=FORCED),
            await world.call("GET", f"/s3/proj?project={project}", "admin1"),
        ):
            assert answer.status_code == 400
            assert (
                "has 1.0 kB of its quota of 1.0 kB in use: nothing can be added."
                in (answer.json()["message"])
            )
        assert (await world.call("POST", "/proj/create", "admin2", json=FORCED)).status_code == 200

    async def test_new_content_of_a_file_is_never_refused(self, world: World) -> None:
        """Its object has been overwritten when it is registered: the old facts would not decrypt it."""
        project = await world.project()
        await world.add_file(project, "a", size_processed=10)
        await limit(world, 10)
        body = file_body("a", size_processed=5000)
        answer = await world.call("PUT", f"/file/new?project={project}", "admin1", json=body)
        assert answer.status_code == 200

    async def test_where_it_is_only_warned_of_nothing_is_refused(self, world: World) -> None:
        await limit(world, 10, enforced=False)
        project = await world.project()
        assert (await register(world, project, "a", 5000))[0] == 200
        await world.project()

    async def test_the_failed_registrations_of_a_client_are_refused_one_by_one(
        self, world: World
    ) -> None:
        await limit(world, 100)
        project = await world.project()
        async with reading(world.services, System()) as work:
            bucket = (await work.session.scalars(select(Project))).one().bucket
        await world.store.ensure_bucket(bucket)
        entries = {}
        for name, size in (("a", 60), ("b", 60), ("c", 40)):
            body = file_body(name)
            await world.store.put(bucket, body["name_in_bucket"], b"x" * size)
            entries[name] = {
                "path_remote": body["name_in_bucket"],
                "subpath": ".",
                "size_raw": 100,
                "size_processed": size,
                "compressed": False,
                "salt": body["salt"],
                "public_key": body["public_key"],
                "checksum": body["checksum"],
                "overwrite": False,
                "status": {"failed_op": "add_file_db"},
            }
        answer = await world.call(
            "PUT", f"/file/failed/add?project={project}", "admin1", json=entries
        )
        assert answer.json()["files_added"] == ["a", "c"]
        assert "another 60 B would be too much" in answer.json()["message"]["b"]["error"]

    async def test_many_at_once_stay_below_the_quota(self, world: World) -> None:
        await limit(world, 1000)
        projects = [await world.project() for _ in range(3)]
        await world.token_of("admin1")
        ended = await asyncio.gather(
            *(register(world, projects[n % 3], f"f{n}", 90) for n in range(30))
        )
        assert [status for status, _ in ended].count(200) == 11
        async with reading(world.services, System()) as work:
            sizes = await work.session.scalars(select(Project.columns().bytes_stored))
            assert sum(sizes) == 990

    @pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
    async def test_a_second_daemon_waits_until_the_first_has_committed(
        self, services: Services, database_url: str
    ) -> None:
        """SQLite has one writer anyway."""
        async with transaction(services, System()) as work:
            unit = await a_unit(work.session, quota_bytes=1000)
            first, second = [(await a_project(work.session, unit)).id for _ in range(2)]
            user = await a_user(work.session, role=Role.UNIT_ADMIN, unit_id=unit.id)
            member = Member(user.id, user.uid, "n", "N", Role.UNIT_ADMIN, unit.id, 1)
        other = Database(database_url)
        daemon = replace(services, database=other)
        async with transaction(services, System()) as work:
            await quota_rules.hold(work, [unit.id])
            uploads = [Upload(first, a_file(600), member)]
            assert await registration.add_all(work, first, uploads) == [None]

            async def claim(_: Admission) -> Upload:
                return Upload(second, a_file(600), member)

            late = asyncio.create_task(intake.add(daemon, claim))
            waiting = asyncio.create_task(somebody_waits(services))
            await asyncio.wait({late, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        with pytest.raises(QuotaExceeded):
            await late
        await other.close()


def a_file(size: int) -> NewFile:
    """Return what is said of a new file."""
    return NewFile("a", "key", size, size, True, "A" * 32, "B" * 64, "c" * 64)


async def somebody_waits(services: Services) -> None:
    """Return once a transaction waits for a lock."""
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while True:
        async with reading(services, System()) as work:
            if await work.session.scalar(waits):
                return


class TestWatch:
    """Who is told, and how often."""

    async def arrange(self, services: Services, used: int, **fields: object) -> None:
        async with transaction(services, System()) as work:
            fields = {"quota_bytes": 1000, "contact_email": "unit@example.org"} | fields
            unit = await a_unit(work.session, public_id="genomics", name="Genomics", **fields)
            await a_project(work.session, unit, bytes_stored=used)

    async def use(self, services: Services, used: int) -> None:
        async with transaction(services, System()) as work:
            project = (await work.session.scalars(select(Project))).one()
            project.bytes_stored = used

    async def test_the_unit_and_the_service_are_told_once_per_crossing(
        self, services: Services
    ) -> None:
        await self.arrange(services, 800)
        await quota.watch_quotas(services, "all")
        assert await letters(services) == []
        await self.use(services, 801)
        for _ in range(3):
            await quota.watch_quotas(services, "all")
        told = [("quota_warning", "unit@example.org"), ("quota_warning", "root@localhost")]
        assert await letters(services) == told
        await self.use(services, 100)
        await quota.watch_quotas(services, "all")
        await self.use(services, 900)
        await quota.watch_quotas(services, "all")
        assert await letters(services) == told * 2

    async def test_without_a_quota_nobody_is_told(self, services: Services) -> None:
        await self.arrange(services, 10**15, quota_bytes=0)
        await quota.watch_quotas(services, "all")
        assert await letters(services) == []

    async def test_where_it_is_not_enforced_they_are_told_all_the_same(
        self, services: Services
    ) -> None:
        await self.arrange(services, 5000, quota_enforced=False)
        await quota.watch_quotas(services, "all")
        assert len(await letters(services)) == 2

    async def test_two_at_once_tell_once(self, services: Services) -> None:
        await self.arrange(services, 900)
        await asyncio.gather(*(quota.watch_quotas(services, "all") for _ in range(4)))
        assert len(await letters(services)) == 2

    async def test_who_would_be_told_can_be_asked_and_is_not_told(self, services: Services) -> None:
        await self.arrange(services, 900)
        async with reading(services, OPERATOR) as work:
            [one] = await quota.to_be_warned(work)
        assert isinstance(one, Standing)
        assert (one.unit_public_id, one.level_bytes, one.used_bytes) == ("genomics", 800, 900)
        assert await letters(services) == []
        await quota.watch_quotas(services, "all")
        async with reading(services, OPERATOR) as work:
            assert await quota.to_be_warned(work) == []

    async def test_a_warning_is_on_record(self, services: Services) -> None:
        await self.arrange(services, 900)
        async with transaction(services, OPERATOR) as work:
            await quota.warn(work)
        async with reading(services, System()) as work:
            entry = (await work.session.scalars(select(AuditEntry))).one()
        assert (entry.actor, entry.action, entry.subject) == (
            OPERATOR.label,
            "unit.quota_warning",
            "genomics",
        )

    async def test_a_stranger_warns_nobody(self, services: Services) -> None:
        with pytest.raises(Forbidden):
            async with transaction(services, Nobody()) as work:
                await quota.warn(work)
