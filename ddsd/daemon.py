"""The process: both planes, the store and the jobs in one event loop, from start to drain.

Invariant: one daemon to an admin socket, and what was started is stopped, in reverse order, however
the process ends by itself. Requests and jobs that run when it is told to stop get
``listen.drain_s`` seconds.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
import uvicorn
import uvloop

from ddsd import __version__, bootstrap, log
from ddsd.db import revision
from ddsd.db.engine import Database
from ddsd.errors import ConfigurationError, DatabaseUnavailable, DdsError
from ddsd.jobs.runner import JobRunner
from ddsd.keys import instance_check
from ddsd.listeners import DaemonFailed, admin_listener, public_listener, shown_address
from ddsd.log import AsgiApp, RequestLog
from ddsd.reception import Reception
from ddsd.rim import BodyLimit, Forwarded, SecurityHeaders
from ddsd.settings import Listen, Settings, changed
from ddsd.tls import Shown
from ddsd.work import Services

_KEEP_ALIVE_S: Final = 75  # longer than reverse proxies', or they send into closing connections
_AFTER_CANCEL_S: Final = 2.0
_AFTER_DRAIN_S: Final = 15
_BACKLOG: Final = 2048

Reread = Callable[[], Settings]

_log = structlog.get_logger()


@dataclass(frozen=True)
class Planes:
    """Both applications, and the protocol class that tells the admin plane who connected."""

    public: AsgiApp
    admin: AsgiApp
    admin_protocol: type[asyncio.Protocol] = Reception


def planes(services: Services, shown: Shown | None = None) -> Planes:
    """Build the applications of both planes; ``shown``: the certificate of the public one."""
    from ddsd.planes import public
    from ddsd.planes.admin import app as admin
    from ddsd.planes.admin.peer import PeerProtocol

    return Planes(
        public.build(services),
        admin.build(services, bootstrap.scheduled(services.settings), shown),
        PeerProtocol,
    )


def run(services: Services, apps: Planes | None = None, reread: Reread | None = None) -> None:
    """Serve in an event loop of its own; see :func:`serve`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(services, apps, reread))


async def serve(
    services: Services, apps: Planes | None = None, reread: Reread | None = None
) -> None:
    """Run the daemon until SIGTERM or SIGINT, then drain. SIGHUP: see :func:`_reload`.

    To be called in the main thread. A second signal ends the drain at once. Both listeners are
    bound before anything else starts, and accept when everything else has started.

    Args:
        services: from :func:`ddsd.bootstrap.build`; closed at the end.
        apps: the planes; ``None`` means :func:`planes`.
        reread: reads the configuration again; ``None``: it came from no file.

    Raises:
        ConfigurationError: the database's revision, the instance key, the certificate, the admin
            group or an address does not fit.
        DaemonFailed: a part does not start, a listener is taken, or a plane ended by itself.
    """
    notify = Notifier.of(os.environ)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_close, services)
        orders = stack.enter_context(_signals())
        shown = _certificate(services)
        servers, runner = await _start(services, apps, shown, stack)
        await stack.enter_async_context(_background(_feed_watchdog(notify, services.database)))
        if shown:
            await stack.enter_async_context(_background(shown.watch()))
        reloading = _follow_hangups(orders, notify, _Reloadable(services.settings, reread, shown))
        await stack.enter_async_context(_background(reloading))
        notify("READY=1", f"STATUS=ddsd {__version__} is serving")
        _log.info("daemon.ready", **{server.plane: server.address for server in servers})
        await _until_told(orders, servers)
        notify("STOPPING=1", "STATUS=draining", _more_time(services.settings.listen))
        _log.info("daemon.draining", at_most_s=services.settings.listen.drain_s)
        await _drain(orders, servers, runner)
    _log.info("daemon.stopped")


def _more_time(listen: Listen) -> str:
    """Ask systemd for as long as a drain may take, whatever its own limit is."""
    return f"EXTEND_TIMEOUT_USEC={(listen.drain_s + _AFTER_DRAIN_S) * 1_000_000}"


def _certificate(services: Services) -> Shown | None:
    listen = services.settings.listen
    return Shown(listen, services.clock) if listen.tls_certificate_file else None


