"""The public plane: everything that is reachable over TCP, as one application.

Programs speak JSON under ``/api`` and ``/status``, people read HTML elsewhere; what fits no route is answered alike.
"""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.types import ExceptionHandlersMap

from ddsd.contract.delivery import PATH as DELIVERY_PATH
from ddsd.planes.delivery import router as delivery
from ddsd.planes.delivery.refusals import EXCEPTION_HANDLERS as DELIVERY_REFUSALS
from ddsd.planes.v1 import router as v1
from ddsd.planes.web import router as web
from ddsd.work import Services

_MIB = 1024 * 1024


@get("/status", sync_to_thread=False, exception_handlers=v1.EXCEPTION_HANDLERS)
def ready() -> dict[str, str]:
    """Say that the service answers."""
    return {"status": "ready"}


def build(services: Services) -> Litestar:
    """Return the application; it opens nothing and closes nothing, the daemon does."""
    return Litestar(
        route_handlers=[ready, *v1.build(), delivery.build(), *web.build(services)],
        state=State({"services": services}),
        exception_handlers={Exception: _answer_stray},
        request_max_body_size=services.settings.listen.max_body_mib * _MIB,
        openapi_config=None,
        logging_config=None,
    )


def _answer_stray(request: Request[Any, Any, State], error: Exception) -> Response[Any]:
    """Answer what went wrong before a plane had the request, in the manner of the plane it was meant for."""
    handlers = _manner_of(request.scope["path"])
    answer = next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)
    return answer(request, error)


def _manner_of(path: str) -> ExceptionHandlersMap:
    if f"{path}/".startswith(f"{DELIVERY_PATH}/"):
        return DELIVERY_REFUSALS
    top = path.strip("/").partition("/")[0]
    return v1.EXCEPTION_HANDLERS if top in {"api", "status"} else web.EXCEPTION_HANDLERS
