"""Who is at the other end of the socket, by the kernel's word.

Invariant: what :func:`of` returns was read from the connection itself and from nothing the caller sent.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ddsd.reception import Reception

EXTENSION: Final = "ddsd.peer"

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
_SO_PEERGROUPS: Final = getattr(socket, "SO_PEERGROUPS", 59)  # Linux 4.13; Python does not name it
_MOST_BYTES: Final = 1024  # the largest buffer Python gives getsockopt: 256 groups
_GID_BYTES: Final = 4


@dataclass(frozen=True)
class Peer:
    """The process that connected, as it was when it connected. ``gids``: its primary and all other groups."""

    pid: int
    uid: int
    gids: frozenset[int]


class PeerProtocol(Reception):
    """The daemon's HTTP protocol, which also tells the application who connected.

    Pass it as ``uvicorn.Config(http=PeerProtocol, ws="none")``. The peer is in ``scope["extensions"]``; on a
    connection that has none (TCP) nothing is put there.
    """

    _peer: Peer | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn itself
        """Ask the kernel once per connection."""
        super().connection_made(transport)
        self._peer = read(transport.get_extra_info("socket"))

    def on_message_begin(self) -> None:
        """Put the peer into the scope of the request that begins."""
        super().on_message_begin()
        if self._peer is not None:
            self.scope["extensions"] = {EXTENSION: self._peer}  # type: ignore[dict-item]  # ours is no dict


def read(connection: socket.socket | None) -> Peer | None:
    """Ask the kernel who connected to a Unix socket (``SO_PEERCRED``, unix(7)); ``None`` for any other socket."""
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid, frozenset({gid, *_other_groups(connection, uid, gid)}))


def of(scope: Mapping[str, Any]) -> Peer | None:
    """Return who sent the request of an ASGI scope, if :class:`PeerProtocol` received it on a Unix socket."""
    found = (scope.get("extensions") or {}).get(EXTENSION)
    return found if isinstance(found, Peer) else None


def _other_groups(connection: socket.socket, uid: int, gid: int) -> Sequence[int]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)
    except OSError:  # more groups than fit, or a kernel that does not tell
        return _groups_by_name(uid, gid)
    return struct.unpack(f"{len(raw) // _GID_BYTES}I", raw)


def _groups_by_name(uid: int, gid: int) -> Sequence[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return ()
