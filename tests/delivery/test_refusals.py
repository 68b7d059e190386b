"""Every way the domain says no has its status and its body here, and nothing of what is behind the service gets out."""

from __future__ import annotations

import httpx
import pytest
from litestar import Litestar, get
from litestar.testing import AsyncTestClient, RequestFactory

from ddsd import errors
from ddsd.contract.delivery import Refusal
from ddsd.planes.delivery.refusals import EXCEPTION_HANDLERS, STATUSES, refuse
from tests.delivery.client import call
from tests.world import World


def every_error(kind: type[errors.DdsError] = errors.DdsError) -> set[type[errors.DdsError]]:
    below = {one for sub in kind.__subclasses__() for one in every_error(sub)}
    return {one for one in {kind, *below} if one.__module__ == errors.__name__}


def test_every_error_of_the_domain_has_a_status() -> None:
    assert every_error() == set(STATUSES)


def test_an_error_defined_by_a_slice_gets_the_status_of_the_error_it_refines() -> None:
    class OutOfPaper(errors.Busy):
        code = "out_of_paper"

    answer = refuse(RequestFactory().get("/"), OutOfPaper("no paper", sheets=0))
    assert answer.status_code == 409
    assert answer.content == Refusal(code="out_of_paper", message="no paper", facts={"sheets": 0})


@pytest.mark.parametrize(
    ("wrong", "header", "value"),
    [
        (errors.TooManyRequests("slow", retry_after_s=17), "Retry-After", "17"),
        (errors.DatabaseUnavailable("away"), "Retry-After", "30"),
        (errors.NotAuthenticated("who"), "WWW-Authenticate", "Bearer"),
        (errors.UnknownSubject("gone"), "WWW-Authenticate", "Bearer"),
    ],
)
def test_a_client_is_told_what_to_do_next(wrong: errors.DdsError, header: str, value: str) -> None:
    assert refuse(RequestFactory().get("/"), wrong).headers[header] == value


def test_fields_are_named_one_by_one() -> None:
    answer = refuse(RequestFactory().get("/"), errors.InvalidFields({"name": ["too short"]}))
    assert answer.content.facts == {"name": ["too short"]}
    missing = refuse(RequestFactory().get("/"), errors.MissingField("name", "say a name"))
    assert missing.content.facts == {"field": "name"}


@pytest.mark.parametrize(
    "wrong",
    [
        errors.StoreRefused("minio.internal said AccessDenied"),
        errors.StoreUnavailable("minio.internal said AccessDenied"),
        errors.SealBroken("minio.internal said AccessDenied"),
        errors.ConfigurationError("minio.internal said AccessDenied"),
    ],
)
def test_what_is_behind_the_service_is_not_shown(wrong: errors.DdsError) -> None:
    answer = refuse(RequestFactory().get("/"), wrong)
    assert "minio.internal" not in answer.content.message
    assert answer.content.code == wrong.code


async def test_a_fault_of_our_own_shows_nothing_of_it() -> None:
    @get("/")
    async def broken() -> None:
        raise ZeroDivisionError("secret of the house")

    app = Litestar([broken], exception_handlers=EXCEPTION_HANDLERS, logging_config=None)
    async with AsyncTestClient(app) as http:
        answer = await http.get("/")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret of the house" not in answer.text


def shaped(answer: httpx.Response) -> tuple[int, str]:
    assert set(answer.json()) == {"code", "message", "facts"}
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing", (404, "not_found")),
        ("GET", "", (404, "not_found")),
        ("PUT", "/session", (405, "invalid_input")),
        ("GET", "/login/start", (405, "invalid_input")),
        ("GET", "/session", (401, "not_authenticated")),
        ("DELETE", "/sessions", (401, "not_authenticated")),
        ("GET", "/projects/x/key", (401, "not_authenticated")),
    ],
)
async def test_every_refusal_has_the_one_shape(
    world: World, method: str, path: str, expected: tuple[int, str]
) -> None:
    assert shaped(await call(world, method, path)) == expected


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'"\\ud800"'])
async def test_a_body_that_is_no_json_is_refused(world: World, raw: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await call(world, "POST", "/login/start", content=raw, headers=headers)
    assert shaped(answer) == (400, "invalid_input")


async def test_a_body_over_the_limit_is_refused(world: World) -> None:
    size = world.services.settings.listen.max_body_mib * 2**20 + 1
    headers = {"Content-Type": "application/json"}
    answer = await call(world, "POST", "/login/start", content=b" " * size, headers=headers)
    assert shaped(answer) == (413, "too_large")


async def test_addresses_beside_this_api_are_answered_in_their_own_manner(world: World) -> None:
    other = await world.http.get("/api/delivery/10/session")
    assert set(other.json()) == {"message"}
    page = await world.http.get("/nothing")
    assert page.headers["Content-Type"].startswith("text/html")


async def test_the_api_describes_itself_and_nothing_else(world: World) -> None:
    described = (await call(world, "GET", "/openapi.json")).json()
    assert described["openapi"].startswith("3.")
    assert set(described["paths"]) == {
        f"/api/delivery/1{path}"
        for path in (
            "/login/start",
            "/login/proof",
            "/login/second-factor",
            "/login/upgrade",
            "/session",
            "/sessions",
            "/projects/{project}/key",
            "/projects/{project}/restore",
        )
    }
    assert described["components"]["schemas"]["Refusal"]["required"] == ["code", "message"]
