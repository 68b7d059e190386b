"""The pages' routes, with what stands before them."""

from __future__ import annotations

from litestar import Router

from ddsd.planes.web import (
    account,
    assets,
    deletion,
    demo_mail,
    forms,
    home,
    identity,
    kit,
    login,
    passkeys,
    projects,
    recovery,
    register,
    reset_password,
    second_factor,
    set_password,
)
from ddsd.planes.web.refusals import EXCEPTION_HANDLERS as EXCEPTION_HANDLERS
from ddsd.work import Services

_PAGES = [
    home.home,
    set_password.show,
    set_password.submit,
    register.show,
    register.open_invitation,
    register.submit,
    login.show,
    login.submit,
    login.show_second_step,
    login.submit_code,
    login.mail_another,
    login.leave,
    projects.listing,
    projects.ask_to_restore,
    projects.restore,
    account.show,
    account.change_password,
    account.password_changed,
    identity.show_name,
    identity.submit_name,
    identity.show_email,
    identity.submit_email,
    identity.show_link,
    identity.confirm,
    account.end_session,
    account.end_sessions,
    second_factor.show_app,
    second_factor.begin_app,
    second_factor.confirm_app,
    second_factor.show_mail,
    second_factor.use_mail,
    second_factor.changed,
    second_factor.show_app_link,
    second_factor.begin_by_link,
    second_factor.show_mail_link,
    second_factor.use_mail_link,
    passkeys.show,
    passkeys.begin,
    passkeys.add,
    passkeys.remove,
    passkeys.ask,
    passkeys.log_in,
    recovery.show,
    recovery.make,
    recovery.ask,
    recovery.log_in,
    reset_password.show_request,
    reset_password.submit_request,
    reset_password.show,
    reset_password.open_link,
    reset_password.submit,
    deletion.show,
    deletion.submit,
    deletion.show_link,
    deletion.confirm,
    kit.show,
    kit.complete,
    kit.show_new,
    kit.make,
    kit.show_revoke,
    kit.revoke,
    kit.show_restore,
    kit.restore,
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
