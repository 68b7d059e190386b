"""The pages of a unit's recovery kit: its words are in one answer to one form, and in no other page.

Whoever makes, replaces or revokes one types their password again: a browser left open is not enough for that.
"""

from __future__ import annotations

from litestar import Response, post, route

from ddsd.errors import DdsError, Forbidden
from ddsd.planes.web import door, forms, refusals
from ddsd.planes.web.door import Visit, entering
from ddsd.planes.web.forms import Form
from ddsd.planes.web.page import SHOWING, WebRequest, go, services_of
from ddsd.planes.web.picture import qr_code
from ddsd.projects import recovery
from ddsd.projects.recovery import KitView, NewKit
from ddsd.users import login


@route("/recovery-kit", http_method=SHOWING)
async def show(request: WebRequest) -> Response[str]:
    """Say whether the unit has a kit, and what it opens."""
    async with entering(request) as visit:
        return visit.page("kit.html", kit=await recovery.look(visit.work))


@post("/recovery-kit/complete", status_code=200)
async def complete(request: WebRequest) -> Response[str]:
    """Let the kit open what the caller opens and it does not."""
    async with entering(request, changing=True) as visit:
        await recovery.complete(visit.work, visit.caller.unlock())
    return go("/recovery-kit")


@route("/recovery-kit/new", http_method=SHOWING)
async def show_new(request: WebRequest) -> Response[str]:
    """Ask for the password before a kit is made."""
    return await _ask(request, "kit_new.html", None)


@post("/recovery-kit/new", status_code=200)
async def make(request: WebRequest) -> Response[str]:
    """Make a kit, or put a new one in the place of the unit's; show the words, this once."""
    form = await forms.read(request)
    try:
        await _prove(request, form)
        async with entering(request, changing=True) as visit:
            unlocked, replaces = visit.caller.unlock(), form.text("replaces")
            made = (
                await recovery.rotate(
                    visit.work, unlocked, replaces=replaces, confirmed=_confirmed(form)
                )
                if replaces
                else await recovery.make(visit.work, unlocked)
            )
            return _show_words(visit, made)
    except DdsError as wrong:
        return await _ask(request, "kit_new.html", wrong)


@route("/recovery-kit/revoke", http_method=SHOWING)
async def show_revoke(request: WebRequest) -> Response[str]:
    """Ask for the password before the kit is revoked."""
    return await _ask(request, "kit_revoke.html", None)


@post("/recovery-kit/revoke", status_code=200)
async def revoke(request: WebRequest) -> Response[str]:
    """Revoke the unit's kit."""
    form = await forms.read(request)
    try:
        await _prove(request, form)
        async with entering(request, changing=True) as visit:
            await recovery.revoke(visit.work, confirmed=_confirmed(form))
    except DdsError as wrong:
        return await _ask(request, "kit_revoke.html", wrong)
    return go("/recovery-kit")


@route("/recovery-kit/restore", http_method=SHOWING)
async def show_restore(request: WebRequest) -> Response[str]:
    """Ask for the words."""
    return await _ask(request, "kit_restore.html", None)


@post("/recovery-kit/restore", status_code=200)
async def restore(request: WebRequest) -> Response[str]:
    """Restore access with the words that were typed; they are not in the answer, whatever it says."""
    form = await forms.read(request)
    async with entering(request) as visit:
        await recovery.look(visit.work)  # who has to do with kits at all
        member = visit.caller.member
    try:
        await recovery.spend_try(services_of(request), member)
        async with entering(request, changing=True) as visit:
            done = await recovery.restore(
                visit.work, form.secret("words"), everyone=form.text("everyone") == "yes"
            )
            return visit.page("kit_restored.html", done=done)
    except DdsError as wrong:
        return await _ask(request, "kit_restore.html", wrong)


async def _ask(request: WebRequest, template: str, wrong: DdsError | None) -> Response[str]:
    async with entering(request) as visit:
        kit: KitView | None = await recovery.look(visit.work)
        return refusals.form(
            visit,
            template,
            wrong,
            kit=kit,
            must_confirm=isinstance(wrong, Forbidden),
        )


async def _prove(request: WebRequest, form: Form) -> None:
    async with entering(request) as visit:
        await recovery.look(visit.work)  # who has to do with kits at all
        caller = visit.caller
    await login.prove_again(
        services_of(request), caller, form.secret("current"), door.address_of(request)
    )


def _confirmed(form: Form) -> bool:
    return form.text("confirmed") == "yes"


def _show_words(visit: Visit, made: NewKit) -> Response[str]:
    return visit.page(
        "kit_words.html",
        kit=made.view,
        unit=made.unit,
        words=made.words.text().split(),
        picture=qr_code(made.words.text()),
    )
