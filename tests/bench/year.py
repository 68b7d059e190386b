"""One year of a facility: what its lists and its nights cost, and whether what is over costs anything."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import psutil
from rich.console import Console
from sqlalchemy import select

from ddsd import bootstrap
from ddsd.access import Member, Operator, Role, System
from ddsd.db.engine import Database
from ddsd.files import listing, reconciliation, removal
from ddsd.lifecycle import deadlines, endings
from ddsd.projects import overview, pending, projects, staffing
from ddsd.projects.tables import Project
from ddsd.storage.embedded import EmbeddedStore
from ddsd.units import units
from ddsd.usage import monthly, reports, statistics
from ddsd.usage.bytehours import Month
from ddsd.users import accounts
from ddsd.users.tables import User
from ddsd.work import Services, Work, reading, transaction
from tests.bench import year_filling
from tests.bench.year_filling import Facility
from tests.builders import NOON, SettableClock
from tests.services import make_services

_OPERATOR = Operator(0, "root")
_LARGE_BUCKET = 100_000
_AT_ONCE = 1000
_PROGRESS = Console(stderr=True)
_LEFT_FOR_LATER = frozenset({reconciliation.COMPARE_STORE})
"""Its cost is that of the objects, and most projects here have rows only: it is measured on the large bucket."""


class Year:
    """One run on one database: what was measured so far, by name."""

    def __init__(
        self, services: Services, clock: SettableClock, store: EmbeddedStore, scale: float
    ) -> None:
        self.services = services
        self.clock = clock
        self.store = store
        self.scale = scale
        self.facility = Facility.at(scale)
        self.figures: dict[str, float] = {}

    async def run(self, objects: Path) -> dict[str, float]:
        """Fill the database, then measure everything."""
        begun = time.perf_counter()
        await year_filling.fill(self.services, self.facility)
        self._note("versions", self.facility.versions)
        self._note("to fill the database (s)", time.perf_counter() - begun)
        for bucket in await year_filling.live_buckets(self.services):
            (objects / bucket).mkdir(parents=True)
        large = await year_filling.a_bucket(self.services, objects, self._many(_LARGE_BUCKET))
        year_filling.store_objects(
            objects / "nobodys-bucket", [f"f{n:06d}" for n in range(self._many(_LARGE_BUCKET))]
        )
        await self.store.start()
        await self._months()
        await self._lists()
        await self._night(", the first of a month")
        self.clock.advance(days=1)
        await self._night("")
        await year_filling.archive_as_much_again(self.services, self.facility)
        self.clock.advance(days=1)
        await self._night(", twice as much archived")
        await self._list("stats, counted now, twice as much archived", _OPERATOR, statistics.count)
        await self._expiring()
        await self._large_bucket(large)
        return self.figures

    def _many(self, count: int) -> int:
        return int(count * self.scale)

    def _note(self, what: str, figure: float) -> None:
        self.figures[what] = round(figure, 3)
        _PROGRESS.print(f"{what}: {self.figures[what]:,}", highlight=False)

    async def _timed(self, what: str, once: Callable[[], Awaitable[object]]) -> float:
        """Note how many seconds it takes, and how much the process grows meanwhile if it is more than a little."""
        async with _most_resident([psutil.Process()]) as most:
            begun = time.perf_counter()
            await once()
            seconds = time.perf_counter() - begun
        self._note(f"{what} (s)", seconds)
        if most[-1] - most[0] > 1:
            self._note(f"{what} (MiB more resident)", most[-1] - most[0])
        return seconds

    async def _months(self) -> None:
        """Catch up with all months but the last, then collect that one."""
        self.clock.set(Month.of(NOON).preceding().start + timedelta(hours=3))

        async def collect() -> None:
            await monthly.collect_due(self.services, System())

        await self._timed("usage collect, eleven months at once", collect)
        self.clock.set(NOON)
        await self._timed("usage collect, one month", collect)

    async def _lists(self) -> None:
        admin = await self._admin()
        staff: list[tuple[str, Callable[[Work], Awaitable[object]]]] = [
            ("proj/list of a unit", lambda work: projects.listing(work, show_all=True)),
            ("proj/list of a unit, with usage", _with_usage),
            ("invites", pending.listing),
            ("usage of a unit", reports.of_unit),
            ("files/list, 2000 files", _files),
        ]
        operator: list[tuple[str, Callable[[Work], Awaitable[object]]]] = [
            ("ddsctl project ls", overview.listing),
            ("ddsctl unit ls", _units),
            ("ddsctl user ls", lambda work: accounts.listing(work, None)),
            ("ddsctl invite ls", staffing.pending),
            ("stats, counted now", statistics.count),
            ("usage report, everything", reports.by_project),
            ("usage report, the last month", _last_month),
            ("usage of all versions since the beginning", _all_versions),
        ]
        for actor, asked in ((admin, staff), (_OPERATOR, operator)):
            for what, ask in asked:
                await self._list(what, actor, ask)

    async def _list(
        self, what: str, actor: Member | Operator, ask: Callable[[Work], Awaitable[object]]
    ) -> None:
        async def once() -> None:
            async with reading(self.services, actor) as work:
                await ask(work)

        await self._timed(what, once)

    async def _admin(self) -> Member:
        async with reading(self.services, System()) as work:
            table = User.columns()
            found = await work.session.scalars(
                select(User).where(table.role == Role.UNIT_ADMIN).order_by(table.id)
            )
            user = found.first()
            assert user is not None
            return Member(user.id, user.uid, user.username, user.name, user.role, user.unit_id, 0)

    async def _night(self, said: str) -> None:
        for one in bootstrap.scheduled(self.services.settings):
            if one.kind not in _LEFT_FOR_LATER:
                once = partial(bootstrap.HANDLERS[one.kind], self.services, one.subject)
                await self._timed(f"job {one.kind}{said}", once)

    async def _expiring(self) -> None:
        count = self._many(_AT_ONCE)
        await year_filling.let_expire(self.services, count)
        seconds = await self._timed(
            f"expire {count} projects at once",
            lambda: deadlines.follow_deadlines(self.services, ""),
        )
        self._note("expire at once (projects per s)", count / seconds)

    async def _large_bucket(self, public_id: str) -> None:
        count = self._many(_LARGE_BUCKET)
        await self._timed(
            f"compare a bucket of {count} objects",
            lambda: reconciliation.compare_store(self.services, public_id),
        )
        await self._timed(
            f"the first page of {count} objects without rows",
            lambda: removal.some_keys(self.services.store, "nobodys-bucket", removal.MOST_AT_ONCE),
        )
        async with transaction(self.services, System()) as work:
            await endings.archive(work, await endings.locked(work, public_id))
        children = [psutil.Process(one) for one in self.store.child_pids]
        async with _most_resident(children) as most:
            seconds = await self._timed(
                f"purge {count} objects", lambda: endings.end_project(self.services, public_id)
            )
        self._note("purge (objects per s)", count / seconds)
        self._note("purge, rclone and gate (MiB resident at most)", most[-1])


async def _with_usage(work: Work) -> object:
    return await projects.listing(work, show_all=True), await reports.of_listed(work, show_all=True)


async def _units(work: Work) -> object:
    return await units.listing(work), await overview.load_by_unit(work)


async def _files(work: Work) -> object:
    table = Project.columns()
    found = await work.session.scalars(select(Project).where(table.file_count > 0).limit(1))
    return await listing.folder(work, found.one(), "run")


async def _last_month(work: Work) -> object:
    return await reports.by_project(work, month=Month.of(work.now).preceding())


async def _all_versions(work: Work) -> object:
    found = await work.session.execute(
        reports._recorded_and_since(None, work.now, []),
    )
    return found.all()


@asynccontextmanager
async def _most_resident(processes: list[psutil.Process]) -> AsyncIterator[list[float]]:
    """Yield the MiB that these processes have resident: first at the start, last the most until the block ends."""

    def now() -> float:
        return float(sum(one.memory_info().rss for one in processes)) / 2**20

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.05)
            most.append(max(most[-1], now()))

    most = [now()]
    watching = asyncio.create_task(watch())
    try:
        yield most
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        most.append(max(most[-1], now()))


async def measure(url: str, scale: float) -> dict[str, float]:
    """Measure a year on an empty, migrated database."""
    with tempfile.TemporaryDirectory(prefix="ddsd-year-") as made:
        directory, clock = Path(made), SettableClock()
        store = EmbeddedStore(directory=directory / "store")
        services = make_services(Database(url), clock, directory, store=store)
        try:
            return await Year(services, clock, store, scale).run(directory / "store" / "objects")
        finally:
            await store.stop()
            await services.database.close()
