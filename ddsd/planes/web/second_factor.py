"""The pages that switch the second factor between mailed codes and an authenticator app.

Nothing is switched by looking at a page or following a link: each switch is a form that is posted.
"""

from __future__ import annotations

from litestar import Response, post, route

from ddsd.errors import DdsError
from ddsd.planes.web import door, forms, refusals
from ddsd.planes.web.door import LogInFirst, Visit, entering
from ddsd.planes.web.page import SHOWING, WebRequest, go, page, services_of
from ddsd.planes.web.picture import qr_code
from ddsd.users import authenticator
from ddsd.users.authenticator import Enrolment


@route("/account/app", http_method=SHOWING)
async def show_app(request: WebRequest) -> Response[str]:
    """Ask for the password before an app is begun with."""
    return await _ask_password(request, "app_begin.html", None)


@post("/account/app", status_code=200)
async def begin_app(request: WebRequest) -> Response[str]:
    """Show the QR code for the app, once."""
    form = await forms.read(request)
    try:
        await door.prove(request, form)
        async with entering(request, changing=True) as visit:
            return _show_code(visit, await authenticator.begin(visit.work, visit.caller.user))
    except DdsError as wrong:
        return await _ask_password(request, "app_begin.html", wrong)


@post("/account/app/confirm", status_code=200)
async def confirm_app(request: WebRequest) -> Response[str]:
    """Make the app the second factor if it shows the right code."""
    form = await forms.read(request)
    try:
        async with entering(request, changing=True) as visit:
            code = "".join(form.text("otp").split())
            await authenticator.confirm(visit.work, visit.caller.user, code)
    except DdsError as wrong:
        return await _ask_password(request, "app_confirm.html", wrong)
    return go("/account/second-factor-changed")


@route("/account/mail", http_method=SHOWING)
async def show_mail(request: WebRequest) -> Response[str]:
    """Ask for the password before the app is given up."""
    return await _ask_password(request, "mail_again.html", None)


@post("/account/mail", status_code=200)
async def use_mail(request: WebRequest) -> Response[str]:
    """Make mailed codes the second factor."""
    form = await forms.read(request)
    try:
        await door.prove(request, form)
        async with entering(request, changing=True) as visit:
            await authenticator.back_to_mail(visit.work, visit.caller.user)
    except DdsError as wrong:
        return await _ask_password(request, "mail_again.html", wrong)
    return go("/account/second-factor-changed")


@route("/account/second-factor-changed", http_method=SHOWING)
async def changed(request: WebRequest) -> Response[str]:
    """Say that it is done."""
    async with entering(request) as visit:
        return visit.page(
            "done.html",
            title="Your second factor is changed",
            words="From your next login on it is the new one. We have told you by mail, too.",
        )


@route("/activate-app", http_method=SHOWING)
async def show_app_link(request: WebRequest) -> Response[str]:
    """Show the form that takes the code of a mailed link, which is in the fragment."""
    return await refusals.link_form(request, "activate_app.html", "", None)


@post("/activate-app", status_code=200)
async def begin_by_link(request: WebRequest) -> Response[str]:
    """Show the QR code to whoever is logged in and has the link that was mailed to them."""
    form = await forms.read(request)
    try:
        async with entering(request, changing=True) as visit:
            code = form.secret("code")
            return _show_code(
                visit, await authenticator.begin_by_link(visit.work, visit.caller.user, code)
            )
    except LogInFirst:
        return page(request, "log_in_first.html", status=401)
    except DdsError as wrong:
        return await refusals.link_form(request, "activate_app.html", form.text("code"), wrong)


@route("/activate-mail", http_method=SHOWING, sync_to_thread=False)
def show_mail_link(request: WebRequest) -> Response[str]:
    """Show the button that goes back to mailed codes; for whom, the link's code in the fragment says."""
    return page(request, "activate_mail.html", code="", problems={})


@post("/activate-mail", status_code=200)
async def use_mail_link(request: WebRequest) -> Response[str]:
    """Make mailed codes the second factor of whoever has the link, and knew the password to get it."""
    form = await forms.read(request)
    try:
        await authenticator.back_to_mail_by_link(
            services_of(request), form.secret("code"), address=door.address_of(request)
        )
    except DdsError as wrong:
        return page(
            request,
            "activate_mail.html",
            status=refusals.status_of(wrong),
            headers=refusals.headers_of(wrong),
            code=form.text("code"),
            problems=refusals.problems_of(wrong, not_found="code"),
        )
    return page(
        request,
        "done.html",
        title="You get codes by e-mail again",
        words="From your next login on, a code comes by e-mail. What the app shows is worthless now.",
    )


async def _ask_password(
    request: WebRequest, template: str, wrong: DdsError | None
) -> Response[str]:
    async with entering(request) as visit:
        return refusals.form(
            visit,
            template,
            wrong,
        )


def _show_code(visit: Visit, enrolment: Enrolment) -> Response[str]:
    return visit.page(
        "app_code.html",
        problems={},
        secret=_in_fours(enrolment.secret.text()),
        picture=qr_code(enrolment.address.text()),
    )


def _in_fours(secret: str) -> str:
    return " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
