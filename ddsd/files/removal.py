"""Files are removed object first, row after: what the store would not give up is still listed and counted.

Invariant: no row outlives its object, whoever registers or replaces files meanwhile and wherever the daemon dies.
Rows therefore go by the key of their object. In between a listed file may be missing at the store; running the same
removal again mends that. Nothing here holds a transaction while it talks to the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import bindparam, delete, select, update

from ddsd.access import Action, Actor, Member, System, require, require_member
from ddsd.audit import trail
from ddsd.db.base import METADATA
from ddsd.errors import Conflict, StoreObjectMissing, StoreRefused, WrongStatus
from ddsd.files import listing, stores
from ddsd.files.names import ROOT, folder_of, normal_folder, with_ancestors
from ddsd.files.tables import FileVersion, Folder
from ddsd.jobs import progress, queue
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.runner import Handler
from ddsd.projects import busy, projects
from ddsd.projects.gate import require_removable
from ddsd.projects.tables import Project
from ddsd.storage.port import ObjectStore, OpenUpload
from ddsd.work import Services, Work, reading, transaction

EMPTY_PROJECT: Final = "empty_project"
MOST_AT_ONCE: Final = 1000
REGISTERED_WITHIN: Final = timedelta(days=1)
"""How long an object may wait for its row: a client that stores it now is about to register it."""

_PATHS_AT_ONCE: Final = 500
_WHY: Final = "The object store did not remove it."
_FILES: Final = METADATA.tables["files"]
_FOLDERS: Final = METADATA.tables["folders"]
_PROJECTS: Final = METADATA.tables["projects"]
_COUNT_OUT_OF_FOLDER: Final = (
    update(_FOLDERS)
    .where(_FOLDERS.c.project_id == bindparam("project"), _FOLDERS.c.path == bindparam("folder"))
    .values(
        file_count=_FOLDERS.c.file_count - bindparam("files"),
        bytes_original=_FOLDERS.c.bytes_original - bindparam("original"),
    )
)
_log = structlog.get_logger()


@dataclass
class Removal:
    """What became of the files or folders that were to be removed, by the names they were asked for."""

    removed: int = 0
    not_removed: dict[str, str] = field(default_factory=dict)
    not_exists: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Target:
    """A file's name, and the key of its object."""

    name: str
    key: str


async def remove_files(
    services: Services, member: Member, project: Project, names: Iterable[str]
) -> Removal:
    """Remove files by name, a thousand at a time; each thousand is durable before the next begins.

    That the project is the member's is checked by the caller, before; its status is checked again.

    Raises:
        Forbidden: the member may not.
        WrongStatus: the project is not In Progress, or was released before.
        StoreUnavailable, StoreRefused: the store is away, or refuses all; what was removed by then stays removed.
    """
    require_member(member, Action.UPLOAD)
    wanted, outcome = list(dict.fromkeys(names)), Removal()
    for start in range(0, len(wanted), MOST_AT_ONCE):
        some = wanted[start : start + MOST_AT_ONCE]
        async with _removable(services, member, project) as work:
            there = {one.name: one for one in await listing.named(work, project, some)}
        outcome.not_exists += [name for name in some if name not in there]
        targets = [_Target(one.name, one.name_in_bucket) for one in there.values()]
        stayed = await remove_objects(services, member, project, [one.key for one in targets])
        outcome.not_removed |= {one.name: _WHY for one in targets if one.key in stayed}
        outcome.removed += len(targets) - len(stayed)
    return outcome


async def remove_folders(
    services: Services, member: Member, project: Project, folders: Iterable[str]
) -> Removal:
    """Remove folders with all that is below them; of the root, ``.``, only the files directly in it.

    Which folders exist is decided before the first is removed, so that one may be named beside its parent.

    Raises:
        Forbidden, WrongStatus, StoreUnavailable, StoreRefused: see :func:`remove_files`.
    """
    require_member(member, Action.UPLOAD)
    wanted, outcome = list(dict.fromkeys(folders)), Removal()
    async with _removable(services, member, project) as work:
        there = [one for one in wanted if await _page(work, project, _meant(one), "", 1)]
    outcome.not_exists = [one for one in wanted if one not in there]
    for folder in there:
        removed, stayed = await _remove_folder(services, member, project, _meant(folder))
        outcome.removed += removed
        if stayed:
            outcome.not_removed[folder] = f"{_WHY} Files that stayed: {stayed}."
    return outcome


