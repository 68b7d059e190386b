"""The public plane: everything that is served on TCP."""

from __future__ import annotations

from litestar import Litestar, get

from ddsd import log
from ddsd.work import Services


@get("/status")
async def status() -> dict[str, str]:
    """Say that requests are served."""
    return {"status": "ready"}


def build(_services: Services) -> Litestar:
    """Make the application."""
    return Litestar(
        [status],
        openapi_config=None,
        logging_config=None,
        after_exception=[log.unexpected],
        request_max_body_size=None,
    )
