"""The account's page: who one is, the password, the second factor, and where one is logged in."""

from __future__ import annotations

from dataclasses import dataclass

from litestar import Response, post, route

from ddsd.audit import trail
from ddsd.errors import DdsError
from ddsd.planes.web import door, forms, refusals
from ddsd.planes.web.door import entering
from ddsd.planes.web.page import SHOWING, Problems, WebRequest, go, services_of
from ddsd.units.tables import Unit
from ddsd.users import accounts, agents, password_change, sessions, standing
from ddsd.users.tables import SecondFactor, Session, SessionKind


@dataclass(frozen=True)
class SessionLine:
    """One login in the list: what it is called, where it came from, and whether it is this browser's."""

    uid: str
    client: str
    address: str
    since: str
    here: bool


@route("/account", http_method=SHOWING)
async def show(request: WebRequest) -> Response[str]:
    """Show it."""
    return await _show(request, {})


@post("/account/password", status_code=200)
async def change_password(request: WebRequest) -> Response[str]:
    """Change the password; this browser stays logged in, and nothing else does."""
    form = await forms.read(request)
    async with entering(request) as visit:
        caller = visit.caller
    try:
        await password_change.change(
            services_of(request),
            caller,
            form.secret("current"),
            form.new_password(),
            address=door.address_of(request),
        )
    except DdsError as wrong:
        return await _show(request, refusals.problems_of(wrong), wrong)
    return go("/account/password-changed")


@route("/account/password-changed", http_method=SHOWING)
async def password_changed(request: WebRequest) -> Response[str]:
    """Say that it is done."""
    async with entering(request) as visit:
        return visit.page(
            "done.html",
            title="Your password is changed",
            words="You kept all your access, and were logged out everywhere but here. "
            "Clients have to log in again with the new password.",
        )


@post("/account/sessions/end", status_code=200)
async def end_session(request: WebRequest) -> Response[str]:
    """End one login, which may be this one."""
    form = await forms.read(request)
    async with entering(request, changing=True) as visit:
        user, uid = visit.caller.user, form.text("session")
        if await sessions.end_one(visit.work, user.id, uid, "logged out"):
            trail.record(visit.work, "session.end", user.username, session=uid)
    return go("/account")


@post("/account/sessions/end-all", status_code=200)
async def end_sessions(request: WebRequest) -> Response[str]:
    """End every login, this one too."""
    async with entering(request, changing=True) as visit:
        await standing.end_sessions(visit.work, visit.caller.user, "logged out everywhere")
    return door.let_out(request)


async def _show(
    request: WebRequest, problems: Problems, wrong: DdsError | None = None
) -> Response[str]:
    async with entering(request) as visit:
        user = visit.caller.user
        unit = await visit.work.session.get(Unit, user.unit_id) if user.unit_id else None
        found = await sessions.living(visit.work, user.id)
        return visit.page(
            "account.html",
            status=refusals.status_of(wrong) if wrong else 200,
            headers=refusals.headers_of(wrong) if wrong else {},
            user=user,
            unit=unit.external_display_name if unit else "",
            emails=await accounts.emails_of(visit.work, user.id),
            has_app=user.second_factor is SecondFactor.APP,
            sessions=[_line(one, visit.caller.session) for one in found],
            problems=problems,
        )


def _line(session: Session, here: Session) -> SessionLine:
    usual = "a browser" if session.kind is SessionKind.WEB else "a client"
    return SessionLine(
        uid=session.uid,
        client=agents.readable(session.agent) or usual,
        address=session.address or "unknown",
        since=f"{session.created_at:%Y-%m-%d %H:%M}",
        here=session.id == here.id,
    )
