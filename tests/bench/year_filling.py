"""A facility after a year: rows that the database makes itself, since a client would take days."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Select, func, insert, select, text

from ddsd.access import Role, System
from ddsd.files.tables import StoredFile
from ddsd.projects.status import Status
from ddsd.projects.tables import Membership, Project, StatusEntry
from ddsd.units.tables import Unit
from ddsd.users.tables import Invite, User, UserEmail
from ddsd.work import Services, Work, transaction
from tests.bench import filling
from tests.builders import NOON, a_unit

PEOPLE_OF_A_UNIT: Final = 5
_INVITES: Final = 200
_SAID: Final = "project"
_NUMBERS: Final = (
    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count) "
)
_FILES: Final = """
INSERT INTO files (project_id, folder_id, name, name_in_bucket, size_original, size_stored,
                   compressed, salt, public_key, checksum, uploaded_at)
{numbers}
SELECT p.id, f.id, 'run/sample_' || n.i || '.fastq.gz', 'run/1a2b3c_sample_' || n.i || '.fastq.gz',
       1000000, 500000, {true}, '00', '00', '00', p.created_at
FROM projects p JOIN folders f ON f.project_id = p.id AND f.path = 'run' CROSS JOIN n
WHERE p.file_count > 0
"""
_FOLDERS: Final = """
INSERT INTO folders (project_id, parent_id, path, file_count, bytes_original)
SELECT p.id, {parent}, '{path}', p.file_count, p.bytes_original FROM projects p {joined}
WHERE p.file_count > 0
"""
_VERSIONS_OF_FILES: Final = """
INSERT INTO file_versions (project_id, file_id, size_stored, uploaded_at)
SELECT project_id, id, size_stored, uploaded_at FROM files
"""
_REMOVED_VERSIONS: Final = """
INSERT INTO file_versions (project_id, size_stored, uploaded_at, removed_at)
{numbers}
SELECT p.id, 500000, p.created_at, p.updated_at FROM projects p CROSS JOIN n
WHERE p.status = 'Archived' AND p.id > :after
"""
_DOWNLOADS: Final = """
INSERT INTO downloads (file_id, user_id, project_id, at)
SELECT f.id, m.user_id, f.project_id, f.uploaded_at
FROM files f JOIN projects p ON p.id = f.project_id
JOIN memberships m ON m.project_id = p.id AND m.owner = {true}
WHERE p.status = 'Available' AND p.id % 4 = 1
"""
_MAILS: Final = """
INSERT INTO mails (kind, recipient, about, subject, secret, message_id, state, attempts,
                   created_at, sent_at, last_error)
{numbers}
SELECT 'project_release', 'user' || (n.i % 500) || '@example.org', '', 'Released', {false},
       'letter' || n.i, 'sent', 1, p.created_at, p.created_at, ''
FROM projects p CROSS JOIN n
"""
_JOBS: Final = """
INSERT INTO jobs (kind, subject, state, attempts, run_after, claimed_by, created_at, finished_at,
                  last_error, done, total)
{numbers}
SELECT 'send_mail', 'letter' || p.id || '-' || n.i, 'done', 1, p.created_at, '', p.created_at,
       p.created_at, '', 0, 0
FROM projects p CROSS JOIN n
"""


@dataclass(frozen=True)
class Facility:
    """How much there is: ``over`` projects are Archived, ``live`` ones are not, each with so many versions."""

    units: int
    people: int
    over: int
    live: int
    files_live: int
    versions_over: int

    @classmethod
    def at(cls, scale: float) -> Facility:
        """Return a whole facility's year, or a part of it: fewer projects, each as large."""
        return cls(20, 500, int(4500 * scale), int(500 * scale), 2000, 222)

    @property
    def versions(self) -> int:
        """How many versions there are."""
        return self.live * self.files_live + self.over * self.versions_over


async def fill(services: Services, facility: Facility) -> None:
    """Put the facility into an empty database."""
    async with transaction(services, System()) as work:
        units = [await a_unit(work.session, quota_bytes=10**15) for _ in range(facility.units)]
        await _people(work, facility, [unit.id for unit in units])
        await _projects(work, facility)
        await _invites(work)
        await _run(work, _FOLDERS.format(parent="NULL", path=".", joined=""))
        root = "JOIN folders r ON r.project_id = p.id AND r.path = '.'"
        await _run(work, _FOLDERS.format(parent="r.id", path="run", joined=root))
        await _run(work, _FILES, count=facility.files_live)
        await _run(work, _VERSIONS_OF_FILES)
        await _run(work, _DOWNLOADS)
        await _run(work, _MAILS, count=10)
        await _run(work, _JOBS, count=10)
    await _remove_versions(services, facility, after=0)
    await _analyse(services)


