"""Projects in any state of life, with what they have in the store, for tests of the lifecycle."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from ddsd.access import Member, Role, System
from ddsd.files.tables import FileVersion, Folder, StoredFile
from ddsd.jobs.runner import Handler
from ddsd.jobs.tables import Job, JobState
from ddsd.keys.tables import KeyWrap
from ddsd.lifecycle import deadlines, endings
from ddsd.projects.status import Status
from ddsd.projects.tables import Membership, Project, StatusEntry
from ddsd.units.tables import Unit
from ddsd.users.tables import User
from ddsd.work import Services, Work, reading, transaction
from tests.builders import NOON, a_project, a_unit, a_user

HANDLERS: dict[str, Handler] = {
    endings.END_PROJECT: endings.end_project,
    deadlines.FOLLOW_DEADLINES: deadlines.follow_deadlines,
}


def member(user: User, role: Role, unit_id: int | None) -> Member:
    """Return an account as it acts."""
    return Member(user.id, user.uid, user.username, user.name, role, unit_id, 1)


async def a_life(work: Work, status: Status, unit: Unit | None = None, **fields: Any) -> Project:
    """Add a project that has come to ``status`` in the usual way; its deadline is a week away."""
    unit = unit or await a_unit(work.session)
    usual: dict[str, Any] = {"status": status, "public_key": b"k" * 32, "description": "What"}
    if status is not Status.IN_PROGRESS:
        usual["released_at"] = NOON
    if status in {Status.AVAILABLE, Status.EXPIRED}:
        usual["deadline"] = NOON + timedelta(days=7)
    if status in {Status.ARCHIVED, Status.DELETED}:
        usual["active"] = False
    project = await a_project(work.session, unit, **usual | fields)
    work.session.add(StatusEntry(project_id=project.id, status=status, at=NOON))
    await work.session.flush()
    return project


async def fill(services: Services, project_id: int, files: int = 3) -> None:
    """Give the project files with objects, an object nobody registered, a researcher, and a wrap of its key."""
    async with transaction(services, System()) as work:
        project = await work.session.get_one(Project, project_id)
        await _register(work, project, files)
        user = await a_user(work.session)
        work.session.add(Membership(project_id=project_id, user_id=user.id))
        work.session.add(
            KeyWrap(project_id=project_id, user_id=user.id, blob=b"w", created_at=work.now)
        )
        bucket = project.bucket
    await services.store.ensure_bucket(bucket)
    for number in range(files):
        await services.store.put(bucket, f"key{number}", b"12345")
    await services.store.put(bucket, "left behind", b"1")


async def _register(work: Work, project: Project, files: int) -> None:
    root = Folder(project_id=project.id, path=".", file_count=files, bytes_original=files * 10)
    work.session.add(root)
    await work.session.flush()
    for number in range(files):
        file = StoredFile(
            project_id=project.id,
            folder_id=root.id,
            name=f"f{number}",
            name_in_bucket=f"key{number}",
            size_original=10,
            size_stored=5,
            compressed=True,
            salt="A" * 32,
            public_key="B" * 64,
            checksum="c" * 64,
            uploaded_at=NOON,
        )
        work.session.add(file)
        await work.session.flush()
        work.session.add(
            FileVersion(project_id=project.id, file_id=file.id, size_stored=5, uploaded_at=NOON)
        )
    project.file_count, project.bytes_stored, project.bytes_original = files, files * 5, files * 10


async def find(services: Services, project_id: int) -> Project:
    """Return the project as it is now."""
    async with reading(services, System()) as work:
        return await work.session.get_one(Project, project_id)


async def entries(services: Services, project_id: int) -> list[Status]:
    """Return the project's history, oldest first."""
    table = StatusEntry.columns()
    async with reading(services, System()) as work:
        found = await work.session.execute(
            select(table.status).where(table.project_id == project_id).order_by(table.id)
        )
        return list(found.scalars())


async def run_jobs(services: Services) -> list[str]:
    """Run what is queued of the lifecycle to its end, as a runner would, one at a time; return what ran."""
    ran: list[str] = []
    table = Job.columns()
    while True:
        async with transaction(services, System()) as work:
            found = await work.session.execute(
                select(Job)
                .where(table.state == JobState.QUEUED, table.kind.in_(HANDLERS))
                .order_by(table.id)
                .limit(1)
            )
            job = found.scalar_one_or_none()
            if job is None:
                return ran
            job.state = JobState.RUNNING
            number, kind, subject = job.id, job.kind, job.subject
        await HANDLERS[kind](services, subject)
        ran.append(f"{kind} {subject}")
        async with transaction(services, System()) as work:
            (await work.session.get_one(Job, number)).state = JobState.DONE


async def night(services: Services) -> list[str]:
    """Follow the deadlines, and do what comes of it."""
    await deadlines.follow_deadlines(services, "all")
    return await run_jobs(services)
