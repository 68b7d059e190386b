"""The pages that reset a forgotten password: ask for a link, be told what is lost, choose a new one."""

from __future__ import annotations

from litestar import Response, post, route

from ddsd.access import Nobody
from ddsd.errors import DdsError
from ddsd.planes.web import door, forms, refusals
from ddsd.planes.web.forms import Form
from ddsd.planes.web.page import SHOWING, WebRequest, page, services_of
from ddsd.projects.holdings import holdings_of
from ddsd.users import password_reset
from ddsd.work import reading


@route("/forgot-password", http_method=SHOWING, sync_to_thread=False)
def show_request(request: WebRequest) -> Response[str]:
    """Ask for the address of the account."""
    return page(request, "forgot_password.html", email="", problems={})


@post("/forgot-password", status_code=200)
async def submit_request(request: WebRequest) -> Response[str]:
    """Note the request; the answer is the same whether or not the address has an account."""
    form = await forms.read(request)
    try:
        await password_reset.request(
            services_of(request), form.text("email"), address=door.address_of(request)
        )
    except DdsError as wrong:
        return page(
            request,
            "forgot_password.html",
            status=refusals.status_of(wrong),
            headers=refusals.headers_of(wrong),
            email=form.text("email"),
            problems=refusals.problems_of(wrong),
        )
    return page(request, "reset_requested.html")


@route("/reset-password", http_method=SHOWING, sync_to_thread=False)
def show(request: WebRequest) -> Response[str]:
    """Show the form that takes the link's code, which is in the fragment: the script sends it on by itself."""
    return page(request, "reset_open.html", code="", problems={})


@post("/reset-password/open", status_code=200)
async def open_link(request: WebRequest) -> Response[str]:
    """Say what would be lost and who could give it back, above the form for the new password."""
    return await _show_form(request, await forms.read(request), None)


@post("/reset-password", status_code=200)
async def submit(request: WebRequest) -> Response[str]:
    """Set the new password, or show the form again with what is wrong."""
    form = await forms.read(request)
    try:
        user = await password_reset.use(
            services_of(request),
            form.secret("code"),
            form.new_password(),
            address=door.address_of(request),
        )
    except DdsError as wrong:
        return await _show_form(request, form, wrong)
    return page(
        request,
        "done.html",
        title="Your password is reset",
        words=f"Log in as {user.username} with the new password. You have been logged out everywhere. "
        "Then ask the units of your projects, or your colleagues, to give you access again: "
        "their client does it with “dds project access fix” and your e-mail address.",
    )


async def _show_form(request: WebRequest, form: Form, wrong: DdsError | None) -> Response[str]:
    try:
        async with reading(services_of(request), Nobody()) as work:
            user = await password_reset.owner_of(work, form.secret("code"))
            held = await holdings_of(work, user.id)
    except DdsError as gone:
        return page(
            request,
            "reset_open.html",
            status=refusals.status_of(gone),
            headers=refusals.headers_of(gone),
            code=form.text("code"),
            problems=refusals.problems_of(gone, not_found="code"),
        )
    return page(
        request,
        "reset_password.html",
        status=refusals.status_of(wrong) if wrong else 200,
        headers=refusals.headers_of(wrong) if wrong else {},
        code=form.text("code"),
        username=user.username,
        works_for_unit=user.unit_id is not None,
        held=held,
        problems=refusals.problems_of(wrong) if wrong else {},
    )
