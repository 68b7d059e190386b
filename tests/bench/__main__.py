"""``python -m tests.bench [--quick] [--only sqlite]``: measure, print a table and JSON, beside the original.

``--only year [--scale 0.1]`` measures a facility's year instead; ``--only stores``, deliveries with the stock client on
each store; ``--only installing``, as root, the way from a bare machine to the first delivery.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from ddsd.keys.instance import InstanceKey
from ddsd.work import Services
from tests.bench import filling, installing, people, stores, year
from tests.bench.client import Answer, Client, median_ms, per_second
from tests.bench.server import KEY_FILE, make_services
from tests.builders import SettableClock
from tests.conftest import migrate
from tests.parts.ports import free_port
from tests.parts.postgres import running_cluster
from tests.thorough import KINDS
from tests.world import World, basic, file_body, make_world, populate

ORIGINAL = {
    "login, first step (ms)": 658,
    "proj/private (ms)": 921,
    "proj/private, 8 clients (per s)": 1.04,
    "proj/list, 10 projects, 0 files (ms)": 35,
    "proj/list, 100 projects, 0 files (ms)": 187,
    "proj/list, 1000 projects, 0 files (ms)": 1906,
    "proj/list, 10 projects, 100k files (ms)": 2631,
    "proj/list, 100 projects, 100k files (ms)": 3135,
    "proj/list, 1000 projects, 100k files (ms)": 4882,
    "files/list root, 1k files (ms)": 29,
    "files/list root, 10k files (ms)": 300,
    "files/list root, 100k files (ms)": 2492,
    "files/list folder of 1000, 1k files (ms)": 34,
    "files/list folder of 1000, 10k files (ms)": 240,
    "files/list folder of 1000, 100k files (ms)": 2290,
    "file/all/info, 1k files (ms)": 562,
    "file/all/info, 10k files (ms)": 5236,
    "file/all/info, 100k files (ms)": 48792,
    "file/new, onto 0 files (ms)": 27,
    "file/new, onto 10k files (ms)": 637,
    "file/new, onto 100k files (ms)": 5772,
    "file/new, onto 0 files, 8 clients (per s)": 54.75,
    "idle (MiB resident)": 100,
    "after everything (MiB resident)": 462,
}
"""dds_web 2.14.3 with MariaDB on two cores, two workers of which the larger counts; other figures are not known."""

_SAID = {1000: "1k", 10_000: "10k", 100_000: "100k", 0: "0"}


class Bench:
    """One run on one database: what was measured so far, by name."""

    def __init__(
        self, world: World, process: psutil.Process, client: Client, *, quick: bool
    ) -> None:
        self.world = world
        self.services: Services = world.services
        self.process = process
        self.client = client
        self.times = 3 if quick else 9
        self.most = 10_000 if quick else 100_000
        self.figures: dict[str, float] = {}

    async def run(self) -> dict[str, float]:
        """Measure everything."""
        self._note("idle (MiB resident)", self._rss())
        await self._logins()
        await self._people()
        bearer = await self._login("admin1")
        project = await self.world.project("admin1")
        await self._private_key(bearer, project)
        for count in (1000, 10_000, 100_000):
            if count <= self.most:
                await self._reading(bearer, project, count)
        for count in (0, 10_000, 100_000):
            if count <= self.most:
                await self._registering(bearer, project, count)
        await self._registering_apart()
        await self._project_lists()
        self._note("after everything (MiB resident)", self._rss())
        return self.figures

    def _note(self, what: str, figure: float) -> None:
        self.figures[what] = round(figure, 2)

    def _rss(self) -> float:
        return float(self.process.memory_info().rss) / 2**20

    def _cpu_seconds(self) -> float:
        spent = self.process.cpu_times()
        return float(spent.user + spent.system)

    async def _login(self, who: str) -> str:
        return f"Bearer {await self.world.login(who)}"

    async def _logins(self) -> None:
        right, wrong, unknown = (
            basic("admin1", "Correct-horse-1"),
            basic("admin1", "x"),
            basic("x", "x"),
        )
        login = partial(self.client.call, "GET", "/user/encrypted_token")
        self._note("login, first step (ms)", median_ms(self.times, lambda: login(right)))
        self._note(
            "login, wrong password (ms)", median_ms(self.times, lambda: login(wrong, fine=401))
        )
        self._note(
            "login, unknown user (ms)", median_ms(self.times, lambda: login(unknown, fine=401))
        )

    async def _people(self) -> None:
        self._note_all(people.logins(self.client, self.process.pid, self.times))
        self._note_all(people.pages(self.client, self.times))
        self._note_all(people.resets(self.client, self.times))
        self._note_all(await people.registrations(self.world, self.client, self.times))
        self._note_all(await people.many_members(self.world, self.client, self.times))

    def _note_all(self, figures: Iterable[tuple[str, float]]) -> None:
        for what, figure in figures:
            self._note(what, figure)

    async def _private_key(self, bearer: str, project: str) -> None:
        ask = partial(self.client.call, "GET", f"/proj/private?project={project}", bearer)
        self._note("proj/private (ms)", median_ms(self.times * 5, ask))
        self._note("proj/private, 8 clients (per s)", per_second(8, [ask] * 40 * self.times))

    async def _reading(self, bearer: str, project: str, count: int) -> None:
        await filling.fill_project(self.services, project, count)
        said, call = _SAID[count], self.client.call
        listing = partial(call, "GET", f"/files/list?project={project}", bearer)
        inside = {"subpath": "d000", "show_size": True}
        self._note(
            f"files/list root, {said} files (ms)",
            median_ms(self.times, lambda: listing({"subpath": None})),
        )
        self._note(
            f"files/list folder of 1000, {said} files (ms)",
            median_ms(self.times, lambda: listing(inside)),
        )
        everything = partial(call, "GET", f"/file/all/info?project={project}", bearer, [])
        before = self._rss()
        self._note(
            f"file/all/info, {said} files (ms)",
            median_ms(2 if count > 10_000 else self.times, everything),
        )
        self._note(f"file/all/info, {said} files (MB)", len(everything().body) / 1e6)
        self._note(
            f"file/all/info, {said} files (MiB more resident)", max(0.0, self._rss() - before)
        )
        names = [f"d000/g{number}" for number in range(10_000)]
        match = partial(call, "GET", f"/file/match?project={project}", bearer, names)
        self._note(f"file/match of 10k names, {said} files (ms)", median_ms(self.times, match))

    async def _registering(self, bearer: str, project: str, count: int) -> None:
        await filling.fill_project(self.services, project, count)
        said, path = _SAID[count], f"/file/new?project={project}"
        numbers = iter(range(10**9))

        def register() -> Answer:
            number = next(numbers)
            name = f"new{number // 1000}/file{number}"
            return self.client.call("POST", path, bearer, file_body(name))

        self._note(f"file/new, onto {said} files (ms)", median_ms(10 * self.times, register))
        self._note_rate(f"file/new, onto {said} files, 8 clients", [register] * 200 * self.times)

    async def _registering_apart(self) -> None:
        """Register with eight sessions, each into a project of its own: no two have anything in common."""
        posts = []
        for _ in range(8):
            path = f"/file/new?project={await self.world.project('admin1')}"
            del self.world.tokens["admin1"]
            bearer = f"Bearer {await self.world.token_of('admin1')}"
            posts.append(partial(self.client.call, "POST", path, bearer))
        bodies = [file_body(f"new/file{number}") for number in range(25 * self.times)]
        calls = [partial(post, body) for body in bodies for post in posts]
        self._note_rate("file/new, 8 sessions, a project each", calls)

    def _note_rate(self, what: str, calls: Sequence[Callable[[], Answer]]) -> None:
        before = self._cpu_seconds()
        rate = per_second(8, calls)
        cpu = (self._cpu_seconds() - before) * 1000 / len(calls)
        self._note(f"{what} (per s)", rate)
        self._note(f"{what} (ms of CPU per call)", cpu)

    async def _project_lists(self) -> None:
        counts = (10, 100, 1000)
        await filling.units_of_many(self.services, counts)
        for count in counts:
            bearer = await self._login(filling.projects_admin(count))
            ask = partial(self.client.call, "GET", "/proj/list", bearer, {"usage": False})
            for files in (0, self.most):
                if files:
                    await filling.fill_unit(self.services, filling.projects_admin(count), files)
                what = f"proj/list, {count} projects, {_SAID[files]} files (ms)"
                self._note(what, median_ms(self.times, ask))


@contextmanager
def serving(url: str, state: Path) -> Iterator[tuple[psutil.Process, Client]]:
    """Run the measured process until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.server", url, str(state), str(port)]
    with subprocess.Popen(command) as process:
        try:
            client = Client(port)
            _wait_for(client)
            yield psutil.Process(process.pid), client
        finally:
            process.terminate()


