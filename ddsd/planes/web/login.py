"""The pages that log a browser in, step by step, and out.

Whatever second factor an account has, it ends in :func:`ddsd.planes.web.door.let_in` with the full token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from litestar import Response, post, route

from ddsd.audit import trail
from ddsd.errors import DdsError, NotAuthenticated, TooManyRequests
from ddsd.planes.web import door, forms, refusals
from ddsd.planes.web.door import LogInFirst, entering
from ddsd.planes.web.page import SHOWING, WebRequest, go, page, services_of
from ddsd.users import codes, login, passkeys, recovery_codes, sessions
from ddsd.users.tables import SecondFactor, SessionKind, User

_WRONG: Final = "This username and password do not fit together."


@dataclass(frozen=True)
class _Half:
    """Somebody who has given the password, at least, and what they may use besides a code."""

    user: User
    code_waits: bool
    has_passkey: bool
    has_recovery_codes: bool


@route("/login", http_method=SHOWING)
async def show(request: WebRequest) -> Response[str]:
    """Show the first step, unless the browser is logged in."""
    try:
        async with entering(request):
            return go(door.next_page(request))
    except LogInFirst:
        return _first_step(request, "", None)


@post("/login", status_code=200)
async def submit(request: WebRequest) -> Response[str]:
    """Take username and password; ask for the second factor."""
    form = await forms.read(request)
    # No name has a NUL in it, and no database takes one: it stands for what nobody is called.
    username = form.text("username").strip().replace("\x00", "\ufffd")
    try:
        accepted = await login.check_password(
            services_of(request),
            username,
            form.secret("password"),
            door.address_of(request),
            kind=SessionKind.WEB,
            agent=door.agent_of(request),
        )
    except DdsError as wrong:
        return _first_step(request, username, wrong)
    second = door.with_next(door.SECOND_STEP, door.next_page(request))
    return door.let_in(request, accepted.token, second)


@route(door.SECOND_STEP, http_method=SHOWING)
async def show_second_step(request: WebRequest) -> Response[str]:
    """Ask for the second factor."""
    return _second_step(request, await _half_in(request), None)


@post(door.SECOND_STEP, status_code=200)
async def submit_code(request: WebRequest) -> Response[str]:
    """Take the code that was mailed, or that the authenticator app shows."""
    form = await forms.read(request)
    half = await _half_in(request)
    code = "".join(form.text("otp").split())
    mailed = half.user.second_factor is SecondFactor.MAIL
    try:
        token = await login.check_second_factor(
            services_of(request),
            door.token_of(request),
            mailed=code if mailed else None,
            app=None if mailed else code,
        )
    except DdsError as wrong:
        return _second_step(request, half, wrong)
    return door.let_in(request, token)


@post("/login/code/new", status_code=200)
async def mail_another(request: WebRequest) -> Response[str]:
    """Mail a fresh code, unless the last one is still good."""
    half = await _half_in(request)
    try:
        if half.user.second_factor is SecondFactor.MAIL:
            await login.mail_code(services_of(request), half.user)
    except DdsError as wrong:
        return _second_step(request, half, wrong)
    return go(door.with_next(door.SECOND_STEP, door.next_page(request)))


@post("/logout", status_code=200)
async def leave(request: WebRequest) -> Response[str]:
    """End this browser's session."""
    try:
        async with entering(request, changing=True, half=True) as visit:
            session = visit.caller.session
            await sessions.end_one(visit.work, session.user_id, session.uid, "logged out")
            trail.record(visit.work, "session.end", visit.caller.user.username)
    except LogInFirst:
        pass
    return door.let_out(request, "/")


async def _half_in(request: WebRequest) -> _Half:
    async with entering(request, half=True) as visit:
        user = visit.caller.user
        return _Half(
            user,
            code_waits=await codes.is_waiting(visit.work, user.id),
            has_passkey=bool(await passkeys.listing(visit.work, user.id)),
            has_recovery_codes=bool((await recovery_codes.remaining(visit.work, user.id)).codes),
        )


def _first_step(request: WebRequest, username: str, wrong: DdsError | None) -> Response[str]:
    words = _WRONG if isinstance(wrong, NotAuthenticated) else wrong and refusals.words_of(wrong)
    return page(
        request,
        "login.html",
        status=refusals.status_of(wrong) if wrong else 200,
        headers=refusals.headers_of(wrong) if wrong else {},
        username=username,
        action=door.with_next(door.LOGIN, door.next_page(request)),
        problems={"": [words]} if words else {},
    )


def _second_step(request: WebRequest, half: _Half, wrong: DdsError | None) -> Response[str]:
    field = "" if isinstance(wrong, TooManyRequests) else "otp"
    mailed = half.user.second_factor is SecondFactor.MAIL
    return page(
        request,
        "login_code.html",
        status=refusals.status_of(wrong) if wrong else 200,
        headers=refusals.headers_of(wrong) if wrong else {},
        mailed=mailed,
        passkey_first=mailed and half.has_passkey and not half.code_waits and not wrong,
        half=half,
        action=door.with_next(door.SECOND_STEP, door.next_page(request)),
        again=door.with_next("/login/code/new", door.next_page(request)),
        passkey=door.with_next("/login/passkey", door.next_page(request)),
        recovery=door.with_next("/login/recovery", door.next_page(request)),
        problems={field: [refusals.words_of(wrong)]} if wrong else {},
    )
