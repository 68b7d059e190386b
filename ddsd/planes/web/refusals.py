"""How the pages say no: a status for every leaf of the error tree, and a page that says what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog
from litestar import Response
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.types import ExceptionHandlersMap

from ddsd import errors
from ddsd.access import NOT_THIS_ROLE
from ddsd.errors import DdsError
from ddsd.planes.web import door, forms
from ddsd.planes.web.door import Visit
from ddsd.planes.web.page import Problems, WebRequest, page, services_of

_log = structlog.get_logger()

# The first class that fits decides. Every leaf is caught by one of these; a test goes through them all.
STATUSES: Final[Mapping[type[DdsError], int]] = {
    errors.TooLarge: 413,
    errors.InvalidInput: 400,
    errors.TooManyRequests: 429,
    errors.NotAuthenticated: 401,
    errors.Forbidden: 403,
    errors.StoreObjectMissing: 503,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Unavailable: 503,
    errors.StoreRefused: 503,
    errors.MailRefused: 503,
    errors.SealBroken: 503,
    errors.ConfigurationError: 503,
}
_FOR_OPERATORS: Final = (
    errors.StoreObjectMissing,
    errors.StoreRefused,
    errors.MailRefused,
    errors.SealBroken,
    errors.ConfigurationError,
)
_OPERATORS_MATTER: Final = (
    "Something is not as it should be on our side, and trying again will not help. "
    "Please write to the address at the foot of this page."
)
_FORM_TOO_OLD: Final = (
    "The form was open for too long, or your browser keeps no cookies for this site. Nothing was changed. "
    "Allow cookies for this site, and open the link in your mail once more."
)
_OWN_WORDS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("This does not work", "Your browser sent something that cannot be understood here."),
    403: ("Please open the link once more", _FORM_TOO_OLD),
    404: ("There is no such page", "The address is wrong, or what was there is gone."),
    405: ("This does not work", "This page cannot be used in that way."),
    413: ("This is too large", "What your browser sent is larger than any form here."),
    415: ("This does not work", "Send the form as a browser does."),
    500: ("Something broke", "This is our fault. Nothing was changed, and it has been logged."),
}
_TITLES: Final = {403: "You may not do this"}
"""Of what the domain refuses, where the framework refuses something else with the same status: a form's token."""
_NOT_THIS_ROLE: Final = (
    "It is not for accounts like yours. Who may, your unit or whoever runs this service can say."
)


def status_of(error: DdsError) -> int:
    """Return the HTTP status that a page has for this refusal."""
    return next(status for kind, status in STATUSES.items() if isinstance(error, kind))


def headers_of(error: DdsError) -> dict[str, str]:
    """Return what a refusal adds to a page's headers."""
    match error:
        case errors.TooManyRequests():
            return {"Retry-After": str(error.retry_after_s)}
        case errors.Unavailable():
            return {"Retry-After": "30"}
        case _:
            return {}


def words_of(error: DdsError) -> str:
    """Return what the reader of a page is told."""
    if isinstance(error, _FOR_OPERATORS):
        _log.error("web.refused", code=error.code, why=error.message)
        return _OPERATORS_MATTER
    if type(error) is errors.Forbidden and error.message == NOT_THIS_ROLE:
        return _NOT_THIS_ROLE
    return error.message


def problems_of(error: DdsError, *, not_found: str = "") -> Problems:
    """Return the refusal as what is wrong with a form; ``not_found`` names the field that leads nowhere."""
    match error:
        case errors.InvalidFields():
            return error.fields
        case errors.NotFound() if not isinstance(error, _FOR_OPERATORS):
            return {not_found: [error.message]}
        case _:
            return {"": [words_of(error)]}


def form(
    visit: Visit, template: str, wrong: DdsError | None, *, not_found: str = "", **facts: object
) -> Response[str]:
    """Show a page with a form to somebody who is logged in, with what is wrong with what they sent, if anything."""
    return visit.page(
        template,
        status=status_of(wrong) if wrong else 200,
        headers=headers_of(wrong) if wrong else {},
        problems=problems_of(wrong, not_found=not_found) if wrong else {},
        **facts,
    )


async def link_form(
    request: WebRequest, template: str, code: str, wrong: DdsError | None
) -> Response[str]:
    """Show the form that takes the code of a mailed link, which is good only for who is logged in."""
    try:
        async with door.entering(request) as visit:
            return form(visit, template, wrong, not_found="code", code=code)
    except door.LogInFirst:
        return page(request, "log_in_first.html", status=401)


def refuse(request: WebRequest, error: DdsError) -> Response[str]:
    """Answer a refusal of the domain that no form shows."""
    status = status_of(error)
    title = _TITLES.get(status) or _OWN_WORDS.get(status, ("This does not work now", ""))[0]
    return page(
        request,
        "refusal.html",
        status=status,
        headers=headers_of(error),
        title=title,
        words=words_of(error),
    )


def refuse_http(request: WebRequest, error: HTTPException) -> Response[str]:
    """Answer what the framework refuses."""
    title, words = _OWN_WORDS.get(error.status_code, _OWN_WORDS[400])
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    answer = page(
        request,
        "refusal.html",
        status=error.status_code,
        headers=headers,
        title=title,
        words=words,
    )
    if isinstance(error, PermissionDeniedException):
        answer.cookies.append(forms.forget_cookie(services_of(request)))
    return answer


def apologise(request: WebRequest, error: Exception) -> Response[str]:
    """Answer what should not have happened; the log has the rest."""
    _log.error("request.broke", path=request.url.path, exc_info=error)
    title, words = _OWN_WORDS[500]
    return page(request, "refusal.html", status=500, title=title, words=words)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    door.LogInFirst: door.send_to_login,
    DdsError: refuse,
    HTTPException: refuse_http,
    Exception: apologise,
}
