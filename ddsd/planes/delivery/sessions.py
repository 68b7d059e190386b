"""One's own logins: which there are, and how they end."""

from __future__ import annotations

from litestar import delete, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from ddsd.access import Action
from ddsd.audit import trail
from ddsd.contract import delivery as wire
from ddsd.planes.delivery import present
from ddsd.planes.delivery.call import Call
from ddsd.planes.delivery.describing import BEARER, REFUSED
from ddsd.users import sessions, standing


@get("/session", security=BEARER, responses=REFUSED)
async def this_session(call: NamedDependency[Call]) -> wire.WhoAmI:
    """Say whose token this is and when it ends."""
    async with call.reading(Action.SEE_OWN_ACCOUNT) as asked:
        caller = asked.caller
        return wire.WhoAmI(
            account=present.account(caller.user),
            session=present.session(caller.session, this=caller.session.id),
        )


@delete("/session", status_code=204, security=BEARER, responses=REFUSED)
async def log_out(call: NamedDependency[Call]) -> None:
    """End the session that asks."""
    async with call.changing(Action.SEE_OWN_ACCOUNT) as asked:
        user, session = asked.caller.user, asked.caller.session
        await sessions.end_one(asked.work, user.id, session.uid, "logged out")
        trail.record(asked.work, "session.end", user.username)


@get("/sessions", security=BEARER, responses=REFUSED)
async def list_sessions(call: NamedDependency[Call]) -> list[wire.Session]:
    """List one's own sessions that are alive, the newest first."""
    async with call.reading(Action.SEE_OWN_ACCOUNT) as asked:
        rows = await sessions.living(asked.work, asked.caller.user.id)
        return [present.session(row, this=asked.caller.session.id) for row in rows]


@delete("/sessions", status_code=200, security=BEARER, responses=REFUSED)
async def sign_out_everywhere(call: NamedDependency[Call]) -> wire.SessionsEnded:
    """End all of one's own sessions, the one that asks included."""
    async with call.changing(Action.SEE_OWN_ACCOUNT) as asked:
        ended = await standing.end_sessions(asked.work, asked.caller.user, "signed out everywhere")
    return wire.SessionsEnded(ended=ended)


ROUTES: list[HTTPRouteHandler] = [this_session, log_out, list_sessions, sign_out_everywhere]
