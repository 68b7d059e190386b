"""The style sheet, the scripts and the icon: read once from the package, served under a name that changes with them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class _Asset:
    content: bytes
    media_type: str
    address: str


def _read(name: str) -> _Asset:
    content = (resources.files("ddsd.planes.web") / "assets" / name).read_bytes()
    version = hashlib.sha256(content).hexdigest()[:12]
    return _Asset(content, _TYPES[name.rpartition(".")[2]], f"/assets/{name}?v={version}")


_ASSETS: Final = {name: _read(name) for name in ("site.css", "site.js", "passkey.js", "icon.svg")}


def address_of(name: str) -> str:
    """Return the path under which the asset is served."""
    return _ASSETS[name].address


@get("/assets/{name:str}", sync_to_thread=False)
def serve(name: FromPath[str]) -> Response[bytes]:
    """Answer with an asset."""
    asset = _ASSETS.get(name)
    if asset is None:
        raise NotFoundException
    return Response(
        asset.content,
        media_type=asset.media_type,
        headers={
            "Cache-Control": "public, max-age=86400",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'",
        },
    )
