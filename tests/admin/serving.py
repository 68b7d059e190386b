"""The real admin plane on a real Unix socket, served by uvicorn in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import uvicorn
import uvloop

from ddsd import bootstrap
from ddsd.access import System
from ddsd.clock import Clock, SystemClock
from ddsd.db.engine import Database
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import KdfCost
from ddsd.keys.instance import InstanceKey
from ddsd.mail.kept import KeptTransport
from ddsd.mail.port import Letter
from ddsd.planes.admin import app as admin
from ddsd.planes.admin.peer import PeerProtocol
from ddsd.settings import Instance, Listen, Settings
from ddsd.storage.memory import MemoryStore
from ddsd.storage.stores import Stores
from ddsd.work import Services, Work, transaction
from tests.services import SeveralStores, no_users

Result = TypeVar("Result")

START_LIMIT_S = 30


class SendingTransport:
    """Says that it sends; used where nothing is sent and only that claim matters."""

    sends = True

    async def send(self, letter: Letter) -> None:
        raise AssertionError("no test here sends a letter")


class AdminPlane:
    """A served admin plane. ``services`` belong to its loop: reach the database with :meth:`work`."""

    def __init__(self, socket_path: Path, services: Services) -> None:
        self.socket = socket_path
        self.services = services
        self.loop = uvloop.new_event_loop()  # as the daemon: its sockets are not quite Python's

    @property
    def store(self) -> MemoryStore:
        """The store, to be sent away."""
        assert isinstance(self.services.store, MemoryStore)
        return self.services.store

    def run(self, what: Awaitable[Result]) -> Result:
        """Run something on the plane's loop and return what came of it."""

        async def awaited() -> Result:
            return await what

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(START_LIMIT_S)

    def work(self, verb: Callable[[Work], Awaitable[Result]]) -> Result:
        """Do a piece of work as the system itself."""

        async def transacted() -> Result:
            async with transaction(self.services, System()) as work:
                return await verb(work)

        return self.run(transacted())


def services_for(
    directory: Path, template: Path | None, *, admin_group: str = "", sends: bool = False
) -> Services:
    """Return services on a SQLite file in ``directory``, a copy of ``template``, with a store in memory."""
    if template is not None:
        shutil.copyfile(template, directory / "ddsd.sqlite3")
    settings = Settings(
        instance=Instance(facility="Test Facility", state_dir=directory),
        listen=Listen(admin_group=admin_group),
    )
    return services_on(Database(settings.database_url), SystemClock(), settings, sends=sends)


def services_on(
    database: Database, clock: Clock, settings: Settings | None = None, *, sends: bool = False
) -> Services:
    """Return services on a database, with a store in memory."""
    return Services(
        settings=settings or Settings(),
        clock=clock,
        database=database,
        store=MemoryStore(),
        stores=Stores(SeveralStores(clock).open, no_users),
        post=SendingTransport() if sends else KeptTransport(),
        instance_key=InstanceKey.generate(),
        deriver=Deriver(KdfCost(memory_kib=8192, iterations=1, lanes=1)),
        wake_jobs=lambda: None,
    )


@contextmanager
def serving(socket_path: Path, services: Services, *, mode: int = 0o660) -> Iterator[AdminPlane]:
    """Serve the admin plane on a Unix socket until the block ends."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(socket_path))
    socket_path.chmod(mode)
    with serving_on(listener, services) as plane:
        yield plane


@contextmanager
def serving_on(listener: socket.socket, services: Services) -> Iterator[AdminPlane]:
    """Serve the admin plane on a bound socket of whatever kind until the block ends."""
    server = uvicorn.Server(
        uvicorn.Config(
            admin.build(services, bootstrap.scheduled(services.settings)),
            http=PeerProtocol,
            ws="none",
            proxy_headers=False,
            lifespan="off",
            log_config=None,
            access_log=False,
        )
    )
    plane = AdminPlane(Path(str(listener.getsockname())), services)
    listener.listen()

    async def serve() -> None:
        await server.serve(sockets=[listener])
        await services.database.close()

    thread = threading.Thread(target=lambda: plane.loop.run_until_complete(serve()))
    thread.start()
    try:
        yield plane
    finally:
        server.should_exit = True
        thread.join(START_LIMIT_S)
        plane.loop.close()
        services.deriver.close()
