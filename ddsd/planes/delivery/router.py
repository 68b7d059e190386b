"""The delivery API as one router, with its own description."""

from __future__ import annotations

from functools import cache
from typing import Any

from litestar import Litestar, MediaType, Router, get
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

import ddsd
from ddsd.contract.delivery import PATH
from ddsd.planes.delivery import login, projects, sessions
from ddsd.planes.delivery.call import provide_call
from ddsd.planes.delivery.refusals import EXCEPTION_HANDLERS, NOT_KEPT


@get("/openapi.json", media_type=MediaType.JSON, sync_to_thread=False, include_in_schema=False)
def description() -> dict[str, Any]:
    """Describe this API (OpenAPI 3.1)."""
    return _described()


def build() -> Router:
    """Return the router of this plane."""
    return Router(
        path=PATH,
        route_handlers=[*login.ROUTES, *sessions.ROUTES, *projects.ROUTES, description],
        dependencies={"call": Provide(provide_call, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        response_headers=NOT_KEPT,
    )


@cache
def _described() -> dict[str, Any]:
    """Describe the routes by way of an application of their own: the public one describes nothing else."""
    bearer = SecurityScheme(type="http", scheme="bearer")
    config = OpenAPIConfig(
        title="ddsd delivery API",
        version=ddsd.__version__,
        description="Bytes are lower-case hex. How they are derived and sealed: docs/formats.md.",
        use_handler_docstrings=True,
        components=Components(security_schemes={"bearer": bearer}),
    )
    app = Litestar([build()], openapi_config=config, logging_config=None)
    return app.openapi_schema.to_schema()
