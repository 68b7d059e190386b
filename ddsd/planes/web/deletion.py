"""The pages on which somebody deletes their own account: asked for when logged in, confirmed with a mailed link."""

from __future__ import annotations

from litestar import Response, post, route

from ddsd.errors import DdsError
from ddsd.planes.web import door, forms, refusals
from ddsd.planes.web.door import LogInFirst, entering
from ddsd.planes.web.forms import Form
from ddsd.planes.web.page import SHOWING, WebRequest, page, services_of
from ddsd.projects import projects
from ddsd.projects.holdings import holdings_of
from ddsd.users import removal


@route("/account/delete", http_method=SHOWING)
async def show(request: WebRequest) -> Response[str]:
    """Say what is lost, above the button that asks for the link."""
    return await _show_request(request, None)


@post("/account/delete", status_code=200)
async def submit(request: WebRequest) -> Response[str]:
    """Mail the link, unless an earlier one is still good."""
    try:
        async with entering(request, changing=True) as visit:
            mine = await projects.listing(visit.work, show_all=True)
            asked = await removal.request(visit.work, [one.project.public_id for one in mine])
            return visit.page("deletion_requested.html", email=asked.email, mailed=asked.mailed)
    except DdsError as wrong:
        return await _show_request(request, wrong)


@route("/confirm-deletion", http_method=SHOWING)
async def show_link(request: WebRequest) -> Response[str]:
    """Show the form that takes the code of the mailed link, which is in the fragment."""
    return await _show_confirmation(request, Form({}), None)


@post("/confirm-deletion", status_code=200)
async def confirm(request: WebRequest) -> Response[str]:
    """Delete the account of whoever is logged in and has the link that was mailed to them."""
    form = await forms.read(request)
    try:
        async with entering(request) as visit:
            member = visit.caller.member
        await removal.confirm(
            services_of(request),
            form.secret("code"),
            member,
            confirmed=form.text("lose") == "yes",
        )
    except LogInFirst:
        return page(request, "log_in_first.html", status=401)
    except DdsError as wrong:
        return await _show_confirmation(request, form, wrong)
    gone = page(
        request,
        "deleted.html",
        title="Your account is deleted",
    )
    gone.cookies.append(door.forget_cookie(services_of(request)))
    return gone


async def _show_request(request: WebRequest, wrong: DdsError | None) -> Response[str]:
    async with entering(request) as visit:
        return refusals.form(
            visit,
            "delete_account.html",
            wrong,
            held=await holdings_of(visit.work, visit.caller.user.id),
        )


async def _show_confirmation(
    request: WebRequest, form: Form, wrong: DdsError | None
) -> Response[str]:
    try:
        async with entering(request) as visit:
            held = await holdings_of(visit.work, visit.caller.user.id)
            return refusals.form(
                visit,
                "confirm_deletion.html",
                wrong,
                not_found="code",
                code=form.text("code"),
                last_of=[one.public_id for one in held if not one.others_hold],
            )
    except LogInFirst:
        return page(request, "log_in_first.html", status=401)
