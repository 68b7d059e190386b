"""The process: both planes, the store and the jobs in one event loop, from start to drain.

Invariant: one daemon to an admin socket, and what was started is stopped, in reverse order, however
the process ends by itself. Requests and jobs that run when it is told to stop get
``listen.drain_s`` seconds.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import ipaddress
import os
import pwd
import signal
import socket
import stat
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import uvicorn
import uvloop

from ddsd import __version__, bootstrap
from ddsd.db import revision
from ddsd.db.engine import Database
from ddsd.errors import ConfigurationError, DatabaseUnavailable, DdsError, TooLarge
from ddsd.jobs.runner import JobRunner
from ddsd.keys import instance_check
from ddsd.log import AsgiApp, Message, Receive, RequestLog, Scope, Send
from ddsd.reception import Reception
from ddsd.settings import Listen, Settings
from ddsd.work import Services

SOCKET_MODE: Final = 0o660
DIRECTORY_MODE: Final = 0o750
_KEEP_ALIVE_S: Final = 75  # longer than reverse proxies', or they send into closing connections
_AFTER_CANCEL_S: Final = 2.0
_ANSWER_S: Final = 2.0
_BACKLOG: Final = 2048

_log = structlog.get_logger()


class DaemonFailed(Exception):
    """The daemon could not start, or lost a part it cannot be without; the message says which."""


class PortTaken(DaemonFailed):
    """Another program listens where the public plane would."""


@dataclass(frozen=True)
class Planes:
    """Both applications, and the protocol class that tells the admin plane who connected."""

    public: AsgiApp
    admin: AsgiApp
    admin_protocol: type[asyncio.Protocol] = Reception


def planes(services: Services) -> Planes:
    """Build the applications of both planes."""
    from ddsd.planes import public
    from ddsd.planes.admin import app as admin
    from ddsd.planes.admin.peer import PeerProtocol

    return Planes(
        public.build(services),
        admin.build(services, bootstrap.scheduled(services.settings)),
        PeerProtocol,
    )


def run(services: Services, apps: Planes | None = None) -> None:
    """Serve in an event loop of its own; see :func:`serve`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(services, apps))


async def serve(services: Services, apps: Planes | None = None) -> None:
    """Run the daemon until SIGTERM or SIGINT, then drain.

    To be called in the main thread. A second signal ends the drain at once. Both listeners are
    bound before anything else starts, and accept when everything else has started.

    Args:
        services: from :func:`ddsd.bootstrap.build`; closed at the end.
        apps: the planes; ``None`` means :func:`planes`.

    Raises:
        ConfigurationError: the database's revision, the instance key, the admin group or an address
            does not fit.
        DaemonFailed: a part does not start, a listener is taken, or a plane ended by itself.
    """
    notify = Notifier.of(os.environ)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_close, services)
        orders = stack.enter_context(_signals())
        servers, runner = await _start(services, apps, stack)
        await stack.enter_async_context(_background(_feed_watchdog(notify, services.database)))
        notify("READY=1", f"STATUS=ddsd {__version__} is serving")
        _log.info("daemon.ready", **{server.plane: server.address for server in servers})
        await _until_told(orders, servers)
        notify("STOPPING=1", "STATUS=draining")
        _log.info("daemon.draining", at_most_s=services.settings.listen.drain_s)
        await _drain(orders, servers, runner)
    _log.info("daemon.stopped")


async def _start(
    services: Services, apps: Planes | None, stack: AsyncExitStack
) -> tuple[Sequence[PlaneServer], JobRunner]:
    listen = services.settings.listen
    with _opening(services.settings):
        await revision.require_head(services.database)
        await instance_check.require_same_key(services.database, services.instance_key)
    with _starting("the admin socket"):
        admin_socket = stack.enter_context(admin_listener(listen))
    public_socket = stack.enter_context(public_listener(listen))
    apps = apps or planes(services)
    with _starting("the object store"):
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
    servers = (
        PlaneServer("public", apps.public, public_socket, listen),
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
def _starting(part: str) -> Iterator[None]:
    """Name the part that does not start."""
    try:
        yield
    except (ConfigurationError, DaemonFailed):
        raise
    except (DdsError, OSError) as wrong:
        raise DaemonFailed(f"{part} cannot be started: {wrong}") from wrong


@dataclass(frozen=True)
class _Orders:
    """What the signals ask for."""

    stop: asyncio.Event
    hurry: asyncio.Event


@contextmanager
def _signals() -> Iterator[_Orders]:
    """Handle SIGTERM, SIGINT and SIGHUP, once for everything in this process."""
    loop = asyncio.get_running_loop()
    orders = _Orders(asyncio.Event(), asyncio.Event())

    def told_to_stop(number: signal.Signals) -> None:
        _log.info("daemon.told_to_stop", signal=number.name)
        (orders.hurry if orders.stop.is_set() else orders.stop).set()

    def told_to_reload() -> None:
        _log.info("daemon.hangup_ignored", why="changed settings take effect after a restart")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop, number)
    loop.add_signal_handler(signal.SIGHUP, told_to_reload)
    try:
        yield orders
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


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


class PlaneServer(uvicorn.Server):
    """One plane's server. Signals are not its business: :func:`serve` handles them for both.

    Args:
        plane: its name in the log.
        app: the application; gets the body limit and the request log around it.
        listener: bound, not yet listening; closed with the server.
        listen: limits, time to drain, and which proxies are believed.
        protocol: uvicorn's HTTP protocol class.
    """

    def __init__(
        self,
        plane: str,
        app: AsgiApp,
        listener: socket.socket,
        listen: Listen,
        protocol: type[asyncio.Protocol] = Reception,
    ) -> None:
        believed = list(listen.trusted_proxies) if listener.family != socket.AF_UNIX else []
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
                proxy_headers=bool(believed),
                forwarded_allow_ips=believed,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=listen.drain_s,
            )
        )
        self.plane = plane
        self.address = _shown(listener)
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


