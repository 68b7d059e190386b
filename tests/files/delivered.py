"""Projects with files and their objects, made without a client, for tests of what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from ddsd.access import Member, Role, System
from ddsd.files import registration
from ddsd.files.registration import NewFile, Upload
from ddsd.files.tables import StoredFile
from ddsd.projects.tables import Project
from ddsd.storage.memory import MemoryStore
from ddsd.work import Services, reading, transaction
from tests.builders import a_project, a_unit, a_user

STORED = b"stored bytes"


@dataclass(frozen=True)
class Delivery:
    """A project, and somebody of its unit."""

    project: Project
    member: Member


def store_of(services: Services) -> MemoryStore:
    """Return the store, to look into it."""
    assert isinstance(services.store, MemoryStore)
    return services.store


def key_of(name: str) -> str:
    """Return the key of a file's object."""
    return f"key-of-{name.replace('/', '-')}"


async def a_delivery(services: Services, names: Iterable[str] = (), **fields: Any) -> Delivery:
    """Make a project with these files, stored and registered."""
    async with transaction(services, System()) as work:
        unit = await a_unit(work.session)
        user = await a_user(work.session, role=Role.UNIT_ADMIN, unit_id=unit.id)
        project = await a_project(work.session, unit)
    member = Member(user.id, user.uid, user.username, user.name, user.role, unit.id, 1)
    delivery = Delivery(project, member)
    await services.store.ensure_bucket(project.bucket)
    await add_files(services, delivery, names)
    if fields:
        async with transaction(services, System()) as work:
            row = await work.session.get_one(Project, project.id)
            for column, value in fields.items():
                setattr(row, column, value)
    return delivery


async def add_files(
    services: Services, delivery: Delivery, names: Iterable[str], *, store: bool = True
) -> None:
    """Register files of 1000 original bytes, and store their objects before."""
    uploads = [Upload(delivery.project.id, _new(name), delivery.member) for name in names]
    if store:
        for upload in uploads:
            key = upload.new.name_in_bucket
            await services.store.put(delivery.project.bucket, key, STORED)
    async with transaction(services, System()) as work:
        refusals = await registration.add_all(work, delivery.project.id, uploads)
    assert [one for one in refusals if one] == []


async def names_in(services: Services, delivery: Delivery) -> list[str]:
    """Return the names of the project's files."""
    table = StoredFile.columns()
    async with reading(services, System()) as work:
        found = await work.session.scalars(
            select(table.name).where(table.project_id == delivery.project.id).order_by(table.name)
        )
        return list(found)


async def keys_in(services: Services, delivery: Delivery) -> list[str]:
    """Return the keys of the project's objects."""
    return [one.key async for one in services.store.list_objects(delivery.project.bucket)]


def _new(name: str) -> NewFile:
    return NewFile(name, key_of(name), 1000, len(STORED), True, "A" * 32, "B" * 64, "c" * 64)
