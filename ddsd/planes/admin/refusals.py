"""How the admin plane says no: one table from the domain's errors to HTTP statuses, one shape of body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.status_codes import (
    HTTP_400_BAD_REQUEST,
    HTTP_401_UNAUTHORIZED,
    HTTP_403_FORBIDDEN,
    HTTP_404_NOT_FOUND,
    HTTP_409_CONFLICT,
    HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    HTTP_429_TOO_MANY_REQUESTS,
    HTTP_500_INTERNAL_SERVER_ERROR,
    HTTP_502_BAD_GATEWAY,
    HTTP_503_SERVICE_UNAVAILABLE,
)
from pydantic import JsonValue

from ddsd import errors
from ddsd.contract.admin import Refusal
from ddsd.db.remedies import remedy

STATUSES: Final[Mapping[type[errors.DdsError], int]] = {
    errors.DdsError: HTTP_500_INTERNAL_SERVER_ERROR,
    errors.InvalidInput: HTTP_400_BAD_REQUEST,
    errors.InvalidFields: HTTP_400_BAD_REQUEST,
    errors.MissingField: HTTP_400_BAD_REQUEST,
    errors.TooLarge: HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    errors.NotFound: HTTP_404_NOT_FOUND,
    errors.StoreObjectMissing: HTTP_404_NOT_FOUND,
    errors.Conflict: HTTP_409_CONFLICT,
    errors.AlreadyExists: HTTP_409_CONFLICT,
    errors.WrongStatus: HTTP_409_CONFLICT,
    errors.Busy: HTTP_409_CONFLICT,
    errors.QuotaExceeded: HTTP_409_CONFLICT,
    errors.NotAuthenticated: HTTP_401_UNAUTHORIZED,
    errors.SecondFactorRequired: HTTP_401_UNAUTHORIZED,
    errors.Forbidden: HTTP_403_FORBIDDEN,
    errors.AccessLost: HTTP_403_FORBIDDEN,
    errors.KeyAtClient: HTTP_403_FORBIDDEN,
    errors.UnknownSubject: HTTP_403_FORBIDDEN,
    errors.IncompatibleClient: HTTP_403_FORBIDDEN,
    errors.TooManyRequests: HTTP_429_TOO_MANY_REQUESTS,
    errors.Unavailable: HTTP_503_SERVICE_UNAVAILABLE,
    errors.StoreUnavailable: HTTP_503_SERVICE_UNAVAILABLE,
    errors.MailUnavailable: HTTP_503_SERVICE_UNAVAILABLE,
    errors.DatabaseUnavailable: HTTP_503_SERVICE_UNAVAILABLE,
    errors.UnderMaintenance: HTTP_503_SERVICE_UNAVAILABLE,
    errors.MailRefused: HTTP_502_BAD_GATEWAY,
    errors.StoreRefused: HTTP_502_BAD_GATEWAY,
    errors.SealBroken: HTTP_500_INTERNAL_SERVER_ERROR,
    errors.ConfigurationError: HTTP_500_INTERNAL_SERVER_ERROR,
}

_log = structlog.get_logger()

_AnyRequest = Request[Any, Any, Any]


def domain_error(_request: _AnyRequest, wrong: errors.DdsError) -> Response[Refusal]:
    """Answer with the status of the error's own class, its message, and what it knows."""
    facts = {name: _plain(value) for name, value in wrong.facts.items()}
    message = wrong.message
    match wrong:
        case errors.DatabaseUnavailable() if "why" in facts:
            message += f" It said: {facts['why']}. {remedy(str(facts['why']))}"
        case errors.InvalidFields(fields=fields):
            facts |= {name: list(why) for name, why in fields.items()}
        case errors.MissingField(field=field):
            facts |= {"field": field}
    return _answer(_status(wrong), wrong.code, message, facts)


def http_error(request: _AnyRequest, wrong: HTTPException) -> Response[Refusal]:
    """Answer for what Litestar itself refuses: no such route, another method, a body that does not fit."""
    match wrong.status_code:
        case status if status == HTTP_404_NOT_FOUND:
            message = "The daemon has no such command. Are ddsctl and ddsd of the same version?"
            return _answer(status, errors.NotFound.code, message, {})
        case status if status == HTTP_413_REQUEST_ENTITY_TOO_LARGE:
            return _answer(status, errors.TooLarge.code, "The request is too large.", {})
        case status if status >= HTTP_500_INTERNAL_SERVER_ERROR:
            return bug(request, wrong)
        case status:
            return _answer(status, errors.InvalidInput.code, _explain(wrong), {})


def nesting(_request: _AnyRequest, _wrong: RecursionError) -> Response[Refusal]:
    """Answer for JSON that is nested beyond what the decoder follows; the framework lets that error through."""
    message = "The JSON is nested too deeply."
    return _answer(HTTP_400_BAD_REQUEST, errors.InvalidInput.code, message, {})


def bug(request: _AnyRequest, wrong: Exception) -> Response[Refusal]:
    """Answer for what nobody foresaw: the traceback goes to the log, never over the wire."""
    _log.error("admin.bug", path=request.url.path, exc_info=wrong)
    message = "The daemon met an error of its own. Its log says more: journalctl --unit ddsd"
    return _answer(HTTP_500_INTERNAL_SERVER_ERROR, "internal", message, {})


def _status(wrong: errors.DdsError) -> int:
    """A slice's own error counts as the nearest one of the tree that it refines."""
    return next(STATUSES[kind] for kind in type(wrong).__mro__ if kind in STATUSES)


def _answer(status: int, code: str, message: str, facts: dict[str, JsonValue]) -> Response[Refusal]:
    body = Refusal(code=code, message=message, facts=facts)
    return Response(body, status_code=status, media_type="application/json")


def _explain(wrong: HTTPException) -> str:
    if not isinstance(wrong.extra, list):
        return wrong.detail
    problems = (f"{one.get('key', 'body')}: {one.get('message')}" for one in wrong.extra)
    return "; ".join(problems)


def _plain(value: object) -> JsonValue:
    return value if isinstance(value, str | int | float | bool) else str(value)
