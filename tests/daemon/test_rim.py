"""What surrounds the public plane: who is asking, as proxies say, and what every answer tells a browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsd.daemon import guard
from ddsd.log import Receive, Scope, Send
from ddsd.planes import public
from ddsd.rim import HEADERS, BodyLimit, Forwarded
from ddsd.settings import Settings
from ddsd.work import Services
from tests.attacks.test_reception import answer_to, serving

PROXIES = ("10.0.0.1/32", "10.1.0.0/16", "fd00::/8")
STRANGER = "203.0.113.9"


async def seen(peer: str, *headers: tuple[str, str], believed: Sequence[str] = PROXIES) -> Scope:
    """Return the scope that the application gets."""
    got: list[Scope] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        got.append(scope)

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    asked = {"type": "http", "client": (peer, 4711), "scheme": "http", "headers": raw}
    await Forwarded(application, believed)(asked, _nothing, _nothing)
    return got[0]


async def _nothing(*_message: Any) -> Any:
    return None


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # From whom nobody believes, nothing is.
        (STRANGER, ["192.0.2.1"], STRANGER),
        ("10.0.0.2", ["192.0.2.1"], "10.0.0.2"),
        # The right-most address that is no believed proxy's; what stands before it anybody can have written.
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7, 192.0.2.1, 10.1.2.3"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7", "192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["10.1.9.9, 10.1.2.3"], "10.1.9.9"),
        # However it is written.
        ("10.0.0.1", ["192.0.2.1:51234"], "192.0.2.1"),
        ("10.0.0.1", ["[2001:db8::7]:51234"], "2001:db8::7"),
        ("10.0.0.1", ["2001:DB8:0::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["::ffff:192.0.2.1"], "192.0.2.1"),
        ("fd00::1", ["192.0.2.1"], "192.0.2.1"),
        # What is no address stops the search at the proxy that wrote it.
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.1,"], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.1, <script>, 10.1.2.3"], "10.1.2.3"),
        ("10.0.0.1", ["'; drop table users"], "10.0.0.1"),
        ("10.0.0.1", ["fe80::1%<script>"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
async def test_who_asks_is_who_the_believed_proxies_saw(
    peer: str, forwarded: list[str], client: str
) -> None:
    scope = await seen(peer, *(("x-forwarded-for", one) for one in forwarded))
    assert scope["client"][0] == client


async def test_without_believed_proxies_nobody_is_believed() -> None:
    scope = await seen(
        "127.0.0.1", ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https"), believed=()
    )
    assert (scope["client"][0], scope["scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    ("peer", "said", "scheme"),
    [
        ("10.0.0.1", "https", "https"),
        ("10.0.0.1", "http, https", "https"),
        ("10.0.0.1", "gopher", "http"),
        ("10.0.0.1", "", "http"),
        (STRANGER, "https", "http"),
    ],
)
async def test_tls_is_believed_of_believed_proxies(peer: str, said: str, scheme: str) -> None:
    assert (await seen(peer, ("x-forwarded-proto", said)))["scheme"] == scheme


@given(st.text(st.characters(max_codepoint=255), max_size=80))
async def test_no_value_does_harm(value: str) -> None:
    scope = await seen("10.0.0.1", ("x-forwarded-for", value), ("x-forwarded-proto", value))
    assert set(str(scope["client"][0])) <= set("0123456789abcdef.:")
    assert scope["scheme"] in {"http", "https"}


@pytest.fixture
def settings() -> Settings:
    return Settings.model_validate(
        {
            "instance": {"public_url": "https://dds.example.org"},
            "listen": {"trusted_proxies": ["127.0.0.1"]},
        }
    )


def browser(app: Any, settings: Settings) -> httpx.AsyncClient:
    limited = BodyLimit(app, 1024)
    transport = httpx.ASGITransport(guard(limited, settings), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://dds.example.org")


async def test_every_route_of_the_public_plane_answers_guarded(
    services: Services, settings: Settings
) -> None:
    app = public.build(services)
    asked, bare = 0, []
    async with browser(app, settings) as http:
        for route in app.routes:
            path = route.path_format.replace("{", "").replace("}", "")
            for method in sorted(getattr(route, "methods", {"GET"})):
                answer = await http.request(method, path)
                asked += 1
                bare += [f"{method} {path}: {name}" for name in _missing(answer)]
    assert bare == []
    assert asked > 80


async def test_refusals_of_every_kind_are_guarded(services: Services, settings: Settings) -> None:
    async with browser(public.build(services), settings) as http:
        answers = [
            await http.get("/nowhere"),
            await http.get("/api/v1/nowhere"),
            await http.request("TRACE", "/status"),
            await http.post("/login", content=b"x" * 2048),
            await http.get("/assets/site.css"),
            await http.get("/assets/none.css"),
            await http.get("/"),
        ]
    assert [_missing(one) for one in answers] == [[]] * len(answers)
    assert {one.status_code for one in answers} >= {200, 404, 413}


def _missing(answer: httpx.Response) -> list[str]:
    return [name.decode() for name, _ in HEADERS if name.decode() not in answer.headers]


@pytest.mark.parametrize("sent", [b"\x16\x03\x01 no http\r\n\r\n", b"GET / HTTP/1.1\r\nX: "])
async def test_what_is_no_request_is_answered_guarded_too(sent: bytes) -> None:
    pieces = [sent] if b"no http" in sent else [sent, *[b"a" * 65536] * 8]
    async with serving() as address:
        answer = await answer_to(address, iter(pieces))
    assert b"HTTP/1.1 4" in answer
    assert all(b"%b: %b\r\n" % one in answer for one in HEADERS)


@pytest.mark.parametrize(
    ("url", "proto", "strict"),
    [
        ("https://dds.example.org", "https", True),
        ("https://dds.example.org", "http", False),
        ("http://dds.example.org", "https", False),
    ],
)
async def test_a_browser_is_told_to_insist_on_tls_only_over_tls(
    url: str, proto: str, strict: bool, services: Services
) -> None:
    settings = Settings.model_validate(
        {"instance": {"public_url": url}, "listen": {"trusted_proxies": ["127.0.0.1"]}}
    )
    async with browser(public.build(services), settings) as http:
        answer = await http.get("/status", headers={"X-Forwarded-Proto": proto})
    assert ("strict-transport-security" in answer.headers) is strict
