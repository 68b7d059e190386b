"""Released projects with files and researchers, straight in the database, and what became of their letters."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from ddsd.access import Member, Operator, Role, System
from ddsd.files import downloads
from ddsd.files.tables import Folder, StoredFile
from ddsd.jobs import queue
from ddsd.mail import outbox
from ddsd.mail.tables import Mail
from ddsd.notices import reminders
from ddsd.notices.reminders import Ending
from ddsd.projects.status import Status, deadline_after
from ddsd.projects.tables import Membership, Project, StatusEntry
from ddsd.units.tables import Unit
from ddsd.users.tables import User
from ddsd.work import Services, reading, transaction
from tests.builders import a_project, a_unit, a_user

ROOT = Operator(0, "root")
FILES = ("a", "b", "c")


@dataclass
class Delivery:
    """A project that is Available for 20 days from when it was made, with :data:`FILES`."""

    services: Services
    unit: Unit
    project: Project
    people: dict[str, User] = field(default_factory=dict)

    @property
    def deadline(self) -> datetime:
        """When it ends."""
        assert self.project.deadline is not None
        return self.project.deadline

    async def join(self, name: str, **fields: Any) -> None:
        """Let somebody new in."""
        async with transaction(self.services, System()) as work:
            user = await a_user(work.session, email=f"{name}@example.org", **fields)
            work.session.add(Membership(project_id=self.project.id, user_id=user.id))
        self.people[name] = user

    async def fetch(self, name: str, *files: str) -> None:
        """Report that somebody has fetched these files."""
        user = self.people[name]
        member = Member(user.id, user.uid, user.username, user.name, Role.RESEARCHER, None, 1)
        async with transaction(self.services, member) as work:
            project = await work.session.get_one(Project, self.project.id)
            for file in files:
                await downloads.note(work, project, file)

    async def change(self, **columns: Any) -> None:
        """Change the project's row."""
        async with transaction(self.services, System()) as work:
            project = await work.session.get_one(Project, self.project.id)
            for name, value in columns.items():
                setattr(project, name, value)
            self.project = project

    def days_before(self, days: int, hour: int = 8) -> datetime:
        """Return this hour, so many days before the deadline's day."""
        day = self.deadline - timedelta(days=days)
        return day.replace(hour=hour, minute=0, second=0)


async def a_delivery(
    services: Services, *people: str, unit: Unit | None = None, days: int = 20
) -> Delivery:
    """Make one, with these researchers."""
    async with transaction(services, System()) as work:
        unit = unit or await a_unit(work.session)
        deadline = deadline_after(work.now, days)
        project = await a_project(
            work.session,
            await work.session.get_one(Unit, unit.id),
            status=Status.AVAILABLE,
            deadline=deadline,
            file_count=len(FILES),
            released_at=work.now,
        )
        work.session.add(
            StatusEntry(
                project_id=project.id, status=Status.AVAILABLE, deadline=deadline, at=work.now
            )
        )
        root = Folder(project_id=project.id, path=".", file_count=len(FILES))
        work.session.add(root)
        await work.session.flush()
        for name in FILES:
            work.session.add(_file(project, root, name, work.now))
    made = Delivery(services, unit, project)
    for name in people:
        await made.join(name)
    return made


def _file(project: Project, root: Folder, name: str, now: datetime) -> StoredFile:
    return StoredFile(
        project_id=project.id,
        folder_id=root.id,
        name=name,
        name_in_bucket=name,
        size_original=1,
        size_stored=1,
        compressed=False,
        salt="A" * 32,
        public_key="B" * 64,
        checksum="c" * 64,
        uploaded_at=now,
    )


async def run(services: Services) -> None:
    """Let the daily job run."""
    await reminders.remind(services, "all")


async def due(services: Services) -> list[Ending]:
    """Return what the job would do."""
    async with reading(services, ROOT) as work:
        return await reminders.due(work)


async def letters(services: Services) -> list[tuple[str, str]]:
    """Return kind and recipient of every letter, oldest first."""
    table = Mail.columns()
    async with reading(services, System()) as work:
        found = await work.session.execute(select(table.kind, table.recipient).order_by(table.id))
        return [(str(kind), str(recipient)) for kind, recipient in found]


async def newest_text(services: Services, recipient: str) -> str:
    """Return the text of the newest letter to somebody."""
    async with reading(services, System()) as work:
        (newest, *_) = await outbox.listing(work, 1, recipient)
        return (await outbox.show(work, newest.id)).text


async def send_all(services: Services) -> None:
    """Run the jobs that send reminders and summaries, these first; raise what the last of them raised."""
    async with reading(services, System()) as work:
        found = [
            job
            for job in await queue.listing(work)
            if job.kind in reminders.HANDLERS and job.kind != reminders.REMIND
        ]
    for job in sorted(found, key=lambda one: one.kind):
        await reminders.HANDLERS[job.kind](services, job.subject)