async def begin_emptying(work: Work, project: Project) -> None:
    """Enqueue the removal of all the project's files.

    Args:
        work: the transaction, in which ``project`` is locked.
        project: the project.

    Raises:
        Forbidden: the caller may not.
        WrongStatus: the project is not In Progress, or was released before.
        Conflict: it has no files.
        Busy: something slow is being done to it, such as this.
    """
    require(work.actor, Action.UPLOAD)
    require_removable(project)
    await busy.require_idle(work, project)
    if not project.file_count:
        raise Conflict("There are no project contents to delete.")
    await queue.enqueue(work, EMPTY_PROJECT, project.public_id)
    projects.touch(work, project)
    trail.record(work, "project.empty", project.public_id, files=project.file_count)


async def empty_project(services: Services, public_id: str) -> None:
    """Handle the job :data:`EMPTY_PROJECT`: remove all files, and what was never registered and is a day old.

    What a client delivers after this was asked for, or stores meanwhile, to register it in a moment, is left alone.

    Raises:
        GiveUp: the project may not be emptied any more.
        StoreUnavailable, StoreRefused: the store is away, or keeps what it should remove.
    """
    project = await _may_be_emptied(services, public_id)
    left = services.clock.now() - REGISTERED_WITHIN
    told = await progress.reported(services, EMPTY_PROJECT, public_id)
    done, total = told.done, max(told.total, told.done + project.file_count)
    await progress.report(services, EMPTY_PROJECT, public_id, done=done, total=total)
    while removed := await remove_next(
        services, project.id, registered_until=told.asked_at, unregistered_before=left
    ):
        done += removed
        total = max(total, done)
        await progress.report(services, EMPTY_PROJECT, public_id, done=done, total=total)
        await _may_be_emptied(services, public_id)


async def remove_next(
    services: Services,
    project_id: int,
    most: int = MOST_AT_ONCE,
    *,
    registered_until: datetime | None = None,
    unregistered_before: datetime | None = None,
) -> int:
    """Remove some of what the project has at the store, with its rows; return how much that was, 0 once all is gone.

    Registered files first, then, if no file is left, objects without rows, then uploads in parts that nobody ended.
    Whether anything may be removed is the caller's matter. Interrupted anywhere, it can be called again.

    Args:
        services: the store and the database.
        project_id: the project.
        most: files, objects or uploads in one call.
        registered_until: spare files that were registered, or got their content, later (aware); ``None``: none.
        unregistered_before: spare objects and uploads without rows that are younger (aware); ``None``: none.

    Raises:
        StoreUnavailable: the store is away.
        StoreRefused: it keeps everything it was to remove.
    """
    async with reading(services, System()) as work:
        project = await work.session.get_one(Project, project_id)
        keys = await _first_keys(work, project, most, registered_until)
    store = await stores.of(services, project)
    spared = project.file_count and registered_until is not None
    store = await stores.of(services, project)
    if not keys and not spared:
        keys = await some_keys(store, project.bucket, most, unregistered_before)
    if keys:
        return await _remove_or_refuse(services, project, keys)
    return await abort_uploads(store, project.bucket, unregistered_before, most)


async def remove_bucket(services: Services, project_id: int) -> None:
    """Remove the project's bucket; one that is gone already is fine.

    Raises:
        StoreUnavailable: the store is away.
        StoreRefused: the bucket still holds objects.
    """
    async with reading(services, System()) as work:
        project = await work.session.get_one(Project, project_id)
    store = await stores.of(services, project)
    await store.remove_bucket(project.bucket)


async def abort_uploads(
    store: ObjectStore, bucket: str, before: datetime | None, most: int = MOST_AT_ONCE
) -> int:
    """Abort up to ``most`` uploads in parts of a bucket, only those not touched since ``before``; return how many."""
    stale = await open_uploads(store, bucket, before, most)
    for upload in stale:
        await store.abort_upload(bucket, upload)
    return len(stale)


