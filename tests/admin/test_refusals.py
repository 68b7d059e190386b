"""Every way the domain says no has its status and its body, and nothing else gets out."""

from __future__ import annotations

import httpx
import pytest
from litestar.testing import RequestFactory

from ddsd import errors
from ddsd.planes.admin.refusals import STATUSES, domain_error
from tests.admin.serving import AdminPlane


def every_error(kind: type[errors.DdsError] = errors.DdsError) -> set[type[errors.DdsError]]:
    """Return the class and everything below it, as far as ``ddsd.errors`` defines it."""
    below = {one for sub in kind.__subclasses__() for one in every_error(sub)}
    return {one for one in {kind, *below} if one.__module__ == errors.__name__}


def test_every_error_of_the_domain_has_a_status() -> None:
    assert every_error() == set(STATUSES)


def test_an_error_defined_by_a_slice_gets_the_status_of_the_error_it_refines() -> None:
    class OutOfPaper(errors.StoreUnavailable):
        code = "out_of_paper"

    answer = domain_error(RequestFactory().get("/"), OutOfPaper("no paper", sheets=0))
    assert answer.status_code == 503
    assert answer.content.model_dump() == {
        "code": "out_of_paper",
        "message": "no paper",
        "facts": {"sheets": 0},
    }


def test_fields_that_do_not_fit_are_named_one_by_one(http: httpx.Client) -> None:
    answer = http.post(
        "/units",
        json={
            "public_id": "-x",
            "name": "",
            "external_display_name": "X",
            "contact_email": "nobody",
        },
    )
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_fields"
    assert set(answer.json()["facts"]) == {"public_id", "name", "contact_email"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"public_id": "x"}',
        b'{"public_id": "x", "name": "X", "external_display_name": "X", "contact_email": "x@example.org", "colour": 1}',
        b'{"public_id": 7, "name": "X", "external_display_name": "X", "contact_email": "x@example.org"}',
        b"\xff\xfe",
    ],
)
def test_a_body_that_does_not_fit_is_refused(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/units", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_input"
    assert answer.json()["message"]


def test_a_huge_body_is_refused(http: httpx.Client) -> None:
    body = b'{"name": "' + b"x" * 2_000_000 + b'"}'
    answer = http.post("/units", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_an_unknown_path_asks_whether_the_versions_fit(http: httpx.Client) -> None:
    answer = http.get("/colours")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "same version" in answer.json()["message"]


def test_another_method_is_refused_in_the_same_shape(http: httpx.Client) -> None:
    answer = http.delete("/units")
    assert answer.status_code == 405
    assert set(answer.json()) == {"code", "message", "facts"}


@pytest.mark.parametrize("limit", ["0", "1001", "many"])
def test_a_limit_out_of_range_is_refused(http: httpx.Client, limit: str) -> None:
    answer = http.get("/mails", params={"limit": limit})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    assert "limit" in answer.json()["message"]


def test_a_database_that_was_never_migrated_shows_no_traceback(
    plane: AdminPlane, http: httpx.Client
) -> None:
    async def drop() -> None:
        async with plane.services.database.engine.begin() as connection:
            await connection.exec_driver_sql("DROP TABLE units")

    plane.run(drop())
    answer = http.get("/units")
    assert answer.status_code >= 500
    assert set(answer.json()) == {"code", "message", "facts"}
    assert "Traceback" not in answer.text
    assert "SELECT" not in answer.text
