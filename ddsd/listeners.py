"""Where the planes listen: TCP for everybody, a Unix socket for the operator.

Invariant: a socket is bound with its final owner and mode before anybody can connect, one daemon has an
admin socket, and what another program uses is never pushed aside.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from ddsd import bootstrap
from ddsd.errors import ConfigurationError
from ddsd.settings import Listen

SOCKET_MODE: Final = 0o660
DIRECTORY_MODE: Final = 0o750
_ANSWER_S: Final = 2.0

_log = structlog.get_logger()


class DaemonFailed(Exception):
    """The daemon could not start, or lost a part it cannot be without; the message says which."""


class PortTaken(DaemonFailed):
    """Another program listens where the public plane would."""


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
            return f"{where} cannot be used: {wrong.strerror}; change listen.address"


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
    there = next(one for one in (directory, *directory.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if there != directory:
        directory.mkdir(parents=True)
        try:
            _give_to(directory, group, name)
            directory.chmod(DIRECTORY_MODE)
        except BaseException:
            directory.rmdir()
            raise
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextmanager
def _explaining_directory(listen: Listen) -> Iterator[None]:
    """Say how to make the socket's directory where this user may not."""
    try:
        yield
    except NotADirectoryError as wrong:
        raise ConfigurationError(
            f"listen.admin_socket: {wrong.filename} is there and no directory; move it away, or name another place"
        ) from wrong
    except OSError as wrong:
        directory = listen.admin_socket.parent
        user = bootstrap.user_name()
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
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as wrong:
        raise ConfigurationError(
            f"listen.admin_socket: its lock {lock} cannot be used ({wrong.strerror}); move it away"
        ) from wrong
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
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise ConfigurationError(
            f"listen.admin_socket: {path} is there and is no socket; move it away, or name another place"
        )
    if answers(path):
        raise DaemonFailed(
            f"another program answers on {path}; stop it, or change listen.admin_socket"
        )
    _log.info("daemon.stale_socket_removed", path=str(path))
    path.unlink()


def answers(path: Path) -> bool:
    """Say whether a program takes calls on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(_ANSWER_S)
        try:
            caller.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # too busy to take the call, or not ours to ask: somebody is there
            return True
    return True


def shown_address(listener: socket.socket) -> str:
    """Return where the socket is bound, for people."""
    name = listener.getsockname()
    return str(name) if listener.family == socket.AF_UNIX else f"{name[0]} port {name[1]}"
