"""The first page: what this is, where the client is to be had, how to log in with it."""

from __future__ import annotations

from litestar import Response, get

from ddsd.planes.web.page import WebRequest, page


@get("/", sync_to_thread=False)
def home(request: WebRequest) -> Response[str]:
    """Show it."""
    return page(request, "home.html")
