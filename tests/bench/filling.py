"""What is measured on: people, projects and files, put straight into the database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import delete, insert, select, update

from ddsd.access import Role, System
from ddsd.db.base import METADATA
from ddsd.files.tables import Folder
from ddsd.keys.hierarchy import new_salt
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.units.tables import Unit
from ddsd.users import passwords
from ddsd.users.tables import User, UserEmail
from ddsd.work import Services, Work, transaction
from tests.builders import a_unit, a_user
from tests.world import EMAIL, PASSWORD

PER_FOLDER = 1000
IN_ROOT = 100
_ROWS = 5000


def projects_admin(count: int) -> str:
    """Return the name of the unit admin whose unit has so many projects."""
    return f"lists{count}"


async def units_of_many(services: Services, counts: tuple[int, ...]) -> None:
    """Make for each count a unit with an admin and so many empty projects, the admin holding their keys."""
    salt, cost = new_salt(), services.deriver.cost
    split = await services.deriver.derive(SecretText(PASSWORD), salt, cost)
    for count in counts:
        name = projects_admin(count)
        async with transaction(services, System()) as work:
            unit = await a_unit(work.session, public_id=name, name=name, internal_ref=name)
            user = await a_user(
                work.session,
                username=name,
                email=EMAIL.format(name),
                role=Role.UNIT_ADMIN,
                unit_id=unit.id,
            )
            passwords.set_first(work, user, split, salt, cost)
            await work.session.flush()
            rows = [_project(name, number, unit.id, user.id, work) for number in range(count)]
            made = await work.session.execute(insert(Project).returning(Project.columns().id), rows)
            wraps = [
                {
                    "project_id": one,
                    "user_id": user.id,
                    "blob": b"\x01" * 80,
                    "created_at": work.now,
                }
                for (one,) in made
            ]
            await work.session.execute(insert(METADATA.tables["key_wraps"]), wraps)


async def members(services: Services, unit_public_id: str, count: int) -> None:
    """Give a unit so many members more, who have no password yet."""
    async with transaction(services, System()) as work:
        unit = Unit.columns()
        found = await work.session.execute(select(unit.id).where(unit.public_id == unit_public_id))
        unit_id = int(found.scalar_one())
        rows = [_member(work, number, unit_id) for number in range(count)]
        made = await work.session.execute(
            insert(User).returning(User.columns().id, User.columns().username), rows
        )
        emails = [
            {"user_id": user_id, "email": EMAIL.format(name), "is_primary": True}
            for user_id, name in made
        ]
        await work.session.execute(insert(UserEmail), emails)


async def fill_unit(services: Services, admin: str, files: int) -> None:
    """Spread so many files over the projects of a unit."""
    async with transaction(services, System()) as work:
        table = Project.columns()
        found = await work.session.execute(
            select(table.id).where(table.public_id.startswith(f"{admin}-")).order_by(table.id)
        )
        ids = [int(one) for (one,) in found]
        for project_id in ids:
            await _fill(work, project_id, files // len(ids))


async def fill_project(services: Services, public_id: str, files: int) -> None:
    """Give a project exactly so many files: 100 in the root, the others in folders of 1000."""
    async with transaction(services, System()) as work:
        table = Project.columns()
        found = await work.session.execute(select(table.id).where(table.public_id == public_id))
        project_id = int(found.scalar_one())
        for name in ("file_versions", "files", "folders"):
            rows = METADATA.tables[name]
            await work.session.execute(delete(rows).where(rows.c.project_id == project_id))
        await _fill(work, project_id, files)


async def _fill(work: Work, project_id: int, files: int) -> None:
    names = list(_names(files))
    counts: dict[str, int] = {}
    for name in names:
        folder = name.rpartition("/")[0] or "."
        counts[folder] = counts.get(folder, 0) + 1
    root = await _folder(work, project_id, None, ".", files)
    ids = {
        path: root if path == "." else await _folder(work, project_id, root, path, count)
        for path, count in counts.items()
    }
    for start in range(0, files, _ROWS):
        rows = [
            _file(work, project_id, ids[name.rpartition("/")[0] or "."], name)
            for name in names[start : start + _ROWS]
        ]
        await work.session.execute(insert(METADATA.tables["files"]), rows)
    table = Project.columns()
    await work.session.execute(
        update(Project)
        .where(table.id == project_id)
        .values(file_count=files, bytes_stored=files * 500, bytes_original=files * 1000)
    )


async def _folder(work: Work, project_id: int, parent: int | None, path: str, files: int) -> int:
    made = await work.session.execute(
        insert(Folder)
        .values(
            project_id=project_id,
            parent_id=parent,
            path=path,
            file_count=files,
            bytes_original=files * 1000,
        )
        .returning(Folder.columns().id)
    )
    return int(made.scalar_one())


def _names(files: int) -> Iterator[str]:
    in_root = min(IN_ROOT, files // 10)
    yield from (f"root{number:06d}.txt" for number in range(in_root))
    for number in range(files - in_root):
        yield f"d{number // PER_FOLDER:03d}/f{number:06d}.txt"


def _file(work: Work, project_id: int, folder_id: int, name: str) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "folder_id": folder_id,
        "name": name,
        "name_in_bucket": f"{name}_3f2c1d0a-8f0e-4a53-9e0b-6c1f3d5b7a90",
        "size_original": 1000,
        "size_stored": 500,
        "compressed": True,
        "salt": "A" * 32,
        "public_key": "B" * 64,
        "checksum": "c" * 64,
        "uploaded_at": work.now,
    }


def _member(work: Work, number: int, unit_id: int) -> dict[str, Any]:
    name = f"member{number:05d}"
    return {
        "uid": uuid.uuid4().hex,
        "username": name,
        "username_folded": name,
        "name": f"Member {number}",
        "role": Role.UNIT_PERSONNEL,
        "unit_id": unit_id,
        "created_at": work.now,
    }


def _project(unit: str, number: int, unit_id: int, user_id: int, work: Work) -> dict[str, Any]:
    return {
        "public_id": f"{unit}-{number:05d}",
        "unit_id": unit_id,
        "title": f"Project number {number}",
        "pi": "pi@example.org",
        "bucket": f"{unit}-{number:05d}-bucket",
        "status": Status.IN_PROGRESS,
        "created_by": user_id,
        "created_at": work.now,
        "updated_at": work.now,
    }
