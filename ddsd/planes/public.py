"""The public plane: everything that is reachable over TCP, as one application."""

from __future__ import annotations

from litestar import Litestar, get
from litestar.datastructures import State

from ddsd.planes.v1 import router as v1
from ddsd.work import Services

_MIB = 1024 * 1024


@get("/status", sync_to_thread=False)
def ready() -> dict[str, str]:
    """Say that the service answers."""
    return {"status": "ready"}


def build(services: Services) -> Litestar:
    """Return the application; it opens nothing and closes nothing, the daemon does."""
    return Litestar(
        route_handlers=[ready, *v1.build()],
        state=State({"services": services}),
        exception_handlers=v1.EXCEPTION_HANDLERS,
        request_max_body_size=services.settings.listen.max_body_mib * _MIB,
        openapi_config=None,
        logging_config=None,
    )
