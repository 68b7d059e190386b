"""The page on which somebody whose account was made for them chooses their password."""

from __future__ import annotations

from litestar import Response, post, route

from ddsd.errors import DdsError
from ddsd.planes.web import forms, refusals
from ddsd.planes.web.page import SHOWING, WebRequest, page, services_of
from ddsd.users import first_password


@route("/set-password", http_method=SHOWING, sync_to_thread=False)
def show(request: WebRequest) -> Response[str]:
    """Show the form; the link's code is in the fragment, which only the browser sees."""
    return page(request, "set_password.html", code="", problems={})


@post("/set-password", status_code=200)
async def submit(request: WebRequest) -> Response[str]:
    """Set the password, or show the form again with what is wrong."""
    form = await forms.read(request)
    address = request.client.host if request.client else ""
    try:
        password = form.new_password()
        user = await first_password.use(
            services_of(request), form.secret("code"), password, address=address
        )
    except DdsError as wrong:
        return page(
            request,
            "set_password.html",
            status=refusals.status_of(wrong),
            headers=refusals.headers_of(wrong),
            code=form.text("code"),
            problems=refusals.problems_of(wrong, not_found="code"),
        )
    return page(request, "welcome.html", title="Your password is set", username=user.username)
