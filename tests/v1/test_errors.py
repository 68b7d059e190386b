"""How the stock wire says no: always a JSON object, a status for every refusal of the domain, English dates."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Response, get
from litestar.testing import AsyncTestClient

from ddsd import errors
from ddsd.errors import DdsError
from ddsd.planes.v1 import account, notices, people, projects, wire
from ddsd.planes.v1.call import Edition
from ddsd.planes.v1.router import EXCEPTION_HANDLERS
from tests.v1 import endpoints
from tests.world import VERSION, World

EDITIONS = ["v1", "v3"]


def subclasses(kind: type[DdsError]) -> Iterator[type[DdsError]]:
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


EVERY = sorted(set(subclasses(DdsError)), key=lambda kind: kind.__name__)
# The wire contract, section 0.3; what it does not know: 413 and, for what is away or refused behind us, 503.
EXPECTED = {
    "AccessLost": 403,
    "AlreadyExists": 400,
    "Busy": 400,
    "ConfigurationError": 503,
    "Conflict": 400,
    "DatabaseUnavailable": 503,
    "Forbidden": 403,
    "IncompatibleClient": 403,
    "InvalidFields": 400,
    "InvalidInput": 400,
    "KeyAtClient": 403,
    "MailRefused": 503,
    "MailUnavailable": 503,
    "MissingField": 400,
    "NotAuthenticated": 401,
    "NotFound": 400,
    "QuotaExceeded": 400,
    "SealBroken": 403,
    "SecondFactorRequired": 401,
    "StoreObjectMissing": 503,
    "StoreRefused": 503,
    "StoreUnavailable": 503,
    "TooLarge": 413,
    "TooManyRequests": 429,
    "Unavailable": 503,
    "UnderMaintenance": 503,
    "UnknownSubject": 403,
    "WrongStatus": 400,
}


def an(kind: type[DdsError]) -> DdsError:
    """Make one."""
    if kind is errors.InvalidFields:
        return errors.InvalidFields({"title": ["why"]})
    if kind is errors.MissingField:
        return errors.MissingField("title", "why")
    if kind is errors.TooManyRequests:
        return errors.TooManyRequests("why", retry_after_s=7)
    return kind("why")


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_refusal_of_the_domain_has_a_status_and_an_object(kind: type[DdsError]) -> None:
    if kind.__name__ in EXPECTED:
        assert wire.status_of(an(kind)) == EXPECTED[kind.__name__]
    assert 400 <= wire.status_of(an(kind)) < 600
    assert wire.status_of(an(kind)) != 500
    body = wire.body_of(an(kind))
    assert body
    assert all(isinstance(key, str) for key in body)


def test_the_table_of_expectations_is_about_refusals_that_exist() -> None:
    assert set(EXPECTED) <= {kind.__name__ for kind in EVERY}


def test_field_errors_keep_their_fields_name() -> None:
    wrong = errors.InvalidFields({"pi": ["a", "b"], "title": ["c"]})
    fields = {"pi": ["a", "b"], "title": ["c"]}
    assert wire.body_of(wrong) == {**fields, "message": "pi: a b; title: c"}
    assert wire.body_of(wrong, fields_alone=True) == fields
    missing = errors.MissingField("project", "Project ID required.")
    assert wire.body_of(missing) == {"project": {"message": "Project ID required."}}


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_who_may_come_again_is_told_when(kind: type[DdsError]) -> None:
    headers = {name.lower(): value for name, value in wire.refusal(an(kind)).headers.items()}
    if kind is errors.TooManyRequests:
        assert headers["retry-after"] == "7"
    else:
        assert ("retry-after" in headers) == issubclass(kind, errors.Unavailable)


def test_every_handler_promises_a_json_object() -> None:
    for route in (*account.ROUTES, *notices.ROUTES, *people.ROUTES, *projects.ROUTES):
        returns = inspect.signature(route.fn).return_annotation
        assert returns in {"Json", "Response[Json]", wire.Json}, route.handler_name


MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.integers(min_value=-12, max_value=14).map(lambda h: timezone(timedelta(hours=h))),
)


@given(MOMENTS)
def test_dates_are_rfc_1123_in_utc(moment: datetime) -> None:
    expected = format_datetime(moment.astimezone(UTC), usegmt=True)
    assert wire.gmt(moment) == expected


class TestVersion:
    """The first edition asks which client it is (wire contract, section 1)."""

    @pytest.mark.parametrize(
        ("version", "message"),
        [
            (None, "No version found in request, cannot proceed."),
            ("", "No version found in request, cannot proceed."),
            ("2.15", "Incompatible version lengths."),
            ("2.15.1.0", "Incompatible version lengths."),
            ("banana", "Incompatible version lengths."),
            ("1.15.1", "You're using an old CLI version, please upgrade to the latest one."),
            ("3.0.0", "You're using an old CLI version, please upgrade to the latest one."),
        ],
    )
    async def test_one_that_does_not_fit_is_refused_before_all_else(
        self, world: World, version: str | None, message: str
    ) -> None:
        headers = {} if version is None else {"X-CLI-Version": version}
        for method, path in endpoints.EVERY:
            answer = await world.http.request(method, f"/api/v1{path}", headers=headers)
            assert (answer.status_code, answer.json()) == (403, {"message": message})

    @pytest.mark.parametrize("version", ["2.0.0", "2.15.1", "2.99.99", "2.x.y"])
    async def test_minor_and_patch_do_not_matter(self, world: World, version: str) -> None:
        answer = await world.http.get("/api/v1/motd", headers={"X-CLI-Version": version})
        assert answer.status_code == 200

    async def test_the_third_edition_does_not_ask(self, world: World) -> None:
        assert (await world.http.get("/api/v3/motd")).status_code == 200


class TestAddresses:
    """Methods and addresses that do not exist are answered in JSON, too."""

    @pytest.mark.parametrize("edition", EDITIONS)
    async def test_a_wrong_method(self, world: World, edition: str) -> None:
        served: dict[str, set[str]] = {}
        for method, path in endpoints.EVERY:
            served.setdefault(path, set()).add(method)
        for path, methods in served.items():
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
                answer = await world.call(method, path, edition=edition)
                assert answer.status_code == 405, (method, path)
                assert answer.json() == {
                    "message": "The method is not allowed for the requested URL."
                }

    @pytest.mark.parametrize("method", ["BANANA", "TRACE", "CONNECT", "get"])
    async def test_a_method_nobody_knows(self, world: World, method: str) -> None:
        transport = httpx.ASGITransport(world.app)  # type: ignore[arg-type]
        request = httpx.Request(
            method, "http://ddsd.test/api/v1/motd", headers={"X-CLI-Version": VERSION}
        )
        request.method = method
        answer = await transport.handle_async_request(request)
        await answer.aread()
        assert answer.status_code == 405
        assert isinstance(answer.json(), dict)

    @pytest.mark.parametrize(
        "path",
        ["/api/v1/nosuch", "/api/v1", "/api/v1/", "/api/v2/motd", "/api/none", "/api",
         "/api/v1/proj", "/api/v1/proj/", "/api/v1/proj/list/more", "/api/v1/%00",
         "/api/V1/motd", "/api/v1/" + "x" * 3000],
    )  # fmt: skip
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    async def test_an_unknown_address_of_the_api(
        self, world: World, path: str, method: str
    ) -> None:
        answer = await world.http.request(method, path, headers={"X-CLI-Version": VERSION})
        assert answer.status_code == 404
        assert set(answer.json()) == {"message"}


async def test_a_fault_of_our_own_is_a_json_object_that_tells_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @get("/broken")
    async def broken() -> Response[None]:
        raise RuntimeError("secret detail")

    app = Litestar(
        [broken],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )
    async with AsyncTestClient(app, raise_server_exceptions=False) as client:
        answer = await client.get("/broken")
    assert answer.status_code == 500
    assert set(answer.json()) == {"message"}
    assert "secret detail" not in answer.text
    assert "request.broke" in capsys.readouterr().out


def test_there_are_two_editions() -> None:
    assert [edition.value for edition in Edition] == EDITIONS


@pytest.mark.parametrize(
    "path", ["//api/v1/motd", "/api//v1/motd", "/api/v1//motd", "/api/v1/motd/"]
)
async def test_needless_slashes_are_no_fault(world: World, path: str) -> None:
    request = httpx.Request("GET", f"http://ddsd.test{path}", headers={"X-CLI-Version": VERSION})
    transport = httpx.ASGITransport(world.app, raise_app_exceptions=False)  # type: ignore[arg-type]
    answer = await transport.handle_async_request(request)
    await answer.aread()
    assert answer.status_code in {200, 404}
    assert isinstance(answer.json(), dict)
