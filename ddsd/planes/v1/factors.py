"""The stock wire: switching the second factor (wire contract, section 2.4)."""

from __future__ import annotations

from typing import Final

from litestar import post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from ddsd.access import Action, Nobody
from ddsd.errors import InvalidInput, NotFound
from ddsd.planes.v1.call import Call
from ddsd.planes.v1.wire import Json
from ddsd.users import accounts, authenticator, login, standing
from ddsd.users.tables import SecondFactor
from ddsd.work import transaction

_ALREADY: Final = (
    "Nothing to do, two-factor authentication with {} is already enabled for this user."
)
_FOLLOW: Final = (
    "Please check your email and follow the attached link to activate two-factor with {}."
)


@post("/user/totp/activate", status_code=200)
async def activate_app(call: NamedDependency[Call]) -> Json:
    """Mail the link that begins with an authenticator app."""
    async with call.changing(Action.SEE_OWN_ACCOUNT) as asked:
        mailed = await authenticator.mail_app_link(asked.work, asked.caller.user)
    words = (_FOLLOW if mailed else _ALREADY).format("authenticator app" if mailed else "app")
    return {"message": words}


@post("/user/hotp/activate", status_code=200)
async def activate_mail(call: NamedDependency[Call]) -> Json:
    """Mail the link that goes back to mailed codes; the password is enough, as the app may be lost."""
    username, password = call.basic()
    user, _ = await login.prove_password(call.services, username, password, call.address)
    async with transaction(call.services, Nobody()) as work:
        mailed = await authenticator.mail_mail_link(work, user)
    return {"message": (_FOLLOW if mailed else _ALREADY).format("email")}


@put("/user/totp/deactivate")
async def deactivate_app(call: NamedDependency[Call]) -> Json:
    """Let somebody who lost their app log in with mailed codes: a super admin's decision."""
    async with call.changing(Action.RESET_SECOND_FACTOR) as asked:
        username = call.json_object().get("username")
        if not isinstance(username, str) or not username:
            raise InvalidInput("Username required to reset 2FA to HOTP")
        try:
            user = await accounts.find(asked.work, username)
        except NotFound:
            raise NotFound(f"The user doesn't exist: {username}") from None
        if user.second_factor is SecondFactor.MAIL:
            raise InvalidInput("TOTP is already deactivated for this user.")
        await standing.reset_second_factor(asked.work, user)
    return {
        "message": f"TOTP has been deactivated for user: {user.username}. "
        "They can now use 2FA via email during authentication."
    }


ROUTES: list[HTTPRouteHandler] = [activate_app, activate_mail, deactivate_app]
