"""The pages of passkeys: adding one, removing one, and logging in with one.

They need a script: only a script can ask an authenticator. What it is to ask for stands in the page, and the answer is
posted with a form, so that the script talks to nobody.
"""

from __future__ import annotations

from typing import Final

from litestar import Response, post, route

from ddsd.errors import DdsError
from ddsd.planes.web import door, forms, refusals
from ddsd.planes.web.door import entering
from ddsd.planes.web.page import SHOWING, WebRequest, go, page, services_of
from ddsd.users import ceremonies, passkeys

_ANSWER: Final = "/login/passkey/answer"


@route("/account/passkeys", http_method=SHOWING)
async def show(request: WebRequest) -> Response[str]:
    """List the account's passkeys, and ask for the password before another one is added."""
    return await _show(request, None)


@post("/account/passkeys/new", status_code=200)
async def begin(request: WebRequest) -> Response[str]:
    """Ask the browser for a new passkey, after the password was typed once more."""
    form = await forms.read(request)
    try:
        await door.prove(request, form)
        return await _ask_for_new(request, "", None)
    except DdsError as wrong:
        return await _show(request, wrong)


@post("/account/passkeys", status_code=200)
async def add(request: WebRequest) -> Response[str]:
    """Keep the passkey that the browser has made."""
    form = await forms.read(request)
    name = form.text("name")
    try:
        async with entering(request, changing=True) as visit:
            await passkeys.add(visit.work, visit.caller, form.text("answer"), name)
    except DdsError as wrong:
        return await _ask_for_new(request, name, wrong)
    return go("/account/passkeys")


@post("/account/passkeys/remove", status_code=200)
async def remove(request: WebRequest) -> Response[str]:
    """Forget a passkey."""
    form = await forms.read(request)
    number = form.text("passkey")
    async with entering(request, changing=True) as visit:
        await passkeys.remove(visit.work, visit.caller, int(number) if _is_number(number) else 0)
    return go("/account/passkeys")


@post("/login/passkey", status_code=200)
async def ask(request: WebRequest) -> Response[str]:
    """Ask the browser to sign with a passkey, as the second step of a login."""
    return await _ask_to_sign(request, None)


@post(_ANSWER, status_code=200)
async def log_in(request: WebRequest) -> Response[str]:
    """Take what the passkey has signed."""
    form = await forms.read(request)
    async with entering(request, half=True):
        pass
    try:
        token = await passkeys.log_in(
            services_of(request), door.token_of(request), form.text("answer")
        )
    except DdsError as wrong:
        return await _ask_to_sign(request, wrong)
    return door.let_in(request, token)


async def _show(request: WebRequest, wrong: DdsError | None) -> Response[str]:
    async with entering(request) as visit:
        return refusals.form(
            visit,
            "passkeys.html",
            wrong,
            passkeys=await passkeys.listing(visit.work, visit.caller.user.id),
            offered=ceremonies.relying_party(services_of(request).settings.instance) is not None,
        )


async def _ask_for_new(request: WebRequest, name: str, wrong: DdsError | None) -> Response[str]:
    async with entering(request, changing=True) as visit:
        options = await passkeys.begin_adding(visit.work, visit.caller)
    return refusals.form(
        visit,
        "passkey_new.html",
        wrong,
        options=options,
        origin=_origin(request),
        name=name,
    )


async def _ask_to_sign(request: WebRequest, wrong: DdsError | None) -> Response[str]:
    async with entering(request, half=True):
        pass
    return page(
        request,
        "login_passkey.html",
        status=refusals.status_of(wrong) if wrong else 200,
        headers=refusals.headers_of(wrong) if wrong else {},
        options=await passkeys.begin_login(services_of(request), door.token_of(request)),
        origin=_origin(request),
        action=door.with_next(_ANSWER, door.next_page(request)),
        back=door.with_next(door.SECOND_STEP, door.next_page(request)),
        problems=refusals.problems_of(wrong) if wrong else {},
    )


def _origin(request: WebRequest) -> str:
    party = ceremonies.relying_party(services_of(request).settings.instance)
    return party.origin if party else ""


def _is_number(typed: str) -> bool:
    return typed.isascii() and typed.isdigit() and len(typed) < 10