async def _start(
    services: Services, apps: Planes | None, shown: Shown | None, stack: AsyncExitStack
) -> tuple[Sequence[PlaneServer], JobRunner]:
    settings, listen = services.settings, services.settings.listen
    with _opening(services.settings):
        await revision.require_head(services.database)
        await instance_check.require_same_key(services.database, services.instance_key)
    with _starting("the admin socket"):
        admin_socket = stack.enter_context(admin_listener(listen))
    public_socket = stack.enter_context(public_listener(listen))
    apps = apps or planes(services, shown)
    with _starting("the object store", "; look at store.directory"):
        stack.push_async_callback(services.store.stop)
        stack.push_async_callback(services.stores.stop)
        await services.store.start()
    runner = bootstrap.job_runner(services)
    with _starting("the job runner"):
        stack.push_async_callback(runner.stop)
        await runner.start()
    schedule = bootstrap.schedule(services)
    stack.push_async_callback(schedule.stop)
    schedule.start()
    guarded = guard(apps.public, settings)
    tls = shown.context if shown else None
    servers = (
        PlaneServer("public", guarded, public_socket, listen, tls=tls),
        PlaneServer("admin", apps.admin, admin_socket, listen, apps.admin_protocol),
    )
    for server in servers:
        await server.open()
        stack.push_async_callback(server.close)
    return servers, runner


async def _close(services: Services) -> None:
    services.deriver.close()
    await services.database.close()


@contextmanager
def _opening(settings: Settings) -> Iterator[None]:
    """Say what the database's driver says, and which setting to look at."""
    try:
        yield
    except DatabaseUnavailable as wrong:
        raise DaemonFailed(bootstrap.why_not_opened(settings, wrong)) from wrong


@contextmanager
def _starting(part: str, remedy: str = "") -> Iterator[None]:
    """Name the part that does not start, and what to do."""
    try:
        yield
    except (ConfigurationError, DaemonFailed):
        raise
    except DdsError as wrong:
        raise DaemonFailed(f"{part} cannot be started: {wrong}") from wrong
    except OSError as wrong:
        place = f" at {wrong.filename}" if wrong.filename else ""
        raise DaemonFailed(f"{part} cannot be started: {wrong.strerror}{place}{remedy}") from wrong


@dataclass(frozen=True)
class _Orders:
    """What the signals ask for."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)


@contextmanager
def _signals() -> Iterator[_Orders]:
    """Handle SIGTERM, SIGINT and SIGHUP, once for everything in this process."""
    loop = asyncio.get_running_loop()
    orders = _Orders()

    def told_to_stop(number: signal.Signals) -> None:
        _log.info("daemon.told_to_stop", signal=number.name)
        (orders.hurry if orders.stop.is_set() else orders.stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop, number)
    loop.add_signal_handler(signal.SIGHUP, orders.reload.set)
    try:
        yield orders
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


@dataclass(frozen=True)
class _Reloadable:
    """What SIGHUP may change, and the settings that are in effect."""

    settings: Settings
    reread: Reread | None
    shown: Shown | None


async def _follow_hangups(orders: _Orders, notify: Notifier, what: _Reloadable) -> None:
    while True:
        await orders.reload.wait()
        orders.reload.clear()
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        _reload(what)
        notify("READY=1")


def _reload(what: _Reloadable) -> None:
    """Take the certificate and the log's level anew; all else that was changed is named and waits for a restart.

    A configuration that does not fit changes nothing, and is told of.
    """
    if what.shown:
        what.shown.take_anew()
    if what.reread is None:
        return
    try:
        wanted = what.reread()
    except ConfigurationError as wrong:
        _log.error("daemon.reload_refused", why=wrong.message)
        return
    _log.info("daemon.reloaded", log_level=wanted.log.level.value)
    log.configure(wanted.log.level, what.settings.log.format)
    if waiting := [key for key in changed(what.settings, wanted) if key != "log.level"]:
        _log.warning("daemon.restart_needed", settings=waiting)


async def _until_told(orders: _Orders, servers: Sequence[PlaneServer]) -> None:
    async with _background(orders.stop.wait()) as told:
        await asyncio.wait(
            {told, *(server.ended for server in servers)}, return_when=asyncio.FIRST_COMPLETED
        )
    for server in servers:
        if server.ended.done() and not orders.stop.is_set():
            raise DaemonFailed(f"the {server.plane} plane ended by itself") from (
                server.ended.exception()
            )


async def _drain(orders: _Orders, servers: Sequence[PlaneServer], runner: JobRunner) -> None:
    async def hurry() -> None:
        await orders.hurry.wait()
        for server in servers:
            server.force_exit = True

    async with _background(hurry()):
        await asyncio.gather(*(server.close() for server in servers), runner.stop())


@asynccontextmanager
async def _background(
    work: Coroutine[object, object, object],
) -> AsyncIterator[asyncio.Task[object]]:
    """Do ``work`` beside the block; it does not outlive it."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


