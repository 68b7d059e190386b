"""The pages on which somebody changes their own name and address; the address is confirmed with a mailed link."""

from __future__ import annotations

from litestar import Response, post, route

from ddsd.errors import DdsError
from ddsd.planes.web import door, forms, refusals
from ddsd.planes.web.door import LogInFirst, entering
from ddsd.planes.web.forms import Form
from ddsd.planes.web.page import SHOWING, WebRequest, go, page, services_of
from ddsd.users import accounts, email_change, login


@route("/account/name", http_method=SHOWING)
async def show_name(request: WebRequest) -> Response[str]:
    """Show the name as it is."""
    return await _show_name(request, None, None)


@post("/account/name", status_code=200)
async def submit_name(request: WebRequest) -> Response[str]:
    """Change the name."""
    form = await forms.read(request)
    try:
        async with entering(request, changing=True) as visit:
            await accounts.rename(visit.work, visit.caller.user, form.text("name"))
    except DdsError as wrong:
        return await _show_name(request, form.text("name"), wrong)
    return go("/account")


@route("/account/email", http_method=SHOWING)
async def show_email(request: WebRequest) -> Response[str]:
    """Ask for the new address, and the password."""
    return await _show_email(request, Form({}), None)


@post("/account/email", status_code=200)
async def submit_email(request: WebRequest) -> Response[str]:
    """Mail the link; the answer is the same whether or not somebody else has the address."""
    form = await forms.read(request)
    async with entering(request) as visit:
        caller = visit.caller
    try:
        wanted = await email_change.request(
            services_of(request),
            caller,
            form.secret("current"),
            form.text("email"),
            address=door.address_of(request),
        )
    except DdsError as wrong:
        return await _show_email(request, form, wrong)
    return visit.page(
        "done.html",
        title="Open your mail",
        words=f"We have sent a letter to {wanted}. Open the link in it within one hour, in this browser. "
        "Until you confirm there, nothing changes.",
    )


@route("/confirm-email", http_method=SHOWING)
async def show_link(request: WebRequest) -> Response[str]:
    """Show the form that takes the code of the mailed link, which is in the fragment."""
    return await refusals.link_form(request, "confirm_email.html", "", None)


@post("/confirm-email", status_code=200)
async def confirm(request: WebRequest) -> Response[str]:
    """Change the address for whoever is logged in and has the link that was mailed to the new one."""
    form = await forms.read(request)
    try:
        async with entering(request, changing=True) as visit:
            now = await email_change.confirm(visit.work, visit.caller.user, form.secret("code"))
    except LogInFirst:
        return page(request, "log_in_first.html", status=401)
    except DdsError as wrong:
        return await refusals.link_form(request, "confirm_email.html", form.text("code"), wrong)
    return visit.page(
        "done.html",
        title="Your e-mail address is changed",
        words=f"From now on we write to {now}. The earlier address was told.",
    )


async def _show_name(
    request: WebRequest, typed: str | None, wrong: DdsError | None
) -> Response[str]:
    async with entering(request) as visit:
        return refusals.form(
            visit,
            "name.html",
            wrong,
            name=visit.caller.user.name if typed is None else typed,
        )


async def _show_email(request: WebRequest, form: Form, wrong: DdsError | None) -> Response[str]:
    async with entering(request) as visit:
        return refusals.form(
            visit,
            "email.html",
            wrong,
            now=await login.primary_email(visit.work, visit.caller.user.id),
            email=form.text("email"),
        )
