"""The first page: what this is, where the client is to be had, how to log in with it."""

from __future__ import annotations

from litestar import Response, route

from ddsd.planes.web.page import SHOWING, WebRequest, page


@route("/", http_method=SHOWING, sync_to_thread=False)
def home(request: WebRequest) -> Response[str]:
    """Show it."""
    return page(request, "home.html")