async def archive_as_much_again(services: Services, facility: Facility) -> None:
    """Double what is over: as many projects and versions as there are, all of them counted and closed."""
    async with transaction(services, System()) as work:
        last = await work.session.scalar(select(func.max(Project.columns().id)))
        rows = await _placed(
            work, range(facility.over + facility.live, 2 * facility.over + facility.live)
        )
        over = [_over(row) | {"usage_closed_at": work.now} for row in rows]
        await work.session.execute(insert(Project), over)
    await _remove_versions(services, facility, after=last or 0)
    await _analyse(services)


async def let_expire(services: Services, count: int) -> None:
    """Add Available projects with researchers whose deadline is over."""
    async with transaction(services, System()) as work:
        rows = await _placed(work, range(10**6, 10**6 + count))
        passed = {"status": Status.AVAILABLE, "deadline": work.now - timedelta(seconds=1)}
        released = {"released_at": work.now - timedelta(days=30)}
        made = await work.session.execute(
            insert(Project).returning(Project.columns().id),
            [row | passed | released for row in rows],
        )
        await _members(work, [int(one) for (one,) in made])


async def a_bucket(services: Services, directory: Path, objects: int) -> str:
    """Make a project with so many registered files and their objects on disk; return its public id."""
    async with transaction(services, System()) as work:
        [row] = await _placed(work, range(2 * 10**6, 2 * 10**6 + 1))
        await work.session.execute(insert(Project), [row])
    public_id = str(row["public_id"])
    await filling.fill_project(services, public_id, objects)
    async with transaction(services, System()) as work:
        table, project = StoredFile.columns(), Project.columns()
        found = await work.session.scalars(
            select(table.name_in_bucket)
            .join(Project, project.id == table.project_id)
            .where(project.public_id == public_id)
        )
        store_objects(directory / str(row["bucket"]), found.all())
        await _run(
            work,
            f"{_VERSIONS_OF_FILES} WHERE project_id = (SELECT id FROM projects WHERE public_id = '{public_id}')",
        )
    return public_id


def store_objects(bucket: Path, keys: Iterable[str]) -> None:
    """Write objects of 500 bytes below a bucket's directory that no store has seen yet."""
    for key in keys:
        path = bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(500))


async def live_buckets(services: Services) -> list[str]:
    """Return the buckets of the projects that are not over."""
    async with transaction(services, System()) as work:
        table = Project.columns()
        found = await work.session.scalars(select(table.bucket).where(table.active.is_(True)))
        return list(found)


async def _people(work: Work, facility: Facility, units: list[int]) -> None:
    rows = [_person(number, units, work.now) for number in range(facility.people)]
    made = await work.session.execute(
        insert(User).returning(User.columns().id, User.columns().username), rows
    )
    emails = [
        {"user_id": one, "email": f"{name}@example.org", "is_primary": True} for one, name in made
    ]
    await work.session.execute(insert(UserEmail), emails)


def _person(number: int, units: list[int], now: datetime) -> dict[str, object]:
    works = number < len(units) * PEOPLE_OF_A_UNIT
    rank, unit = divmod(number, len(units))
    role = Role.UNIT_ADMIN if rank < 2 else Role.UNIT_PERSONNEL
    return {
        "uid": f"{number:032x}",
        "username": f"user{number}",
        "username_folded": f"user{number}",
        "name": f"User {number}",
        "role": role if works else Role.RESEARCHER,
        "unit_id": units[unit] if works else None,
        "created_at": now,
    }


async def _projects(work: Work, facility: Facility) -> None:
    over = await _placed(work, range(facility.over))
    made = await work.session.execute(
        insert(Project).returning(Project.columns().id), [_over(row) for row in over]
    )
    await _members(work, [int(one) for (one,) in made])
    live = await _placed(work, range(facility.over, facility.over + facility.live))
    rows = [_live(row, number, facility.files_live, work.now) for number, row in enumerate(live)]
    made = await work.session.execute(insert(Project).returning(Project.columns().id), rows)
    ids = [int(one) for (one,) in made]
    await _members(work, ids)
    await _run(
        work,
        "INSERT INTO key_wraps (project_id, user_id, blob, created_at) "
        "SELECT p.id, u.id, p.bucket_blob, p.created_at FROM "
        "(SELECT id, unit_id, created_at, {blob} AS bucket_blob FROM projects WHERE active = {true}) p "
        "JOIN users u ON u.unit_id = p.unit_id",
    )


