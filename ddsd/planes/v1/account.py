"""The stock wire: logging in, and one's own account (wire contract, sections 2 and 4)."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from ddsd.access import Action, Role
from ddsd.errors import InvalidFields, InvalidInput
from ddsd.planes.v1.call import Call
from ddsd.planes.v1.wire import Json
from ddsd.users import accounts, codes, login


@get("/user/encrypted_token")
async def encrypted_token(call: NamedDependency[Call]) -> Json:
    """Take a password; answer with the token for the second step."""
    username, password = call.basic()
    accepted = await login.check_password(
        call.services, username, password, call.address, agent=call.agent
    )
    return {
        "message": "Please take this token to /user/second_factor to authenticate with MFA!",
        "token": accepted.token,
        "secondfactor_method": accepted.second_factor.value,
    }


async def _second_factor(call: Call) -> Json:
    token = call.token()
    await login.check_token(call.services, token)
    body = call.json_or_nothing()
    if not isinstance(body, dict):
        raise InvalidInput("MFA method not supplied")
    mailed = _digits(body, "HOTP", codes.CODE_DIGITS)
    app = _digits(body, "TOTP", codes.APP_DIGITS)
    return {"token": await login.check_second_factor(call.services, token, mailed=mailed, app=app)}


@get("/user/second_factor")
async def second_factor(call: NamedDependency[Call]) -> Json:
    """Take the second factor; answer with the session's token."""
    return await _second_factor(call)


@post("/user/second_factor", status_code=200)
async def second_factor_posted(call: NamedDependency[Call]) -> Json:
    """Do the same, for clients that do not send a body with GET."""
    return await _second_factor(call)


@get("/user/info")
async def user_info(call: NamedDependency[Call]) -> Json:
    """Tell somebody who they are."""
    async with call.reading(Action.SEE_OWN_ACCOUNT) as asked:
        user = asked.caller.user
        emails = await accounts.emails_of(asked.work, user.id)
    info: Json = {
        "email_primary": emails[0],
        "emails_all": emails,
        "role": user.role.value,
        "username": user.username,
        "name": user.name,
    }
    if user.role is Role.UNIT_ADMIN:
        info["is_admin"] = True
    return {"info": info}


def _digits(body: Json, method: str, length: int) -> str | None:
    code = body.get(method)
    if code is None:
        return None
    if not isinstance(code, str):
        raise InvalidFields({method: ["Not a valid string."]})
    if len(code) != length:
        raise InvalidFields({method: [f"Length must be between {length} and {length}."]})
    if not (code.isascii() and code.isdigit()):
        choices = ", ".join("0123456789")
        raise InvalidFields(
            {method: [f"One or more of the choices you made was not in: {choices}."]}
        )
    return code


ROUTES: list[HTTPRouteHandler] = [encrypted_token, second_factor, second_factor_posted, user_info]
