"""What reaches the daemon of requests made to deceive it, through real proxies: nobody is taken for somebody else."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator

import pytest

from ddsd.daemon import PlaneServer, guard
from ddsd.log import Receive, Scope, Send
from ddsd.settings import Settings
from tests.parts.certificates import Authority
from tests.parts.ports import free_port
from tests.parts.proxies import HOST, PROXIES, Site

MINE = "127.0.0.1"
FORGED = "203.0.113.7"
QUIET_S = 1.0
HOST_LINE = f"Host: {HOST}\r\n".encode()

_seen: list[str] = []


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with who asked, over what, for which path, and how long the body was."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    _seen.append(scope["path"])
    told = {"client": scope["client"][0], "scheme": scope["scheme"], "path": scope["path"]}
    body = json.dumps(told | {"length": length}).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(params=sorted(PROXIES))
async def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    settings = Settings.model_validate({"listen": {"trusted_proxies": [MINE]}})
    place = tmp_path_factory.mktemp(str(request.param))
    with socket.socket() as listener:
        listener.bind((MINE, 0))
        server = PlaneServer("public", guard(tell, settings), listener, settings.listen)
        await server.open()
        site = Site(place, Authority(), listener.getsockname()[1], store_port=free_port())
        running = PROXIES[request.param](site)
        await asyncio.to_thread(running.__enter__)
        _seen.clear()
        yield site
        await asyncio.to_thread(running.__exit__, None, None, None)
        await server.close()


async def answers(site: Site, raw: bytes, *, whole: bytes = b"\0") -> bytes:
    """Send bytes as they are, and return what comes back: up to ``whole``, or until the proxy has no more to say."""
    reader, writer = await asyncio.open_connection(
        HOST, site.daemon_outside, ssl=site.authority.trusting()
    )
    writer.write(raw)
    answer = b""
    try:
        while piece := await asyncio.wait_for(reader.read(65536), QUIET_S):
            answer += piece
            if whole in answer:
                break
    except (TimeoutError, ConnectionResetError):
        pass  # it waits for more, or cut us off
    writer.close()
    return answer


async def told(site: Site, raw: bytes) -> dict[str, object]:
    answer = await answers(site, raw, whole=b"}")
    assert re.match(rb"HTTP/1\.[01] 200 ", answer), answer
    found = answer[answer.index(b"{") : answer.index(b"}") + 1]
    return dict(json.loads(found))


SPELLINGS = [
    b"X-Forwarded-For: %s\r\n",
    b"x-forwarded-for: %s\r\n",
    b"X-FORWARDED-FOR:%s\r\n",
    b"X-Forwarded-For: %s\r\nX-Forwarded-For: %s\r\n",
    b"X-Forwarded-For: %s, 127.0.0.1\r\n",
    b"X-Forwarded-For: 127.0.0.1, %s\r\n",
    b'X-Forwarded-For: "%s:443"\r\n',
    b"X_Forwarded_For: %s\r\n",
    b"X-Real-IP: %s\r\n",
    b"Forwarded: for=%s;proto=http\r\n",
    b"X-Forwarded-Proto: http\r\nX-Forwarded-For: %s\r\n",
    b"Connection: close, X-Forwarded-For\r\nX-Forwarded-For: %s\r\n",
]


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_whatever_a_client_says_of_itself_it_is_who_it_is(site: Site, version: bytes) -> None:
    for spelling in SPELLINGS:
        lines = spelling.replace(b"%s", FORGED.encode())
        raw = b"GET /who " + version + b"\r\n" + HOST_LINE + lines + b"\r\n"
        seen = await told(site, raw)
        assert (seen["client"], seen["scheme"]) == (MINE, "https"), spelling


async def test_an_address_in_the_request_line_and_a_second_host_lead_nowhere_else(
    site: Site,
) -> None:
    absolute = b"GET https://%s/who HTTP/1.1\r\n" % HOST.encode()
    seen = await told(site, absolute + HOST_LINE + b"\r\n")
    assert (seen["client"], seen["path"]) == (MINE, "/who")
    elsewhere = await answers(
        site, b"GET /who HTTP/1.1\r\n" + HOST_LINE + b"Host: evil.example\r\n\r\n"
    )
    assert elsewhere.startswith(b"HTTP/1.1 400 ")


SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST_LINE + b"\r\n"
FORMS = {
    "both lengths": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    "coding twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    "space before the colon": b"Transfer-Encoding : chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    "folded line": b"Transfer-Encoding:\r\n chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    "underscores": b"Transfer_Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    "a signed length": b"Content-Length: +%d\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_request_hidden_in_a_body_is_never_one(site: Site, form: str) -> None:
    head = b"POST /who HTTP/1.1\r\n" + HOST_LINE
    whole = len(b"0\r\n\r\n" + SMUGGLED)
    raw = head + FORMS[form].replace(b"%d", str(whole).encode()) + SMUGGLED
    answer = await answers(site, raw)
    seen = await told(site, b"GET /next HTTP/1.1\r\n" + HOST_LINE + b"\r\n")
    assert (seen["path"], seen["length"]) == ("/next", 0)
    # Caddy takes "chunked" for the length and says so to us: what follows is then a request of the client's own, and
    # the client gets its answer. Hidden would be one that only we see.
    assert _seen.count("/smuggled") == answer.count(b'"path": "/smuggled"')


@pytest.mark.parametrize(
    "body",
    [b"5;a=b\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"],
)
async def test_chunk_extensions_and_trailers_are_no_part_of_the_body(
    site: Site, body: bytes
) -> None:
    raw = b"POST /who HTTP/1.1\r\n" + HOST_LINE + b"Transfer-Encoding: chunked\r\n\r\n" + body
    seen = await told(site, raw)
    assert (seen["client"], seen["length"]) == (MINE, 5)