async def _placed(work: Work, numbers: range) -> list[dict[str, object]]:
    """Return rows of projects, spread over the units and the year."""
    units = list(await work.session.scalars(select(Unit.columns().id).order_by(Unit.columns().id)))
    year = timedelta(days=360)
    return [
        {
            "public_id": f"{_SAID}{number:07d}",
            "unit_id": units[number % len(units)],
            "title": f"Project number {number}",
            "pi": "pi@example.org",
            "bucket": f"{_SAID}{number:07d}-260302120000000000-0123abcd",
            "status": Status.IN_PROGRESS,
            "created_at": NOON - year + year * at / len(numbers),
            "updated_at": NOON - year + year * at / len(numbers),
        }
        for at, number in enumerate(numbers)
    ]


def _over(row: dict[str, object]) -> dict[str, object]:
    created = row["created_at"]
    assert isinstance(created, datetime)
    ended = min(created + timedelta(days=100), NOON - timedelta(days=3))
    return row | {"status": Status.ARCHIVED, "active": False, "updated_at": ended}


def _live(row: dict[str, object], number: int, files: int, now: datetime) -> dict[str, object]:
    """Half of them In Progress; of the others three are due, and the rest within ninety days."""
    counted = {
        "file_count": files,
        "bytes_stored": files * 500_000,
        "bytes_original": files * 10**6,
    }
    if number % 2 == 0:
        return row | counted | {"status": Status.IN_PROGRESS, "deadline": None, "released_at": None}
    deadline = now - timedelta(seconds=1) if number < 6 else now + timedelta(days=1 + number % 89)
    released = {"released_at": now - timedelta(days=60)}
    return row | counted | released | {"status": Status.AVAILABLE, "deadline": deadline}


async def _members(work: Work, ids: list[int]) -> None:
    """Give each project two researchers, of whom one owns it, and its history."""
    table = User.columns()
    people = list(await work.session.scalars(select(table.id).where(table.role == Role.RESEARCHER)))
    await work.session.execute(
        insert(Membership),
        [
            {"project_id": one, "user_id": people[(one + other) % len(people)], "owner": not other}
            for one in ids
            for other in (0, 1)
        ],
    )
    await work.session.execute(insert(StatusEntry).from_select(*_history(ids)))


def _history(ids: list[int]) -> tuple[list[str], Select[tuple[object, ...]]]:
    table = Project.columns()
    chosen: Select[tuple[object, ...]] = select(
        table.id, table.status, table.deadline, table.created_at
    ).where(table.id.between(min(ids), max(ids)))
    return ["project_id", "status", "deadline", "at"], chosen


async def _invites(work: Work) -> None:
    """Let somebody be invited to many of the projects that are not over."""
    table = Project.columns()
    chosen = select(table.id).where(table.active.is_(True)).order_by(table.id).limit(_INVITES)
    ids = [int(one) for one in await work.session.scalars(chosen)]
    invites = [_invite(number, work.now) for number in range(len(ids))]
    made = await work.session.execute(insert(Invite).returning(Invite.columns().id), invites)
    places = [
        {"project_id": project, "invite_id": invite, "owner": False}
        for project, (invite,) in zip(ids, made, strict=True)
    ]
    await work.session.execute(insert(Membership), places)


def _invite(number: int, now: datetime) -> dict[str, object]:
    return {
        "uid": f"{number:032x}",
        "email": f"invited{number}@example.org",
        "role": Role.RESEARCHER,
        "secret_hash": number.to_bytes(32),
        "public_key": b"",
        "sealed_private_key": b"",
        "created_at": now,
        "expires_at": now + timedelta(days=7),
    }


async def _remove_versions(services: Services, facility: Facility, *, after: int) -> None:
    async with transaction(services, System()) as work:
        await _run(work, _REMOVED_VERSIONS, count=facility.versions_over, after=after)


async def _run(work: Work, statement: str, **values: int) -> None:
    """Run a statement that makes rows, in the words of this database."""
    postgresql = work.session.get_bind().dialect.name == "postgresql"
    words = {
        "numbers": _NUMBERS,
        "true": "true" if postgresql else "1",
        "false": "false" if postgresql else "0",
        "blob": "'\\x01'::bytea" if postgresql else "x'01'",
    }
    for word, said in words.items():
        statement = statement.replace(f"{{{word}}}", said)
    await work.session.execute(text(statement), values)


async def _analyse(services: Services) -> None:
    """Let the database know its tables, as it does by itself in the course of a year."""
    async with transaction(services, System()) as work:
        await work.session.execute(text("ANALYZE"))