def guard(app: AsgiApp, settings: Settings) -> AsgiApp:
    """Put around the public plane what strangers and their browsers make necessary."""
    strict = settings.instance.public_url.startswith("https://")
    return Forwarded(SecurityHeaders(app, strict=strict), settings.listen.trusted_proxies)


class PlaneServer(uvicorn.Server):
    """One plane's server. Signals are not its business: :func:`serve` handles them for both.

    Args:
        plane: its name in the log.
        app: the application; gets the body limit and the request log around it.
        listener: bound, not yet listening; closed with the server.
        listen: limits and time to drain.
        protocol: uvicorn's HTTP protocol class.
        tls: ``None``: in the clear.
    """

    def __init__(
        self,
        plane: str,
        app: AsgiApp,
        listener: socket.socket,
        listen: Listen,
        protocol: type[asyncio.Protocol] = Reception,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        guarded = RequestLog(BodyLimit(app, listen.max_body_mib * 1024 * 1024), plane)
        super().__init__(
            uvicorn.Config(
                guarded,
                http=protocol,
                ws="none",
                lifespan="on",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ssl_context_factory=(lambda _config, _usual: tls) if tls else None,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=listen.drain_s,
            )
        )
        self.plane = plane
        self.address = shown_address(listener)
        self._listener = listener
        self._accepting = asyncio.Event()

    async def open(self) -> None:
        """Return when requests are accepted.

        Raises:
            DaemonFailed: the application or the listener does not start.
        """
        self.ended = asyncio.create_task(self.serve([self._listener]), name=f"{self.plane} plane")
        async with _background(self._accepting.wait()) as accepting:
            await asyncio.wait({self.ended, accepting}, return_when=asyncio.FIRST_COMPLETED)
        if self.ended.done():
            raise DaemonFailed(f"the {self.plane} plane cannot be started") from (
                self.ended.exception()
            )

    async def close(self) -> None:
        """Accept nothing more, and return when every request has ended or its time is up."""
        self.should_exit = True
        with suppress(DaemonFailed):
            await self.ended

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone (uvicorn's own would end the process when the first server ends)."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, but fail instead of leaving the process."""
        try:
            await super().startup(sockets)
        except (SystemExit, OSError) as wrong:
            raise DaemonFailed(f"the {self.plane} plane cannot be started") from wrong
        self._accepting.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain as uvicorn does, and let what had to be cancelled roll back."""
        await super().shutdown(sockets)
        if late := set(self.server_state.tasks):
            for request in late:
                request.cancel()
            await asyncio.wait(late, timeout=_AFTER_CANCEL_S)


class Notifier:
    """Tells systemd how the service is, sd_notify(3); silent where there is no systemd."""

    def __init__(self, address: str | None, watchdog_s: float | None) -> None:
        self._address = address
        self.watchdog_s = watchdog_s

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Notifier:
        """Read ``NOTIFY_SOCKET``, and ``WATCHDOG_USEC`` if it is meant for this process."""
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = int(environment.get("WATCHDOG_USEC", "0")) if for_us else 0
        return cls(environment.get("NOTIFY_SOCKET"), microseconds / 1_000_000 or None)

    def __call__(self, *states: str) -> None:
        """Send assignments such as ``READY=1``. A failure is logged: the service goes on."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto("\n".join(states).encode(), address)
        except OSError as wrong:
            _log.warning("daemon.notify_failed", why=str(wrong))


async def _feed_watchdog(notify: Notifier, database: Database) -> None:
    """Feed systemd's watchdog as long as the loop turns and the database layer answers in time."""
    if notify.watchdog_s is None:
        return
    pause_s = notify.watchdog_s / 3
    while True:
        if await _lives(database, pause_s):
            notify("WATCHDOG=1")
        await asyncio.sleep(pause_s)


async def _lives(database: Database, within_s: float) -> bool:
    """Say whether a restart is uncalled for. A database that says no needs another cure than that."""
    try:
        async with asyncio.timeout(within_s):
            await database.probe()
    except DatabaseUnavailable:
        return True
    except TimeoutError:
        _log.error("daemon.database_hangs", after_s=within_s)
        return False
    return True
