"""Accounts, made and listed by an operator."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import select

from ddsd.audit.tables import AuditEntry
from ddsd.users.tables import OneTimeLink
from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.admin.test_routes import GENOMICS

MARIA = {
    "username": "maria",
    "name": "Maria Berg",
    "email": "Maria@Example.org",
    "role": "unit-admin",
    "unit": "genomics",
}


def test_an_account_is_made_with_a_link_that_only_the_answer_holds(
    plane: AdminPlane, http: httpx.Client
) -> None:
    http.post("/units", json=GENOMICS)
    made = http.post("/users", json=MARIA)
    assert made.status_code == 201
    assert made.json()["username"] == "maria"
    secret = made.json()["link"].partition("#")[2]
    assert len(secret) >= 40
    assert made.json()["link_hours"] == 72

    async def stored(work: Work) -> bytes | None:
        return await work.session.scalar(select(OneTimeLink.columns().secret_hash))

    found = plane.work(stored)
    assert found is not None
    assert secret.encode() not in found


def test_an_account_is_recorded_with_the_operator_who_made_it(
    plane: AdminPlane, http: httpx.Client
) -> None:
    http.post("/units", json=GENOMICS)
    http.post("/users", json=MARIA)

    async def recorded(work: Work) -> list[AuditEntry]:
        columns = AuditEntry.columns()
        query = select(AuditEntry).where(columns.action == "user.create")
        return list(await work.session.scalars(query))

    (entry,) = plane.work(recorded)
    assert entry.subject == "maria"
    assert entry.actor.startswith("operator ")


def test_accounts_are_listed_of_all_units_or_of_one(plane: AdminPlane, http: httpx.Client) -> None:
    http.post("/units", json=GENOMICS)
    http.post("/users", json=MARIA)
    http.post(
        "/users",
        json=MARIA
        | {
            "username": "root-of-all",
            "email": "r@example.org",
            "role": "super-admin",
            "unit": None,
        },
    )
    everybody = http.get("/users").json()
    assert [(one["username"], one["role"], one["unit"]) for one in everybody] == [
        ("maria", "unit-admin", "genomics"),
        ("root-of-all", "super-admin", None),
    ]
    assert everybody[0]["email"] == "maria@example.org"
    assert everybody[0]["has_password"] is False
    assert [one["username"] for one in http.get("/users", params={"unit": "genomics"}).json()] == [
        "maria"
    ]


@pytest.mark.parametrize(
    ("change", "answered", "code"),
    [
        ({"unit": "nowhere"}, 404, "not_found"),
        ({"unit": None}, 400, "invalid_input"),
        ({"role": "researcher"}, 400, "invalid_input"),
        ({"role": "Unit Admin"}, 400, "invalid_input"),
        ({"email": "maria"}, 400, "invalid_fields"),
        ({"password": "secret"}, 400, "invalid_input"),
    ],
)
def test_an_account_that_does_not_fit_is_refused(
    http: httpx.Client, change: dict[str, str | None], answered: int, code: str
) -> None:
    http.post("/units", json=GENOMICS)
    answer = http.post("/users", json=MARIA | change)
    assert (answer.status_code, answer.json()["code"]) == (answered, code)
    assert http.get("/users").json() == []
