"""One request on the delivery API: its token, where it came from, and the transaction it is answered in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from litestar import Request
from litestar.datastructures import State

from ddsd import log
from ddsd.access import Action, Nobody, require
from ddsd.errors import NotAuthenticated
from ddsd.users import sessions
from ddsd.users.sessions import Caller
from ddsd.work import Services, Work, reading, transaction


@dataclass(frozen=True)
class Asked:
    """A request whose caller is known, in its transaction."""

    work: Work
    caller: Caller


@dataclass(frozen=True)
class Call:
    """A request as it came. ``authorization`` is the header."""

    services: Services
    authorization: str
    address: str
    agent: str

    @asynccontextmanager
    async def changing(self, action: Action) -> AsyncIterator[Asked]:
        """Open a transaction that may write, for a caller who may do ``action``."""
        token = self.token()
        async with transaction(self.services, Nobody()) as work:
            yield await _admit(work, token, action)

    @asynccontextmanager
    async def reading(self, action: Action) -> AsyncIterator[Asked]:
        """Open a transaction that only reads, for a caller who may do ``action``."""
        token = self.token()
        async with reading(self.services, Nobody()) as work:
            yield await _admit(work, token, action)

    def token(self) -> str:
        """Return the bearer token.

        Raises:
            NotAuthenticated: there is none.
        """
        scheme, _, token = self.authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotAuthenticated("No token")
        return token.strip()


def provide_call(request: Request[Any, Any, State]) -> Call:
    """Read what every handler of this plane may need of the request."""
    return Call(
        services=request.app.state.services,
        authorization=request.headers.get("Authorization", ""),
        address=request.client.host if request.client else "",
        agent=request.headers.get("User-Agent", ""),
    )


async def _admit(work: Work, token: str, action: Action) -> Asked:
    caller = await sessions.find(work, token)
    sessions.require_second_factor(caller)
    log.acting_as(caller.member.label)
    require(caller.member, action)
    return Asked(replace(work, actor=caller.member), caller)
