"""How the stock wire spells things: dates, and the shapes of errors (wire contract, sections 0.2 and 0.3)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from litestar import Response
from litestar.enums import MediaType

from ddsd import errors
from ddsd.errors import DdsError

Json = dict[str, Any]
_log = structlog.get_logger()

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip

# The first class that fits decides. Every leaf is caught by one of these; a test goes through them all.
STATUSES: Final[Mapping[type[DdsError], int]] = {
    errors.TooLarge: 413,
    errors.TooManyRequests: 429,
    errors.NotAuthenticated: 401,
    errors.Forbidden: 403,
    errors.Unavailable: 503,
    errors.StoreRefused: 503,
    errors.MailRefused: 503,
    errors.StoreObjectMissing: 503,
    errors.ConfigurationError: 503,
    errors.SealBroken: 403,
    errors.InvalidInput: 400,
    errors.NotFound: 400,
    errors.Conflict: 400,
}
_FOR_OPERATORS: Final = (
    errors.StoreRefused,
    errors.MailRefused,
    errors.StoreObjectMissing,
    errors.ConfigurationError,
)


def gmt(moment: datetime) -> str:
    """Return the moment as the stock client parses it: RFC 1123, English names, literal ``GMT``."""
    utc = moment.astimezone(UTC)
    return (
        f"{_DAYS[utc.weekday()]}, {utc.day:02d} {_MONTHS[utc.month - 1]} {utc.year:04d} "
        f"{utc:%H:%M:%S} GMT"
    )


def minute(moment: datetime) -> str:
    """Return the moment to the minute, as messages of the day carry it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def status_of(error: DdsError) -> int:
    """Return the HTTP status the stock wire has for this refusal."""
    return next(status for kind, status in STATUSES.items() if isinstance(error, kind))


def body_of(error: DdsError, *, fields_alone: bool = False) -> Json:
    """Return the JSON object the stock client understands; field errors keep their field's name.

    The client prints ``message``, and ``None`` where there is none. ``fields_alone`` leaves it out: for ``proj/create``
    the client looks for a message first and for the field's own text next.
    """
    match error:
        case errors.InvalidFields() if fields_alone:
            return dict(error.fields)
        case errors.InvalidFields():
            return {**error.fields, "message": error.message}
        case errors.MissingField():
            return {error.field: {"message": error.message}}
        case errors.SealBroken():
            return {"message": "Your key could not be opened. Please log in again."}
        case errors.StoreUnavailable():
            return {"message": "The object store does not answer. Please try again in a moment."}
        case _ if isinstance(error, _FOR_OPERATORS):
            return {
                "message": "The service cannot do this as it is set up now. "
                "Please tell whoever operates it; its log says why."
            }
        case _:
            return {"message": error.message}


def refusal(error: DdsError, *, fields_alone: bool = False) -> Response[Json]:
    """Render a refusal. What the store or the mail server said is for the log: it names what is behind the service."""
    headers = {}
    if isinstance(error, (errors.StoreUnavailable, *_FOR_OPERATORS)):
        _log.warning("request.refused", code=error.code, why=error.message)
    if isinstance(error, errors.TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = "30"
    return Response(
        body_of(error, fields_alone=fields_alone),
        status_code=status_of(error),
        media_type=MediaType.JSON,
        headers=headers,
    )
