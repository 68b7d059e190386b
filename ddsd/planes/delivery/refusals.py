"""How the delivery API says no: one table from the domain's errors to HTTP statuses, one shape of body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import structlog
from litestar import Request, Response
from litestar.datastructures import State
from litestar.enums import MediaType
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap
from pydantic import JsonValue

from ddsd import errors
from ddsd.contract.delivery import Refusal
from ddsd.errors import DdsError

STATUSES: Final[Mapping[type[DdsError], int]] = {
    errors.DdsError: 500,
    errors.InvalidInput: 400,
    errors.InvalidFields: 400,
    errors.MissingField: 400,
    errors.TooLarge: 413,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.AlreadyExists: 409,
    errors.WrongStatus: 409,
    errors.Busy: 409,
    errors.QuotaExceeded: 409,
    errors.NotAuthenticated: 401,
    errors.SecondFactorRequired: 401,
    errors.Forbidden: 403,
    errors.AccessLost: 403,
    errors.KeyAtClient: 403,
    errors.UnknownSubject: 401,
    errors.IncompatibleClient: 403,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
    errors.StoreUnavailable: 503,
    errors.MailUnavailable: 503,
    errors.DatabaseUnavailable: 503,
    errors.UnderMaintenance: 503,
    errors.StoreObjectMissing: 503,
    errors.StoreRefused: 503,
    errors.MailRefused: 503,
    errors.SealBroken: 500,
    errors.ConfigurationError: 500,
}
_FOR_OPERATORS: Final = (
    errors.StoreUnavailable,
    errors.StoreObjectMissing,
    errors.StoreRefused,
    errors.MailRefused,
    errors.SealBroken,
    errors.ConfigurationError,
)
_OPERATORS_MATTER: Final = (
    "The service cannot do this now. Please tell whoever operates it; its log says why."
)
_OWN_WORDS: Final = {
    404: "There is no such address in this API. Is the client newer than the service?",
    413: "The request is larger than this service accepts.",
}
_CODES: Final = {404: errors.NotFound.code, 413: errors.TooLarge.code}
_RETRY_S: Final = 30

_log = structlog.get_logger()
_AnyRequest = Request[Any, Any, State]


def refuse(_request: _AnyRequest, wrong: DdsError) -> Response[Refusal]:
    """Answer a refusal of the domain. What the store or the mail server said is for the log alone."""
    status = next(STATUSES[kind] for kind in type(wrong).__mro__ if kind in STATUSES)
    if isinstance(wrong, _FOR_OPERATORS):
        _log.warning("request.refused", code=wrong.code, why=wrong.message)
        return _answer(status, wrong.code, _OPERATORS_MATTER, {}, _headers(wrong))
    return _answer(status, wrong.code, wrong.message, _facts(wrong), _headers(wrong))


def refuse_http(request: _AnyRequest, wrong: HTTPException) -> Response[Refusal]:
    """Answer for what the framework refuses: no such address, another method, a body that does not fit."""
    status = wrong.status_code
    if status >= 500:
        return apologise(request, wrong)
    headers = {k: v for k, v in (wrong.headers or {}).items() if k.lower() == "allow"}
    code = _CODES.get(status, errors.InvalidInput.code)
    return _answer(status, code, _OWN_WORDS.get(status) or _explain(wrong), {}, headers)


def refuse_nesting(_request: _AnyRequest, _wrong: RecursionError) -> Response[Refusal]:
    """Answer for JSON that is nested beyond what the decoder follows; the framework lets that error through."""
    return _answer(400, errors.InvalidInput.code, "The JSON is nested too deeply.", {}, {})


def apologise(request: _AnyRequest, wrong: Exception) -> Response[Refusal]:
    """Answer what should not have happened; the log has the rest."""
    _log.error("request.broke", path=request.url.path, exc_info=wrong)
    message = "The service met a fault of its own. Nothing was changed. It has been logged."
    return _answer(500, "internal", message, {}, {})


EXCEPTION_HANDLERS: Final[ExceptionHandlersMap] = {
    DdsError: refuse,
    HTTPException: refuse_http,
    RecursionError: refuse_nesting,
    Exception: apologise,
}


def _facts(wrong: DdsError) -> dict[str, JsonValue]:
    facts = {name: _plain(value) for name, value in wrong.facts.items()}
    match wrong:
        case errors.InvalidFields(fields=fields):
            facts |= {name: list(why) for name, why in fields.items()}
        case errors.MissingField(field=field):
            facts |= {"field": field}
    return facts


def _headers(wrong: DdsError) -> dict[str, str]:
    match wrong:
        case errors.TooManyRequests(retry_after_s=seconds):
            return {"Retry-After": str(seconds)}
        case errors.Unavailable():
            return {"Retry-After": str(_RETRY_S)}
        case errors.NotAuthenticated() | errors.UnknownSubject():
            return {"WWW-Authenticate": "Bearer"}  # RFC 9110, section 15.5.2
        case _:
            return {}


def _answer(
    status: int,
    code: str,
    message: str,
    facts: dict[str, JsonValue],
    headers: dict[str, str],
) -> Response[Refusal]:
    body = Refusal(code=code, message=message, facts=facts)
    return Response(body, status_code=status, media_type=MediaType.JSON, headers=headers | NOT_KEPT)


NOT_KEPT: Final = {"Cache-Control": "no-store"}
"""Answers hold tokens and keys: no cache may keep any of them."""


def _explain(wrong: HTTPException) -> str:
    if not isinstance(wrong.extra, list):
        return wrong.detail
    problems = (f"{one.get('key', 'body')}: {one.get('message')}" for one in wrong.extra)
    return "; ".join(problems)


def _plain(value: object) -> JsonValue:
    return value if isinstance(value, str | int | float | bool) else str(value)