def _wait_for(client: Client) -> None:
    for _ in range(150):
        try:
            client.call("GET", "/motd", "")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the measured process does not answer")


@contextmanager
def database(kind: str, directory: Path) -> Iterator[str]:
    """Make an empty database, on disk as in earnest."""
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'ddsd.sqlite3'}"
        return
    with running_cluster(checkout=directory, keep=False) as cluster:
        url = cluster.create_database()
        asyncio.run(_in_earnest(url, directory))
        yield url


async def _in_earnest(url: str, directory: Path) -> None:
    """Have PostgreSQL flush its commits to disk, which the tests' cluster does not."""
    services = make_services(url, directory, InstanceKey.generate())
    engine = services.database.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            await connection.execute(text(f"ALTER SYSTEM SET {setting} = on"))
        await connection.execute(text("SELECT pg_reload_conf()"))
    await services.database.close()


@asynccontextmanager
async def _world(url: str, directory: Path, key: InstanceKey) -> AsyncIterator[World]:
    services = make_services(url, directory, key)
    await populate(services)
    clock = SettableClock()
    world = make_world(services, clock)
    async with world.http:
        yield world
    await services.database.close()


def measure(kind: str, *, quick: bool) -> dict[str, float]:
    """Measure on one kind of database."""
    with tempfile.TemporaryDirectory(prefix="ddsd-bench-") as made:
        directory, key = Path(made), InstanceKey.generate()
        (directory / KEY_FILE).write_text(key.to_text().text())
        with database(kind, directory) as url:
            migrate(url)

            async def run() -> dict[str, float]:
                async with _world(url, directory, key) as world:
                    with serving(url, directory) as (process, client):
                        return await Bench(world, process, client, quick=quick).run()

            return asyncio.run(run())


