"""Turns a template into an answer: every HTML page of this service leaves through here, with the same headers.

Invariant: no page carries a script or a style of its own, is shown in a frame, or stays in a cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request, Response
from litestar.datastructures import Cookie, State
from litestar.enums import HttpMethod, MediaType
from litestar.template.base import csrf_token

from ddsd.contract import sizes
from ddsd.planes.web import assets
from ddsd.work import Services

WebRequest = Request[Any, Any, State]

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("ddsd.planes.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


_ENVIRONMENT.filters |= {"size": sizes.show, "minute": _minute}
_STOCK_CLIENT_REACHES: Final = "http://127.0.0.1:5000"
"""Where the stock client looks for a service with ``DDS_CLI_ENV=development`` (wire contract, section 1)."""

SHOWING: Final = (HttpMethod.GET, HttpMethod.HEAD)
"""The methods of a page that changes nothing; the server leaves the body out of an answer to HEAD."""

Problems = Mapping[str, Sequence[str]]
"""What is wrong, by the name of the form's field; under ``""`` what concerns no single field."""


def services_of(request: WebRequest) -> Services:
    """Return the process's services."""
    services: Services = request.app.state.services
    return services


def page(
    request: WebRequest,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **facts: object,
) -> Response[str]:
    """Render a page.

    Args:
        request: what is answered.
        template: a file name in ``templates/``.
        status: HTTP status.
        headers: further headers.
        **facts: what the template asks for besides what every page has.
    """
    instance = services_of(request).settings.instance
    html = _ENVIRONMENT.get_template(template).render(
        facility=instance.facility,
        contact=instance.contact,
        public_url=instance.public_url,
        demo=instance.demo,
        stock_client_reaches_us=instance.public_url == _STOCK_CLIENT_REACHES,
        asset=assets.address_of,
        csrf=csrf_token({"request": request}),
        **facts,
    )
    return Response(
        html, status_code=status, media_type=MediaType.HTML, headers={**HEADERS, **(headers or {})}
    )


def go(path: str, cookies: Iterable[Cookie] = ()) -> Response[str]:
    """Send the browser to another page of ours, which it asks for with GET (RFC 9110, section 15.4.4)."""
    return Response(
        "", status_code=303, headers={**HEADERS, "Location": path}, cookies=list(cookies)
    )
