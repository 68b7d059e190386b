"""The pages' routes, with what stands before them."""

from __future__ import annotations

from litestar import Router

from ddsd.planes.web import assets, demo_mail, forms, home, register, set_password
from ddsd.planes.web.refusals import EXCEPTION_HANDLERS as EXCEPTION_HANDLERS
from ddsd.work import Services

_PAGES = [
    home.home,
    set_password.show,
    set_password.submit,
    register.show,
    register.open_invitation,
    register.submit,
]
_DEMO_PAGES = [demo_mail.listing, demo_mail.letter]


def build(services: Services) -> list[Router]:
    """Return the routes; those of a demo only if this is one."""
    demo = services.settings.instance.demo
    return [
        Router(
            path="/",
            route_handlers=[*_PAGES, *(_DEMO_PAGES if demo else [])],
            request_max_body_size=forms.MOST_BODY_BYTES,
            middleware=forms.protection(services),
            exception_handlers=EXCEPTION_HANDLERS,
        ),
        Router(path="/", route_handlers=[assets.serve], exception_handlers=EXCEPTION_HANDLERS),
    ]