async def open_uploads(
    store: ObjectStore, bucket: str, before: datetime | None, most: int
) -> Sequence[OpenUpload]:
    """Return up to ``most`` uploads in parts that were not touched since ``before``; none without a bucket."""
    found: list[OpenUpload] = []
    try:
        async for upload in store.list_uploads(bucket):
            if before is None or upload.touched_at < before:
                found.append(upload)
            if len(found) == most:
                break
    except StoreObjectMissing:
        return []
    return found


async def some_keys(
    store: ObjectStore, bucket: str, most: int, before: datetime | None = None
) -> Sequence[str]:
    """Return up to ``most`` keys of objects stored before a moment, or whenever; none without a bucket."""
    found: list[str] = []
    try:
        async for stored in store.list_objects(bucket):
            if before is None or stored.stored_at < before:
                found.append(stored.key)
            if len(found) == most:
                break
    except StoreObjectMissing:
        return []
    return found


async def forget(work: Work, project_id: int, keys: Sequence[str]) -> int:
    """Remove the rows of files by the keys of their objects; end their versions, count them out. Return how many.

    For what has no object any more, whatever the project's status: at most :data:`MOST_AT_ONCE` keys.
    """
    locked = select(_PROJECTS.c.id).where(_PROJECTS.c.id == project_id).with_for_update()
    await work.session.execute(locked)
    found = await work.session.execute(
        select(_FILES.c.id, _FILES.c.name, _FILES.c.size_stored, _FILES.c.size_original).where(
            _FILES.c.project_id == project_id, _FILES.c.name_in_bucket.in_(keys)
        )
    )
    gone = [_Gone(*row) for row in found]
    if gone:
        await _remove_rows(work, [one.file_id for one in gone])
        await _count_out(work, project_id, gone)
    return len(gone)


@dataclass(frozen=True)
class _Gone:
    """A row to be removed."""

    file_id: int
    name: str
    size_stored: int
    size_original: int


async def _remove_rows(work: Work, file_ids: Sequence[int]) -> None:
    versions = FileVersion.columns()
    await work.session.execute(
        update(FileVersion)
        .where(versions.file_id.in_(file_ids), versions.removed_at.is_(None))
        .values(removed_at=work.now)
        .execution_options(synchronize_session=False)
    )
    await work.session.execute(delete(_FILES).where(_FILES.c.id.in_(file_ids)))


async def _count_out(work: Work, project_id: int, gone: Sequence[_Gone]) -> None:
    await work.session.execute(
        update(_PROJECTS)
        .where(_PROJECTS.c.id == project_id)
        .values(
            file_count=_PROJECTS.c.file_count - len(gone),
            bytes_stored=_PROJECTS.c.bytes_stored - sum(one.size_stored for one in gone),
            bytes_original=_PROJECTS.c.bytes_original - sum(one.size_original for one in gone),
        )
    )
    changes: dict[str, tuple[int, int]] = {}
    for one in gone:
        for path in with_ancestors(folder_of(one.name)):
            files, original = changes.get(path, (0, 0))
            changes[path] = (files + 1, original + one.size_original)
    connection = await work.session.connection()
    await connection.execute(
        _COUNT_OUT_OF_FOLDER,
        [
            {"project": project_id, "folder": path, "files": files, "original": original}
            for path, (files, original) in changes.items()
        ],
    )
    await _remove_empty_folders(work, project_id, changes)


async def _remove_empty_folders(work: Work, project_id: int, paths: Iterable[str]) -> None:
    """Remove those of the folders that hold nothing any more, the deepest first: each refers to its parent."""
    deepest_first = sorted(paths, key=lambda path: len(with_ancestors(path)), reverse=True)
    folders = Folder.columns()
    for start in range(0, len(deepest_first), _PATHS_AT_ONCE):
        await work.session.execute(
            delete(Folder)
            .where(
                folders.project_id == project_id,
                folders.path.in_(deepest_first[start : start + _PATHS_AT_ONCE]),
                folders.file_count == 0,
            )
            .execution_options(synchronize_session=False)
        )


@asynccontextmanager
async def _removable(services: Services, member: Member, project: Project) -> AsyncIterator[Work]:
    """Open a transaction that reads, if the project's files may be removed now."""
    async with reading(services, member) as work:
        require_removable(await work.session.get_one(Project, project.id))
        yield work


