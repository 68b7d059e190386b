"""Sessions: who is logged in, and how that ends."""

from __future__ import annotations

from typing import Final

from litestar import delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.status_codes import HTTP_200_OK

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.planes.admin import present
from ddsd.users import accounts, standing
from ddsd.work import Services, reading, transaction

_BECAUSE: Final = "ended by an operator"


@get("/sessions")
async def list_sessions(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    user: FromQuery[str | None] = None,
) -> list[wire.Session]:
    """List the living sessions of everybody, or of one account."""
    async with reading(services, operator) as work:
        whose = await accounts.find(work, user) if user is not None else None
        return [present.login(one) for one in await standing.logins(work, whose)]


@delete("/sessions/{number:int}", status_code=HTTP_200_OK)
async def end_session(
    number: FromPath[int],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Ended:
    """End one session."""
    async with transaction(services, operator) as work:
        await standing.end_login(work, number, _BECAUSE)
    return wire.Ended(sessions=1)


@delete("/sessions", status_code=HTTP_200_OK)
async def end_sessions(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    user: FromQuery[str],
) -> wire.Ended:
    """End every session of an account."""
    async with transaction(services, operator) as work:
        whose = await accounts.find(work, user)
        return wire.Ended(sessions=await standing.end_sessions(work, whose, _BECAUSE))
