"""Both editions of the stock wire, and how they answer when something is refused or breaks."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Request, Response, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import MediaType
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from ddsd.errors import DdsError
from ddsd.planes.v1 import (
    account,
    factors,
    files,
    lifecycle,
    notices,
    people,
    projects,
    removal,
    usage,
)
from ddsd.planes.v1.call import Edition, provide_call
from ddsd.planes.v1.wire import Json, refusal

_log = structlog.get_logger()
_OWN_WORDS = {
    404: "There is no such address in this API. Is the client newer than the service?",
    405: "The method is not allowed for the requested URL.",
    413: "The request is larger than this service accepts.",
}


def build() -> list[Router]:
    """Return one router per edition, with the same handlers."""
    routes = [
        *account.ROUTES,
        *factors.ROUTES,
        *people.ROUTES,
        *notices.ROUTES,
        *projects.ROUTES,
        *lifecycle.ROUTES,
        *files.ROUTES,
        *removal.ROUTES,
        *usage.ROUTES,
    ]
    return [
        Router(
            path=f"/api/{edition}",
            route_handlers=routes,
            dependencies={"call": Provide(provide_call)},
            exception_handlers=EXCEPTION_HANDLERS,
        )
        for edition in Edition
    ]


def refuse(request: Request[Any, Any, State], error: DdsError) -> Response[Json]:
    """Answer a refusal of the domain."""
    return refusal(error, fields_alone=request.url.path.endswith("/proj/create"))


def refuse_http(_request: Request[Any, Any, State], error: HTTPException) -> Response[Json]:
    """Answer what the framework refuses, as a JSON object: the stock client reads nothing else."""
    message = _OWN_WORDS.get(error.status_code, error.detail)
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    return _message(message, error.status_code, headers)


def apologise(request: Request[Any, Any, State], error: Exception) -> Response[Json]:
    """Answer what should not have happened; the log has the rest."""
    _log.error("request.broke", path=request.url.path, exc_info=error)
    return _message(
        "The service met a fault of its own. Nothing was changed. It has been logged.", 500, {}
    )


def _message(text: str, status: int, headers: dict[str, str]) -> Response[Json]:
    return Response(
        {"message": text}, status_code=status, media_type=MediaType.JSON, headers=headers
    )


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    DdsError: refuse,
    HTTPException: refuse_http,
    Exception: apologise,
}
