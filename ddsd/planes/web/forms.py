"""Forms: what a browser posts, and the proof that it posts a form of ours.

The proof is Litestar's double submit: a signed cookie and the same token in the form. What that code would stumble
over is refused before it is reached.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from litestar.config.csrf import CSRFConfig
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.middleware import ASGIMiddleware, DefineMiddleware
from litestar.middleware.csrf import CSRFMiddleware
from litestar.types import ASGIApp, Middleware, Receive, Scope, Send

from ddsd.errors import InvalidFields
from ddsd.planes.web.page import WebRequest
from ddsd.secret import SecretText
from ddsd.users import passwords
from ddsd.work import Services

MOST_BODY_BYTES: Final = 16 * 1024
_TOKEN_FIELD: Final = "_csrf_token"  # noqa: S105 - the name of a field, which Litestar looks for
_TOKEN_HEADER: Final = "x-csrftoken"  # noqa: S105 - the name of a header
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Form:
    """A posted form; a field that is absent, or there more than once, is empty."""

    fields: dict[str, str]

    def text(self, name: str) -> str:
        """Return a field as it was typed."""
        return self.fields.get(name, "")

    def secret(self, name: str) -> SecretText:
        """Return a field that must not be shown, composed (NFC) as passwords are."""
        return SecretText(unicodedata.normalize("NFC", self.text(name)))

    def new_password(self) -> SecretText:
        """Return the password, which was typed twice.

        Raises:
            InvalidFields: it does not meet the rules, or the two differ.
        """
        password = self.secret("password")
        passwords.check_strength(password)
        if self.differs():
            raise InvalidFields(self.differs())
        return password

    def differs(self) -> dict[str, list[str]]:
        """Return the complaint that the password was typed in two ways; nothing if it was not."""
        if self.secret("password") == self.secret("again"):
            return {}
        return {"again": ["The two passwords differ. Type the same one twice."]}


async def read(request: WebRequest) -> Form:
    """Return the form that was posted."""
    form = await request.form()
    single = {name: form.getall(name) for name in form}
    return Form({name: str(values[0]) for name, values in single.items() if len(values) == 1})


class _OnlyPlainForms(ASGIMiddleware):
    """Refuses what is posted in another encoding, and tokens that no form of ours has."""

    def __init__(self, cookie_name: str) -> None:
        self._cookie_name = cookie_name

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        request: WebRequest = WebRequest(scope, receive, send)
        encoding, _ = request.content_type
        posts = request.method not in _SAFE
        # Litestar takes a multipart body apart even with a GET, and not every one unharmed.
        if encoding == RequestEncodingType.MULTI_PART or (
            posts and encoding != RequestEncodingType.URL_ENCODED
        ):
            raise HTTPException(status_code=415, detail="Send the form as a browser does.")
        if posts:
            form = await request.form()
            tokens = (
                *form.getall(_TOKEN_FIELD, []),
                request.cookies.get(self._cookie_name, ""),
                request.headers.get(_TOKEN_HEADER, ""),
            )
            if len(form.getall(_TOKEN_FIELD, [])) > 1 or not all(map(_is_plain, tokens)):
                raise PermissionDeniedException("CSRF token verification failed")
        await next_app(scope, receive, send)


def protection(services: Services) -> list[Middleware]:
    """Return what stands before every page of this plane."""
    config = CSRFConfig(
        secret=services.instance_key.derive("web forms").reveal().hex(),
        cookie_name=cookie_name(services),
        cookie_secure=over_tls(services),
        cookie_httponly=True,
    )
    return [
        _OnlyPlainForms(config.cookie_name),
        DefineMiddleware(CSRFMiddleware, config=config),
    ]


def cookie_name(services: Services) -> str:
    """Return the cookie's name; over TLS one that no other host can set (RFC 6265bis, ``__Host-``)."""
    return "__Host-ddsd-form" if over_tls(services) else "ddsd-form"


def forget_cookie(services: Services) -> Cookie:
    """Return what makes a browser drop its cookie, so that the next page brings a good one."""
    return Cookie(
        key=cookie_name(services),
        value="",
        max_age=0,
        secure=over_tls(services),
        httponly=True,
        samesite="lax",
    )


def over_tls(services: Services) -> bool:
    """Say whether browsers reach this service over TLS."""
    return services.settings.instance.public_url.startswith("https://")


def _is_plain(token: object) -> bool:
    return isinstance(token, str) and token.isascii()
