"""The mail of a demo, for everybody to read: without it nobody could try out a link or a code.

These routes exist in a demo only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from litestar import Response, route
from litestar.params import FromPath

from ddsd.access import System
from ddsd.db.types import may_be_id
from ddsd.errors import NotFound
from ddsd.mail import outbox
from ddsd.planes.web.page import SHOWING, WebRequest, page, services_of
from ddsd.work import reading

SHOWN: Final = 1000


@dataclass(frozen=True)
class Piece:
    """A piece of a letter's text; where ``path`` is not empty it leads there, on this very service."""

    text: str
    path: str


@route("/demo/mail", http_method=SHOWING)
async def listing(request: WebRequest) -> Response[str]:
    """List the newest letters, newest first."""
    async with reading(services_of(request), System()) as work:
        letters = await outbox.listing(work, SHOWN)
    return page(request, "demo_mail.html", letters=letters, shown=SHOWN)


@route("/demo/mail/{mail_id:int}", http_method=SHOWING)
async def letter(request: WebRequest, mail_id: FromPath[int]) -> Response[str]:
    """Show one letter as text, its links to this service to be followed.

    Raises:
        NotFound: there is none of that number.
    """
    if not may_be_id(mail_id):
        raise NotFound("There is no letter of that number.")
    async with reading(services_of(request), System()) as work:
        view = await outbox.show(work, mail_id)
    own = services_of(request).settings.instance.public_url
    return page(
        request,
        "demo_letter.html",
        letter=view.envelope,
        pieces=pieces(view.text, own),
        withheld=view.withheld,
    )


def pieces(text: str, own_address: str) -> list[Piece]:
    """Cut a letter into text and links to ``own_address``; links to elsewhere stay text."""
    # A path that began with two slashes would lead elsewhere; browsers take a backslash for a slash.
    link = re.compile(rf"({re.escape(own_address)}(?:/(?![/\\])[^\s<>\"]*)?)(?![\w.:@/\\-])")
    return [
        Piece(piece, (piece.removeprefix(own_address) or "/") if is_link else "")
        for number, piece in enumerate(link.split(text))
        if piece
        for is_link in [number % 2 == 1]
    ]
