"""Listing: one folder at a time, from indexes and kept counters; whole projects in batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from ddsd.access import Actor
from ddsd.files.names import ROOT, normal_folder
from ddsd.files.tables import Folder, StoredFile
from ddsd.projects.tables import Project
from ddsd.work import Services, Work, reading

_BATCH: Final = 1000
_IN_BATCH: Final = 500


@dataclass(frozen=True)
class Entry:
    """A file or folder in a listing: the last component of its path, and its original bytes (a folder's in all)."""

    name: str
    is_folder: bool
    bytes_original: int


@dataclass(frozen=True)
class FileFacts:
    """What somebody needs to fetch, decrypt and check a file."""

    name: str
    name_in_bucket: str
    size_original: int
    size_stored: int
    compressed: bool
    salt: str
    public_key: str
    checksum: str


_FACTS = tuple(getattr(StoredFile.columns(), field) for field in FileFacts.__dataclass_fields__)


async def folder(work: Work, project: Project, asked: str | None) -> list[Entry]:
    """Return what one folder holds: its files, then its folders; nothing if there is no such folder."""
    path = normal_folder(asked)
    folder_id = await _folder_id(work, project.id, path)
    if folder_id is None:
        return []
    files, folders = StoredFile.columns(), Folder.columns()
    file_rows = await work.session.execute(
        select(files.name, files.size_original)
        .where(files.folder_id == folder_id)
        .order_by(files.name)
    )
    folder_rows = await work.session.execute(
        select(folders.path, folders.bytes_original)
        .where(folders.parent_id == folder_id, folders.file_count > 0)
        .order_by(folders.path)
    )
    return [Entry(_last(name), False, size) for name, size in file_rows] + [
        Entry(_last(path), True, size) for path, size in folder_rows
    ]


async def named(work: Work, project: Project, names: Sequence[str]) -> list[FileFacts]:
    """Return those of the named files that exist."""
    table = StoredFile.columns()
    found: list[FileFacts] = []
    for start in range(0, len(names), _IN_BATCH):
        rows = await work.session.execute(
            select(*_FACTS).where(
                table.project_id == project.id, table.name.in_(names[start : start + _IN_BATCH])
            )
        )
        found += map(_facts, rows)
    return found


async def below(work: Work, project: Project, asked: str) -> list[FileFacts]:
    """Return every file in a folder, at any depth; exactly that folder, not those whose names begin alike."""
    path = normal_folder(asked)
    table = StoredFile.columns()
    query = select(*_FACTS).where(table.project_id == project.id).order_by(table.name)
    if path != ROOT:
        # '0' is the character after '/': everything from "path/" up to, not including, "path0".
        query = query.where(table.name >= f"{path}/", table.name < f"{path}0")
    return [_facts(row) for row in await work.session.execute(query)]


async def those_with_files(work: Work, project: Project, asked: Sequence[str]) -> list[str]:
    """Return those of the asked folders that have a file somewhere below, as they were spelled.

    Of the many spellings of one folder only the first with and the first without ``/`` at its end count: each costs
    the whole folder again.
    """
    spelled: dict[tuple[str, bool], str] = {}
    for one in asked:
        spelled.setdefault((normal_folder(one), one.endswith("/")), one)
    paths = list({path for path, _ in spelled})
    table = Folder.columns()
    there: set[str] = set()
    for start in range(0, len(paths), _IN_BATCH):
        rows = await work.session.execute(
            select(table.path).where(
                table.project_id == project.id,
                table.path.in_(paths[start : start + _IN_BATCH]),
                table.file_count > 0,
            )
        )
        there.update(path for (path,) in rows)
    return [one for (path, _), one in spelled.items() if path in there]


async def everything(
    services: Services, actor: Actor, project_id: int
) -> AsyncIterator[list[FileFacts]]:
    """Yield all files of a project in batches, by name: memory stays bounded however many there are.

    Each batch is a short transaction of its own. A file added or removed meanwhile may or may not be in it; every
    file that is there throughout is there once.
    """
    table = StoredFile.columns()
    after = ""
    while True:
        async with reading(services, actor) as work:
            rows = await work.session.execute(
                select(*_FACTS)
                .where(table.project_id == project_id, table.name > after)
                .order_by(table.name)
                .limit(_BATCH)
            )
            batch = [_facts(row) for row in rows]
        if not batch:
            return
        yield batch
        after = batch[-1].name


async def _folder_id(work: Work, project_id: int, path: str) -> int | None:
    table = Folder.columns()
    found = await work.session.execute(
        select(table.id).where(table.project_id == project_id, table.path == path)
    )
    return found.scalar_one_or_none()


def _facts(row: Any) -> FileFacts:
    name, in_bucket, original, stored, compressed, salt, public_key, checksum = row
    return FileFacts(name, in_bucket, original, stored, compressed, salt, public_key, checksum)


def _last(path: str) -> str:
    return path.rpartition("/")[2]