def _meant(folder: str) -> str | None:
    """Return the folder that is meant, or ``None``: only ``.`` is the root here, a mistyped nothing is not."""
    path = normal_folder(folder)
    return None if path == ROOT and folder.rstrip("/") != ROOT else path


async def _page(
    work: Work, project: Project, folder: str | None, after: str, most: int
) -> list[_Target]:
    """Return up to ``most`` files of a folder whose names come after ``after``, by name."""
    if folder is None:
        return []
    query = select(_FILES.c.name, _FILES.c.name_in_bucket).where(
        _FILES.c.project_id == project.id, _FILES.c.name > after
    )
    if folder == ROOT:
        query = query.join(_FOLDERS, _FOLDERS.c.id == _FILES.c.folder_id).where(
            _FOLDERS.c.path == ROOT
        )
    else:
        # '0' is the character after '/': everything from "path/" up to, not including, "path0".
        query = query.where(_FILES.c.name >= f"{folder}/", _FILES.c.name < f"{folder}0")
    found = await work.session.execute(query.order_by(_FILES.c.name).limit(most))
    return [_Target(name, key) for name, key in found]


async def _remove_folder(
    services: Services, member: Member, project: Project, folder: str | None
) -> tuple[int, int]:
    """Return how many files of the folder were removed, and how many stayed."""
    after, removed, stayed = "", 0, 0
    while True:
        async with _removable(services, member, project) as work:
            targets = await _page(work, project, folder, after, MOST_AT_ONCE)
        if not targets:
            return removed, stayed
        kept = await remove_objects(services, member, project, [one.key for one in targets])
        removed += len(targets) - len(kept)
        stayed += len(kept)
        after = targets[-1].name


async def _may_be_emptied(services: Services, public_id: str) -> Project:
    table = Project.columns()
    async with reading(services, System()) as work:
        found = await work.session.execute(select(Project).where(table.public_id == public_id))
        project = found.scalar_one()
    try:
        require_removable(project)
    except WrongStatus as no:
        raise GiveUp(no.message) from no
    return project


async def _first_keys(
    work: Work, project: Project, most: int, registered_until: datetime | None
) -> Sequence[str]:
    query = (
        select(_FILES.c.name_in_bucket)
        .where(_FILES.c.project_id == project.id)
        .order_by(_FILES.c.name_in_bucket)
        .limit(most)
    )
    if registered_until is not None:
        query = query.where(_FILES.c.uploaded_at <= registered_until)
    return (await work.session.scalars(query)).all()


async def _remove_or_refuse(services: Services, project: Project, keys: Sequence[str]) -> int:
    stayed = await remove_objects(services, System(), project, keys)
    if len(stayed) == len(keys):
        key, why = next(iter(stayed.items()))
        raise StoreRefused(f"The object store keeps what it should remove: {key}: {why}")
    return len(keys) - len(stayed)


async def remove_objects(
    services: Services, actor: Actor, project: Project, keys: Sequence[str]
) -> Mapping[str, str]:
    """Remove objects, then the rows of those that are gone; return the keys of those that stayed, and why.

    Whether they may be removed is the caller's matter: at most :data:`MOST_AT_ONCE` keys.

    Raises:
        StoreUnavailable, StoreRefused: the store is away, or refuses the whole call.
    """
    if not keys:
        return {}
    try:
        failures = await (await stores.of(services, project)).remove_objects(project.bucket, keys)
    except StoreObjectMissing:  # no bucket, so no objects
        failures = ()
    stayed = {one.key: one.reason for one in failures}
    for failure in failures[:1]:
        _log.warning("removal.refused", bucket=project.bucket, key=failure.key, why=failure.reason)
    async with transaction(services, actor) as work:
        count = await forget(work, project.id, [key for key in keys if key not in stayed])
        if isinstance(actor, Member) and count:
            projects.touch(work, await work.session.get_one(Project, project.id))
            trail.record(work, "file.remove", project.public_id, files=count)
    return stayed


HANDLERS: Final[Mapping[str, Handler]] = {EMPTY_PROJECT: empty_project}
