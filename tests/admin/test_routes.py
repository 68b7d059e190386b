"""What an operator can ask, answered by the real plane."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from ddsd import access
from ddsd.audit.tables import AuditEntry
from ddsd.contract import words
from ddsd.contract.admin import Status
from ddsd.db import revision
from ddsd.errors import NotFound
from ddsd.mail import outbox
from ddsd.mail.tables import Mail
from ddsd.planes.admin import present
from ddsd.projects import status
from ddsd.projects.status import Status as ProjectStatus
from ddsd.units import units
from ddsd.work import Work
from tests.admin.serving import AdminPlane, services_for, serving
from tests.builders import NOON, a_project, a_unit, a_user

GENOMICS = {
    "public_id": "genomics",
    "name": "Genomics Platform",
    "external_display_name": "Genomics",
    "contact_email": "delivery@example.org",
    "quota_bytes": 20_000_000_000_000,
}


async def audit(work: Work) -> list[tuple[str, str, str]]:
    """Return what the audit log says: actor, action, subject."""
    columns = AuditEntry.columns()
    query = select(columns.actor, columns.action, columns.subject).order_by(columns.id)
    return [
        (actor, action, subject) for actor, action, subject in await work.session.execute(query)
    ]


async def a_letter(work: Work) -> int:
    mail = await outbox.write(
        work,
        "one_time_code",
        "maria@example.org",
        secret=True,
        at_once=True,
        name="Maria Berg",
        username="maria",
        code="12345678",
        minutes="15",
    )
    return mail.id


@pytest.fixture
def sending(tmp_path: Path, sqlite_template: Path) -> Iterator[AdminPlane]:
    """A plane of a service that really sends mail."""
    services = services_for(tmp_path, sqlite_template, sends=True)
    with serving(tmp_path / "sending.sock", services) as served:
        yield served


def test_every_role_has_its_word() -> None:
    assert {word.name for word in words.Role} == {role.name for role in access.Role}
    assert set(present.ROLES.values()) == set(access.Role)


def test_status_counts_and_names_every_part(plane: AdminPlane, http: httpx.Client) -> None:
    async def arrange(work: Work) -> None:
        unit = await a_unit(work.session)
        await a_project(work.session, unit)
        await a_project(work.session, unit)
        await a_user(work.session)
        await a_letter(work)

    plane.work(arrange)
    seen = Status.model_validate(http.get("/status").json())
    assert (seen.units, seen.projects, seen.users) == (1, 2, 1)
    assert (seen.database.kind, seen.database.revision) == ("sqlite", revision.head())
    assert (seen.store.answers, seen.store.problem) == (True, "")
    assert (seen.mail.sends, seen.mail.letters["kept"]) == (False, 1)
    assert set(seen.jobs) == {"queued", "running", "done", "failed"}
    assert seen.facility == "Test Facility"
    assert seen.uptime_s >= 0


def test_status_tells_of_a_store_that_is_away_instead_of_failing(
    plane: AdminPlane, http: httpx.Client
) -> None:
    plane.store.away = True
    answer = http.get("/status")
    assert answer.status_code == 200
    assert answer.json()["store"]["answers"] is False
    assert answer.json()["store"]["problem"]


def test_status_tells_that_the_mail_server_refuses(sending: AdminPlane) -> None:
    async def arrange(work: Work) -> None:
        mail = await work.session.get_one(Mail, await a_letter(work))
        mail.attempts, mail.last_error = 2, "454 Relaying is not permitted."

    sending.work(arrange)
    transport = httpx.HTTPTransport(uds=str(sending.socket))
    with httpx.Client(transport=transport, base_url="http://ddsd/1", timeout=60) as client:
        told = Status.model_validate(client.get("/status").json())
    assert told.mail.problem == "454 Relaying is not permitted."


def test_the_revision_is_the_one_the_daemon_needs(plane: AdminPlane, http: httpx.Client) -> None:
    assert http.get("/db/revision").json() == {
        "database": plane.services.settings.database_url,
        "current": revision.head(),
        "head": revision.head(),
    }


def test_a_unit_is_made_listed_and_recorded(plane: AdminPlane, http: httpx.Client) -> None:
    made = http.post("/units", json=GENOMICS)
    assert made.status_code == 201
    assert made.json() == http.get("/units").json()[0]
    assert made.json()["internal_ref"] == "genomics"
    assert made.json()["quota_bytes"] == 20_000_000_000_000
    actor = f"operator {pwd.getpwuid(os.getuid()).pw_name} (uid {os.getuid()})"
    assert plane.work(audit) == [(actor, "unit.create", "genomics")]


def test_a_second_unit_of_that_name_is_refused_and_not_recorded(
    plane: AdminPlane, http: httpx.Client
) -> None:
    http.post("/units", json=GENOMICS)
    again = http.post("/units", json=GENOMICS)
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    assert len(plane.work(audit)) == 1


def test_a_unit_is_listed_with_what_it_has(plane: AdminPlane, http: httpx.Client) -> None:
    async def arrange(work: Work) -> None:
        unit = await a_unit(work.session, public_id="imaging")
        await a_unit(work.session, public_id="proteomics")
        await a_project(work.session, unit, bytes_stored=70)
        await a_project(work.session, unit, bytes_stored=30)
        await a_user(work.session, unit_id=unit.id, role=access.Role.UNIT_ADMIN)
        await a_user(work.session)

    plane.work(arrange)
    found = {one["public_id"]: one for one in http.get("/units").json()}
    have = ("users", "projects", "bytes_stored")
    assert [found["imaging"][key] for key in have] == [1, 2, 100]
    assert [found["proteomics"][key] for key in have] == [0, 0, 0]


def test_projects_are_listed_newest_first_with_status_and_deadline(
    plane: AdminPlane, http: httpx.Client
) -> None:
    async def arrange(work: Work) -> None:
        unit = await a_unit(work.session, public_id="imaging")
        await a_project(work.session, unit, title="Old")
        await a_project(
            work.session,
            unit,
            title="New",
            status=ProjectStatus.AVAILABLE,
            deadline=NOON + timedelta(days=30),
            created_at=NOON + timedelta(hours=1),
            file_count=3,
            bytes_stored=4_000_000_000_000,
        )

    plane.work(arrange)
    new, old = http.get("/projects").json()
    assert (new["title"], new["status"], new["unit"]) == ("New", "Available", "imaging")
    assert new["deadline"] == "2026-04-01T12:00:00Z"
    assert (new["file_count"], new["bytes_stored"]) == (3, 4_000_000_000_000)
    assert (old["title"], old["status"], old["deadline"]) == ("Old", "In Progress", None)


def test_projects_of_a_unit_are_only_its_own_and_an_unknown_unit_is_an_error(
    plane: AdminPlane, http: httpx.Client
) -> None:
    async def arrange(work: Work) -> None:
        await a_project(work.session, await a_unit(work.session, public_id="imaging"))
        await a_unit(work.session, public_id="empty")

    plane.work(arrange)
    assert len(http.get("/projects", params={"unit": "imaging"}).json()) == 1
    assert http.get("/projects", params={"unit": "empty"}).json() == []
    missing = http.get("/projects", params={"unit": "nowhere"})
    assert (missing.status_code, missing.json()["code"]) == (404, NotFound.code)


def test_letters_are_listed_newest_first_and_can_be_filtered(
    plane: AdminPlane, http: httpx.Client
) -> None:
    first, second = plane.work(a_letter), plane.work(a_letter)
    assert [one["id"] for one in http.get("/mails").json()] == [second, first]
    assert [one["id"] for one in http.get("/mails", params={"limit": 1}).json()] == [second]
    assert http.get("/mails", params={"recipient": "other@example.org"}).json() == []


def test_a_letter_is_shown_where_mail_is_only_kept(plane: AdminPlane, http: httpx.Client) -> None:
    shown = http.get(f"/mails/{plane.work(a_letter)}").json()
    assert "12345678" in shown["text"]
    assert shown["mail"]["state"] == "kept"


def test_a_secret_letter_is_withheld_where_mail_is_sent(sending: AdminPlane) -> None:
    number = sending.work(a_letter)
    transport = httpx.HTTPTransport(uds=str(sending.socket))
    with httpx.Client(transport=transport, base_url="http://ddsd/1", timeout=60) as client:
        answer = client.get(f"/mails/{number}")
        listed = client.get("/mails")
    assert answer.json()["withheld"]
    assert "12345678" not in answer.text + listed.text


def test_a_letter_that_is_not_there_is_not_found(http: httpx.Client) -> None:
    assert http.get("/mails/7").status_code == 404


def test_limits_of_units_are_those_of_projects() -> None:
    assert units.MAX_DAYS_AVAILABLE == status.MAX_DAYS_AVAILABLE
    assert units.MAX_DAYS_EXPIRED == status.MAX_DAYS_EXPIRED
