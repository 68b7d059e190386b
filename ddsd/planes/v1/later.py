"""The stock wire: addresses of the contract that this version does not serve yet; each says so by name.

Invariant: whoever may not use one in the stock system is told that first, as they will be later.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from litestar import HttpMethod, route
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from ddsd.access import Action, Role
from ddsd.errors import Forbidden, InvalidInput
from ddsd.planes.v1.call import Call
from ddsd.planes.v1.wire import Json


@dataclass(frozen=True)
class Later:
    """One address: what it will do, in words that follow "cannot", and for whom (wire contract, section 3)."""

    method: HttpMethod
    path: str
    what: str
    roles: AbstractSet[Role]


_SUPER: Final = frozenset({Role.SUPER_ADMIN})
LATER: Final = (
    Later(HttpMethod.GET, "/unit/info/all", "list units here", _SUPER),
    Later(HttpMethod.POST, "/motd", "add a message of the day", _SUPER),
    Later(HttpMethod.PUT, "/motd", "deactivate a message of the day", _SUPER),
    Later(HttpMethod.POST, "/motd/send", "mail a message of the day", _SUPER),
    Later(HttpMethod.GET, "/maintenance", "be closed for maintenance", _SUPER),
    Later(HttpMethod.PUT, "/maintenance", "be closed for maintenance", _SUPER),
)


def _handler(one: Later) -> HTTPRouteHandler:
    @route(one.path, http_method=[one.method], status_code=200)
    async def not_yet(call: NamedDependency[Call]) -> Json:
        async with call.reading(Action.SEE_OWN_ACCOUNT) as asked:
            if asked.caller.user.role not in one.roles:
                raise Forbidden("Insufficient credentials")
        raise InvalidInput(f"This version of the service cannot {one.what} yet.")

    return not_yet


ROUTES: Final[list[HTTPRouteHandler]] = [_handler(one) for one in LATER]