def measure_year(kind: str, scale: float) -> dict[str, float]:
    """Measure a facility's year on one kind of database."""
    with (
        tempfile.TemporaryDirectory(prefix="ddsd-bench-") as made,
        database(kind, Path(made)) as url,
    ):
        migrate(url)
        return asyncio.run(year.measure(url, scale))


def measure_store(kind: str, scale: float) -> dict[str, float]:
    """Measure deliveries on one store."""
    with tempfile.TemporaryDirectory(prefix="ddsd-bench-") as made:
        return stores.measure(kind, Path(made), scale)


def measure_installing() -> dict[str, dict[str, float]]:
    """Measure each way from a bare machine to the first delivery."""
    with tempfile.TemporaryDirectory(prefix="ddsd-bench-") as made:
        directory = Path(made)
        packages = installing.Packages(directory)
        return {
            way: installing.measure(way, packages, directory / str(number))
            for number, way in enumerate(installing.WAYS)
        }


def show(results: dict[str, dict[str, float]]) -> None:
    """Print the figures; ``x`` says how many times better than the original."""
    table = Table(title="ddsd, beside dds_web 2.14.3")
    for column in ("what", *(part for kind in results for part in (kind, "x")), "dds_web"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for what in dict.fromkeys(what for figures in results.values() for what in figures):
        original = ORIGINAL.get(what)
        cells = [what]
        for figures in results.values():
            figure = figures.get(what)
            cells += ["", ""] if figure is None else _cells(what, figure, original)
        table.add_row(*cells, "" if original is None else f"{original:,}")
    console = Console(width=120)
    console.print(table)
    console.print_json(json.dumps(results))


def _cells(what: str, figure: float, original: float | None) -> list[str]:
    shown = f"{figure:,.2f}" if what.endswith("(s)") else f"{figure:,.1f}"
    return [shown, _times_better(what, figure, original)]


def _times_better(what: str, figure: float, original: float | None) -> str:
    if original is None or not figure:
        return ""
    ratio = figure / original if "(per s)" in what else original / figure
    return f"{ratio:,.1f}" if ratio < 10 else f"{ratio:,.0f}"


def main() -> None:
    """Read the arguments, measure, print."""
    arguments = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer runs, at most 10k files")
    arguments.add_argument(
        "--only",
        choices=[*KINDS, "year", "stores", "installing"],
        action="append",
        default=[],
        help="only this database, or a facility's year, deliveries on each store, or installing",
    )
    arguments.add_argument("--scale", type=float, default=1.0, help="how much of a year's data")
    arguments.add_argument(
        "--directory", default="/var/tmp", help="where the databases are: on a disk"
    )
    chosen = arguments.parse_args()
    tempfile.tempdir = chosen.directory  # the tests' own is in memory
    kinds = [kind for kind in KINDS if kind in chosen.only] or KINDS
    if "stores" in chosen.only:
        show({kind: measure_store(kind, chosen.scale) for kind in stores.STORES})
    elif "installing" in chosen.only:
        show(measure_installing())
    elif "year" in chosen.only:
        show({kind: measure_year(kind, chosen.scale) for kind in kinds})
    else:
        show({kind: measure(kind, quick=chosen.quick) for kind in kinds})


if __name__ == "__main__":
    main()
