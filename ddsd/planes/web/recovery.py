"""The pages of recovery codes: making them, which shows them this once, and logging in with one."""

from __future__ import annotations

from typing import Final

from litestar import Response, post, route

from ddsd.errors import DdsError, NotAuthenticated
from ddsd.planes.web import door, forms, refusals
from ddsd.planes.web.door import entering
from ddsd.planes.web.page import SHOWING, WebRequest, page, services_of
from ddsd.users import recovery_codes

LOGIN: Final = "/login/recovery"


@route("/account/recovery-codes", http_method=SHOWING)
async def show(request: WebRequest) -> Response[str]:
    """Say how many codes are left, and ask for the password before new ones are made."""
    return await _show(request, None)


@post("/account/recovery-codes", status_code=200)
async def make(request: WebRequest) -> Response[str]:
    """Make new codes, and show them this once."""
    form = await forms.read(request)
    try:
        await door.prove(request, form)
        async with entering(request) as visit:
            caller = visit.caller
        codes = await recovery_codes.make(services_of(request), caller)
    except DdsError as wrong:
        return await _show(request, wrong)
    return visit.page("recovery_made.html", codes=[code.text() for code in codes])


@route(LOGIN, http_method=SHOWING)
async def ask(request: WebRequest) -> Response[str]:
    """Ask for a code, as the second step of a login."""
    return await _ask(request, None)


@post(LOGIN, status_code=200)
async def log_in(request: WebRequest) -> Response[str]:
    """Take a code in place of the second factor."""
    form = await forms.read(request)
    async with entering(request, half=True):
        pass
    try:
        token = await recovery_codes.log_in(
            services_of(request), door.token_of(request), form.secret("recovery")
        )
    except DdsError as wrong:
        return await _ask(request, wrong)
    return door.let_in(request, token)


async def _show(request: WebRequest, wrong: DdsError | None) -> Response[str]:
    async with entering(request) as visit:
        return refusals.form(
            visit,
            "recovery_codes.html",
            wrong,
            left=await recovery_codes.remaining(visit.work, visit.caller.user.id),
        )


async def _ask(request: WebRequest, wrong: DdsError | None) -> Response[str]:
    field = "recovery" if isinstance(wrong, NotAuthenticated) else ""
    async with entering(request, half=True):
        return page(
            request,
            "login_recovery.html",
            status=refusals.status_of(wrong) if wrong else 200,
            headers=refusals.headers_of(wrong) if wrong else {},
            action=door.with_next(LOGIN, door.next_page(request)),
            back=door.with_next(door.SECOND_STEP, door.next_page(request)),
            problems={field: [refusals.words_of(wrong)]} if wrong else {},
        )
