"""What the kept counters must be: everything summed anew from the rows."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ddsd.access import System
from ddsd.files.names import folder_of, with_ancestors
from ddsd.files.tables import FileVersion, Folder, StoredFile
from ddsd.projects.tables import Project
from ddsd.work import Services, reading


@dataclass(frozen=True)
class Counters:
    """A project's totals, and per folder that holds something: its files and original bytes, and its parent."""

    files: int
    bytes_stored: int
    bytes_original: int
    folders: dict[str, tuple[int, int, str | None]]
    stored_now: int


async def kept(services: Services, public_id: str) -> Counters:
    """Return the counters as the service keeps them; empty folders left out."""
    async with reading(services, System()) as work:
        project = await _project(work.session, public_id)
        rows = await work.session.execute(
            select(Folder).where(Folder.columns().project_id == project.id)
        )
        folders = {folder.id: folder for folder in rows.scalars()}
        versions = FileVersion.columns()
        living = await work.session.execute(
            select(versions.size_stored).where(
                versions.project_id == project.id, versions.removed_at.is_(None)
            )
        )
        return Counters(
            project.file_count,
            project.bytes_stored,
            project.bytes_original,
            {
                one.path: (
                    one.file_count,
                    one.bytes_original,
                    folders[one.parent_id].path if one.parent_id else None,
                )
                for one in folders.values()
                if one.file_count
            },
            sum(size for (size,) in living),
        )


async def counted(services: Services, public_id: str) -> Counters:
    """Return the counters as they follow from the files' rows."""
    async with reading(services, System()) as work:
        project = await _project(work.session, public_id)
        rows = await work.session.execute(
            select(StoredFile).where(StoredFile.columns().project_id == project.id)
        )
        files = list(rows.scalars())
    folders: dict[str, tuple[int, int, str | None]] = {}
    for file in files:
        for path in with_ancestors(folder_of(file.name)):
            count, size, _ = folders.get(path, (0, 0, None))
            parent = None if path == "." else folder_of(path)
            folders[path] = (count + 1, size + file.size_original, parent)
    stored = sum(file.size_stored for file in files)
    return Counters(len(files), stored, sum(file.size_original for file in files), folders, stored)


async def _project(session: AsyncSession, public_id: str) -> Project:
    query = select(Project).where(Project.columns().public_id == public_id)
    found: Project = (await session.execute(query)).scalar_one()
    return found
