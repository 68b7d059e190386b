"""Who may use the admin plane, decided before anything of the request is read.

The socket's mode keeps others out already; this is the second lock, and what gives the audit log its name.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from typing import Any, Final, Self

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from ddsd.access import Action, Operator, require
from ddsd.contract.words import HOST
from ddsd.errors import ConfigurationError, Forbidden
from ddsd.planes.admin import peer
from ddsd.planes.admin.peer import Peer

Connection = ASGIConnection[Any, Any, Any, Any]

_ROOT: Final = 0
_ONLY_BROWSERS_SEND: Final = ("Origin", "Referer")


@dataclass(frozen=True)
class Door:
    """Lets in root, the daemon's own user, and the admin group if there is one.

    ``own_uid`` is the daemon's; ``group`` is the admin group's name, empty for none, and ``gid`` its number.
    """

    own_uid: int
    group: str
    gid: int | None

    @classmethod
    def for_group(cls, group: str) -> Self:
        """Make the door of this process.

        Raises:
            ConfigurationError: this machine has no such group.
        """
        try:
            gid = grp.getgrnam(group).gr_gid if group else None
        except KeyError:
            raise ConfigurationError(
                f"listen.admin_group: there is no group '{group}'; run: groupadd --system {group}"
            ) from None
        return cls(os.getuid(), group, gid)

    def admit(self, connection: Connection, _handler: BaseRouteHandler) -> None:
        """Let the request in and note who sent it; a Litestar guard for every route.

        Raises:
            Forbidden: it comes from a browser, or from somebody who may not operate this service.
        """
        _refuse_browsers(connection)
        operator = self.operator(peer.of(connection.scope))
        require(operator, Action.OPERATE)
        connection.state.operator = operator

    def operator(self, caller: Peer | None) -> Operator:
        """Return the operator that the caller is.

        Raises:
            Forbidden: they are none.
        """
        if caller is None:
            raise Forbidden("The admin plane can only be used over its Unix socket.")
        name = _name_of(caller.uid)
        if caller.uid not in (_ROOT, self.own_uid) and self.gid not in caller.gids:
            raise Forbidden(self._refusal(name, caller.uid), uid=caller.uid, group=self.group)
        return Operator(caller.uid, name)

    def _refusal(self, name: str, uid: int) -> str:
        who = f"User {name} (uid {uid}) may not operate this service. "
        if self.group:
            return who + (
                f"Be root, or a member of the group '{self.group}': "
                f"usermod --append --groups {self.group} {name}, then log in again."
            )
        return who + "Only root and the daemon's own user may: listen.admin_group is not set."


def operator_of(connection: Connection) -> Operator:
    """Return who sent a request that a :class:`Door` has let in."""
    operator = connection.state.operator
    assert isinstance(operator, Operator)  # noqa: S101  # the door is on every route
    return operator


def _refuse_browsers(connection: Connection) -> None:
    for header in _ONLY_BROWSERS_SEND:
        if header in connection.headers:
            raise Forbidden(f"Requests with the header {header} are refused here: use ddsctl.")
    if connection.headers.get("host") != HOST:
        raise Forbidden(f"The header Host must be '{HOST}' here: use ddsctl.")


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
