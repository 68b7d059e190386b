"""The door: which browser is logged in. Its cookie carries the same token that a client of the API would keep.

Invariant: a page that needs a login does its work through :func:`entering`, in the transaction in which the session
was found alive. The cookie is out of reach for scripts and, over TLS, for every other host.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from litestar import Response
from litestar.datastructures import Cookie

from ddsd import log
from ddsd.access import Nobody
from ddsd.errors import Forbidden, NotAuthenticated, SecondFactorRequired
from ddsd.planes.web import forms
from ddsd.planes.web.forms import Form
from ddsd.planes.web.page import WebRequest, go, page, services_of
from ddsd.users import login, sessions
from ddsd.users.sessions import Caller
from ddsd.work import Services, Work, reading, transaction

LOGIN: Final = "/login"
SECOND_STEP: Final = "/login/code"
FIRST_PAGE: Final = "/projects"
_OWN_PAGE: Final = re.compile(r"/[a-z][a-z0-9/-]{0,80}")


class LogInFirst(Exception):
    """Raised where a page needs a login, or its second step; the browser is sent there and back."""

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.to = to


@dataclass(frozen=True)
class Visit:
    """A request of somebody who is logged in, in its transaction."""

    request: WebRequest
    work: Work
    caller: Caller

    def page(
        self,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **facts: object,
    ) -> Response[str]:
        """Render a page that says who is logged in."""
        who = self.caller.user.username
        return page(self.request, template, status=status, headers=headers, who=who, **facts)


@asynccontextmanager
async def entering(
    request: WebRequest, *, changing: bool = False, half: bool = False
) -> AsyncIterator[Visit]:
    """Open a transaction for whoever is logged in.

    Args:
        request: what is answered.
        changing: the transaction may write.
        half: the password is enough: for the pages that take the second factor.

    Raises:
        LogInFirst: nobody is, or the second factor is missing.
        UnderMaintenance: the service is closed for this role.
    """
    services = services_of(request)
    opened = (transaction if changing else reading)(services, Nobody())
    async with opened as work:
        caller = await _caller(work, request, half=half)
        log.acting_as(caller.member.label)
        yield Visit(request, replace(work, actor=caller.member), caller)


async def prove(request: WebRequest, form: Form) -> None:
    """Ask somebody who is logged in for their password once more, in the form's field ``current``.

    Raises:
        InvalidFields: it is another one.
        LogInFirst, TooManyRequests, Forbidden, UnderMaintenance: see :func:`ddsd.users.login.prove_again`.
    """
    async with entering(request) as visit:
        caller = visit.caller
    await login.prove_again(
        services_of(request), caller, form.secret("current"), address_of(request)
    )


def token_of(request: WebRequest) -> str:
    """Return the token in the browser's cookie; empty if there is none."""
    return request.cookies.get(cookie_name(services_of(request)), "")


def let_in(request: WebRequest, token: str, path: str = "") -> Response[str]:
    """Send the browser on with a new token in its cookie.

    Args:
        request: what is answered.
        token: a partial or a full one; it replaces whatever the cookie held.
        path: where to go; where the browser came from, or to its projects, if empty.
    """
    cookie = Cookie(
        key=cookie_name(services_of(request)),
        value=token,
        secure=forms.over_tls(services_of(request)),
        httponly=True,
        samesite="lax",
    )
    return go(path or next_page(request), [cookie])


def let_out(request: WebRequest, path: str = LOGIN) -> Response[str]:
    """Send the browser on without its cookie."""
    return go(path, [forget_cookie(services_of(request))])


def next_page(request: WebRequest) -> str:
    """Return the page of ours that the browser wanted to see before it was sent to the login."""
    wanted = request.query_params.get("next", "")
    return wanted if _OWN_PAGE.fullmatch(wanted) else FIRST_PAGE


def with_next(path: str, wanted: str) -> str:
    """Return ``path`` with a note of the page to go to afterwards."""
    return path if wanted == FIRST_PAGE else f"{path}?next={wanted}"


def send_to_login(request: WebRequest, first: LogInFirst) -> Response[str]:
    """Send the browser to the login, and from there back to a page it can ask for again."""
    wanted = request.url.path if request.method == "GET" else FIRST_PAGE
    path = with_next(first.to, wanted if _OWN_PAGE.fullmatch(wanted) else FIRST_PAGE)
    return go(path) if first.to == SECOND_STEP else let_out(request, path)


def cookie_name(services: Services) -> str:
    """Return the cookie's name; over TLS one that no other host can set (RFC 6265bis, ``__Host-``)."""
    return "__Host-ddsd-session" if forms.over_tls(services) else "ddsd-session"


def address_of(request: WebRequest) -> str:
    """Return the browser's network address, for limits and for the list of sessions."""
    return request.client.host if request.client else ""


def agent_of(request: WebRequest) -> str:
    """Return what the browser calls itself."""
    return str(request.headers.get("User-Agent", ""))


async def _caller(work: Work, request: WebRequest, *, half: bool) -> Caller:
    token = token_of(request)
    if not token:
        raise LogInFirst(LOGIN)
    try:
        caller = await sessions.find(work, token)
        if not half:
            sessions.require_second_factor(caller)
    except SecondFactorRequired:
        raise LogInFirst(SECOND_STEP) from None
    except (NotAuthenticated, Forbidden):
        raise LogInFirst(LOGIN) from None
    return caller


def forget_cookie(services: Services) -> Cookie:
    """Return what makes a browser drop its token."""
    return Cookie(
        key=cookie_name(services),
        value="",
        max_age=0,
        secure=forms.over_tls(services),
        httponly=True,
        samesite="lax",
    )
