"""The pages on which somebody who was invited makes their account: the link is opened, then the form filled in."""

from __future__ import annotations

from litestar import Response, post, route

from ddsd.errors import DdsError, InvalidFields, NotFound
from ddsd.planes.web import forms, refusals
from ddsd.planes.web.forms import Form
from ddsd.planes.web.page import SHOWING, WebRequest, page, services_of
from ddsd.users import registration
from ddsd.users.registration import Applicant, Invitation
from ddsd.users.tables import User


@route("/register", http_method=SHOWING, sync_to_thread=False)
def show(request: WebRequest) -> Response[str]:
    """Show the form that takes the link's code, which is in the fragment: the script sends it on by itself."""
    return page(request, "register_open.html", code="", problems={})


@post("/register/open", status_code=200)
async def open_invitation(request: WebRequest) -> Response[str]:
    """Show the form that makes the account."""
    form = await forms.read(request)
    try:
        invitation = await registration.look_up(services_of(request), form.secret("code"))
    except DdsError as wrong:
        return _show_closed(request, form, wrong)
    return _show_form(request, form, invitation, None)


@post("/register", status_code=200)
async def submit(request: WebRequest) -> Response[str]:
    """Make the account, or show the form again with what is wrong."""
    form = await forms.read(request)
    try:
        invitation = await registration.look_up(services_of(request), form.secret("code"))
        try:
            user = await _register(request, form)
        except NotFound:
            raise
        except DdsError as wrong:
            return _show_form(request, form, invitation, wrong)
    except DdsError as wrong:
        return _show_closed(request, form, wrong)
    return page(request, "welcome.html", title="Your account is made", username=user.username)


async def _register(request: WebRequest, form: Form) -> User:
    applicant = Applicant(form.text("username"), form.text("name"), form.secret("password"))
    wrong = registration.misfits(applicant) | form.differs()
    if wrong:
        raise InvalidFields(wrong)
    address = request.client.host if request.client else ""
    return await registration.register(
        services_of(request), form.secret("code"), applicant, address=address
    )


def _show_closed(request: WebRequest, form: Form, wrong: DdsError) -> Response[str]:
    return page(
        request,
        "register_open.html",
        status=refusals.status_of(wrong),
        headers=refusals.headers_of(wrong),
        code=form.text("code"),
        problems=refusals.problems_of(wrong, not_found="code"),
    )


def _show_form(
    request: WebRequest, form: Form, invitation: Invitation, wrong: DdsError | None
) -> Response[str]:
    return page(
        request,
        "register.html",
        status=refusals.status_of(wrong) if wrong else 200,
        headers=refusals.headers_of(wrong) if wrong else {},
        code=form.text("code"),
        name=form.text("name"),
        username=form.text("username"),
        email=invitation.email,
        role=invitation.role.value,
        problems=refusals.problems_of(wrong) if wrong else {},
    )