class BodyLimit:
    """ASGI middleware: no request's body is larger than ``most_bytes``, whatever its headers say.

    What is over is answered 413 here, in a shape both planes' clients read.
    """

    _ANSWER: Final = b'{"code":"too_large","message":"The request is too large."}'

    def __init__(self, app: AsgiApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as long as its body is within the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._declares_too_much(scope):
            await self._refuse(send)
        else:
            await self._pass_on(scope, receive, send)

    def _declares_too_much(self, scope: Scope) -> bool:
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        return any(not length.isdigit() or int(length) > self._most_bytes for length in lengths)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0
        answered = refused = False

        async def receive_within_limit() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most_bytes:
                if not (answered or refused):
                    refused = True
                    await self._refuse(send)
                raise TooLarge("The request is too large.")
            return message

        async def send_unless_refused(message: Message) -> None:
            nonlocal answered
            answered = True
            if not refused:
                await send(message)

        try:
            await self._app(scope, receive_within_limit, send_unless_refused)
        except TooLarge:
            if not refused:
                raise

    async def _refuse(self, send: Send) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self._ANSWER)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": self._ANSWER})


@contextmanager
def public_listener(listen: Listen) -> Iterator[socket.socket]:
    """Bind the public plane's TCP socket; it does not listen yet.

    Raises:
        DaemonFailed: the port is taken or reserved, or the address is not this machine's.
    """
    version = ipaddress.ip_address(listen.address).version
    listener = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((listen.address, listen.port))
        except OSError as wrong:
            kind = PortTaken if wrong.errno == errno.EADDRINUSE else DaemonFailed
            raise kind(_why_not_bound(wrong, listen)) from wrong
        yield listener


def _why_not_bound(wrong: OSError, listen: Listen) -> str:
    where = f"{listen.address} port {listen.port}"
    match wrong.errno:
        case errno.EADDRINUSE:
            return f"{where} is already in use; stop what uses it, or change listen.port"
        case errno.EACCES:
            return f"{where} may not be used by this user; choose a listen.port above 1023"
        case errno.EADDRNOTAVAIL:
            return f"{listen.address} is no address of this machine; change listen.address"
        case _:
            return f"{where} cannot be used: {wrong.strerror}"


@contextmanager
def admin_listener(listen: Listen) -> Iterator[socket.socket]:
    """Bind the admin plane's Unix socket, 0660 and the admin group's; it does not listen yet.

    A lock file beside it tells a daemon that starts from one that has died. The socket is removed
    at the end; the lock file stays, as removing it would let two daemons hold one each.

    Raises:
        ConfigurationError: the group does not exist or may not be given the socket, or what is at
            the path is no socket.
        DaemonFailed: another daemon has the socket.
    """
    path = listen.admin_socket
    group = bootstrap.admin_group_id(listen.admin_group)
    with _explaining_directory(listen):
        _make_directory(path.parent, group, listen.admin_group)
    with (
        _locked(path.with_name(path.name + ".lock"), path),
        socket.socket(socket.AF_UNIX) as listener,
    ):
        _remove_stale(path)
        umask = os.umask(0o177)  # nobody may connect before the group is right
        try:
            listener.bind(str(path))
        finally:
            os.umask(umask)
        try:
            _give_to(path, group, listen.admin_group)
            path.chmod(SOCKET_MODE)
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _make_directory(directory: Path, group: int | None, name: str) -> None:
    """Make the socket's directory if there is none, and if that goes well as a whole."""
    if not directory.is_dir():
        directory.mkdir(parents=True)
        try:
            _give_to(directory, group, name)
            directory.chmod(DIRECTORY_MODE)
        except BaseException:
            directory.rmdir()
            raise
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container may run as a number
        return str(os.geteuid())


@contextmanager
def _explaining_directory(listen: Listen) -> Iterator[None]:
    """Say how to make the socket's directory where this user may not."""
    try:
        yield
    except OSError as wrong:
        directory = listen.admin_socket.parent
        user = _user_name()
        group = listen.admin_group or user
        raise ConfigurationError(
            f"listen.admin_socket: {directory} cannot be made or written to by {user}"
            f" ({wrong.strerror}); as root, run:"
            f" install -d -m 0750 -o {user} -g {group} {directory}"
        ) from wrong


def _give_to(path: Path, group: int | None, name: str) -> None:
    if group is None:
        return
    try:
        os.chown(path, -1, group)
    except PermissionError as wrong:
        raise ConfigurationError(
            f"listen.admin_group: {path} may not be given to the group {name};"
            " make the daemon's user a member of it"
        ) from wrong


@contextmanager
def _locked(lock: Path, path: Path) -> Iterator[None]:
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DaemonFailed(f"another ddsd is running: it has {path}") from None
    try:
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise ConfigurationError(f"listen.admin_socket: {path} is there and is no socket")
    if _answers(path):
        raise DaemonFailed(
            f"another program answers on {path}; stop it, or change listen.admin_socket"
        )
    _log.info("daemon.stale_socket_removed", path=str(path))
    path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(_ANSWER_S)
        try:
            caller.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # too busy to take the call, or not ours to ask: somebody is there
            return True
    return True


def _shown(listener: socket.socket) -> str:
    name = listener.getsockname()
    return str(name) if listener.family == socket.AF_UNIX else f"{name[0]} port {name[1]}"


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
