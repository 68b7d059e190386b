"""What stays in the store and for how long, for tests of usage; and the letters that were written."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from ddsd.access import System
from ddsd.files.tables import FileVersion
from ddsd.mail.tables import Mail
from ddsd.projects.tables import Project
from ddsd.work import Services, Work, reading


def a_version(
    work: Work, project: Project, size: int, uploaded: datetime, removed: datetime | None = None
) -> FileVersion:
    """Add a version of a file; its project's counters are not changed."""
    version = FileVersion(
        project_id=project.id, size_stored=size, uploaded_at=uploaded, removed_at=removed
    )
    work.session.add(version)
    return version


async def letters(services: Services) -> list[tuple[str, str]]:
    """Return kind and recipient of every letter, in order."""
    table = Mail.columns()
    async with reading(services, System()) as work:
        found = await work.session.execute(select(table.kind, table.recipient).order_by(table.id))
        return [(str(kind), str(recipient)) for kind, recipient in found]
