"""Store and database compared: what one has and the other does not is written down, a row per finding.

Invariant: a finding was looked at twice, the second time after the difference was seen, so that what clients do
meanwhile is none. Both sides are read in the order of keys and merged: memory does not grow with a project. What was
stored less than a day ago into a project In Progress is none either: its registration may be on the way.

Nothing is removed here: see :mod:`ddsd.files.lost`. Made anew is the bucket of a project without files.
"""

from __future__ import annotations

import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, func, or_, select

from ddsd.access import Action, System, require
from ddsd.audit import trail
from ddsd.db.statements import insert_into
from ddsd.errors import (
    Busy,
    DdsError,
    NotFound,
    StoreObjectMissing,
    StoreRefused,
    StoreUnavailable,
)
from ddsd.files import removal, stores
from ddsd.files.tables import Finding, FindingKind, StoredFile
from ddsd.jobs import progress, queue
from ddsd.jobs.runner import Handler
from ddsd.jobs.schedule import EVERYTHING
from ddsd.jobs.tables import Job
from ddsd.projects import busy
from ddsd.projects.status import FINAL, Status
from ddsd.projects.tables import Project
from ddsd.storage.port import StoredObject
from ddsd.work import Services, Work, reading, transaction

COMPARE_STORE: Final = "compare_store"
ABORT_STALE_UPLOADS: Final = "abort_stale_uploads"
STALE_AFTER: Final = timedelta(days=7)
"""How long an upload in parts may stand still; the stock client's are not resumed after hours."""

_BATCH: Final = 500
_ROWS: Final = 1000
_NAMED_BY_US: Final = re.compile(r"([a-z0-9][a-z0-9-]*-)?\d{18}-[0-9a-f]{8}")
"""See :func:`ddsd.projects.projects.bucket_name`."""


@dataclass(frozen=True)
class FindingRow:
    """A finding, and the project it is in by its public id; ``None`` for a bucket of nobody."""

    finding: Finding
    project: str | None


@dataclass(frozen=True)
class _Row:
    """A file as the database has it."""

    key: str
    name: str
    size_bytes: int


@dataclass(frozen=True)
class _Difference:
    """A key whose two sides do not agree: a row, an object, or both with different sizes."""

    key: str
    row: _Row | None
    stored: StoredObject | None


async def listing(
    work: Work, public_id: str | None, kind: FindingKind | None, limit: int
) -> list[FindingRow]:
    """Return up to ``limit`` findings of one project or all, of one kind or all, by bucket and key.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    table, projects = Finding.columns(), Project.columns()
    query = (
        select(Finding, projects.public_id)
        .outerjoin(Project, projects.id == table.project_id)
        .order_by(table.bucket, table.kind, table.key, table.id)
        .limit(limit)
    )
    if public_id is not None:
        query = query.where(projects.public_id == public_id)
    if kind is not None:
        query = query.where(table.kind == kind)
    return [FindingRow(one, project) for one, project in await work.session.execute(query)]


async def counts(work: Work) -> dict[str, int]:
    """Return how many findings there are, by kind; a kind without any is left out."""
    kind = Finding.columns().kind
    found = await work.session.execute(select(kind, func.count()).group_by(kind).order_by(kind))
    return {one.value: int(number) for one, number in found}


async def begin(work: Work, public_id: str | None) -> Job:
    """Enqueue a comparison of one project, or of all.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such project.
        Busy: it is queued or running already.
    """
    require(work.actor, Action.OPERATE)
    if public_id is not None:
        await require_project(work, public_id)
    job = await queue.enqueue(work, COMPARE_STORE, public_id or EVERYTHING)
    trail.record(work, "store.compare", public_id or EVERYTHING)
    return job


async def compare_store(services: Services, subject: str) -> None:
    """Handle the job :data:`COMPARE_STORE`: compare every project that has its data, or the one that is named.

    Findings that were not seen again are forgotten. Interrupted, it begins anew.

    Raises:
        StoreUnavailable, StoreRefused: a store is away, or says no; the findings there stay as they were.
    """
    began = services.clock.now()
    # Before the projects are read: a bucket that is listed has its project's row by then.
    buckets = await _buckets(services)
    wanted = await _with_data(services, subject)

    async def look(project: Project) -> None:
        await compare_project(services, project, began)

    await _each(services, COMPARE_STORE, subject, wanted, look)
    if subject == EVERYTHING:
        await _find_buckets_of_nobody(services, buckets, began)
        await _forget_unseen(services, began)


async def compare_project(services: Services, project: Project, began: datetime) -> None:
    """Compare one project's bucket with its files; a busy project is passed over.

    Args:
        services: the store and the database.
        project: the project.
        began: what its findings are stamped with (aware); older ones are forgotten.

    Raises:
        StoreUnavailable: the store is away.
    """
    if await _is_busy(services, project):
        return
    try:
        await _compare_contents(services, project, began)
        await _find_leftover_uploads(services, project, began)
    except StoreObjectMissing:
        await _look_for_bucket(services, project, began)
    await _forget_unseen(services, began, project.bucket)


async def abort_stale_uploads(services: Services, _subject: str) -> None:
    """Handle the job :data:`ABORT_STALE_UPLOADS`: end uploads in parts that stood still for a week.

    Raises:
        StoreUnavailable: the store is away; another run goes on.
    """
    before = services.clock.now() - STALE_AFTER

    async def look(project: Project) -> None:
        aborted, store = 0, await stores.of(services, project)
        while count := await removal.abort_uploads(store, project.bucket, before):
            aborted += count
        if aborted:
            async with transaction(services, System()) as work:
                trail.record(work, "store.abort_uploads", project.public_id, uploads=aborted)

    wanted = await _with_data(services, EVERYTHING)
    await _each(services, ABORT_STALE_UPLOADS, EVERYTHING, wanted, look)


def has_data() -> ColumnElement[bool]:
    """Return the condition that a project still has its data, and so its bucket."""
    table = Project.columns()
    return or_(
        table.status.not_in(FINAL), table.ending.is_not(None), table.purge_after.is_not(None)
    )


def named_by_us(bucket: str) -> bool:
    """Say whether a bucket has a name as this service gives them. Another ddsd at the store gives such names, too."""
    return _NAMED_BY_US.fullmatch(bucket) is not None


async def require_project(work: Work, public_id: str) -> Project:
    """Return a project, whoever's it is.

    Raises:
        NotFound: there is no such project.
    """
    query = select(Project).where(Project.columns().public_id == public_id)
    found = (await work.session.execute(query)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"There is no project '{public_id}'. See: ddsctl project ls")
    return found


async def confirmed(
    services: Services, project: Project, findings: Iterable[Finding]
) -> list[Finding]:
    """Return those of a project's findings about objects and files that are still so.

    Raises:
        StoreUnavailable: the store is away.
    """
    asked = {one.key: one for one in findings}
    rows = await _rows_now(services, project, list(asked))
    still = []
    store = await stores.of(services, project)
    for key, finding in asked.items():
        stored = await store.stat(project.bucket, key)
        if _kind(services, project, rows.get(key), stored) is finding.kind:
            still.append(finding)
    return still


async def _each(
    services: Services,
    kind: str,
    subject: str,
    projects: Sequence[Project],
    look: Callable[[Project], Awaitable[None]],
) -> None:
    """Look at every project; one whose store is away, or says no, does not keep those at other stores from it.

    Raises:
        StoreUnavailable, StoreRefused: what the first of these said, when all others were looked at.
    """
    total, away = len(projects), dict[int | None, DdsError]()
    for done, project in enumerate(projects):
        await progress.report(services, kind, subject, done=done, total=total)
        if project.store_id in away:
            continue
        try:
            await look(project)
        except (StoreUnavailable, StoreRefused) as wrong:
            away[project.store_id] = wrong
    if away:
        raise next(iter(away.values()))
    await progress.report(services, kind, subject, done=total, total=total)


async def _buckets(services: Services) -> Sequence[str]:
    """Return the buckets of all stores; none of those that are away, or where our key may not list them."""
    found: set[str] = set()
    async for place in stores.in_use(services):
        with suppress(StoreRefused, StoreUnavailable):
            found.update(await place.store.list_buckets())
    return sorted(found)


async def _with_data(services: Services, subject: str) -> Sequence[Project]:
    query = select(Project).where(has_data()).order_by(Project.columns().id)
    if subject != EVERYTHING:
        query = query.where(Project.columns().public_id == subject)
    async with reading(services, System()) as work:
        return (await work.session.scalars(query)).all()


async def _is_busy(services: Services, project: Project) -> bool:
    try:
        async with reading(services, System()) as work:
            await busy.require_idle(work, await work.session.get_one(Project, project.id))
    except Busy:
        return True
    return False


async def _compare_contents(services: Services, project: Project, began: datetime) -> None:
    waiting: list[_Difference] = []
    async with aclosing(_differences(services, project)) as differences:
        async for one in differences:
            waiting.append(one)
            if len(waiting) == _BATCH:
                await _write_down(services, project, waiting, began)
                waiting.clear()
    await _write_down(services, project, waiting, began)


async def _differences(services: Services, project: Project) -> AsyncGenerator[_Difference, None]:
    """Merge the listing of the bucket with the files' rows; yield each key in which they differ."""
    store = await stores.of(services, project)
    rows, objects = _rows(services, project), store.list_objects(project.bucket)
    stored, row = await anext(objects, None), await anext(rows, None)
    while row is not None or stored is not None:
        if row is not None and (stored is None or row.key < stored.key):
            yield _Difference(row.key, row, None)
            row = await anext(rows, None)
        elif stored is not None and (row is None or stored.key < row.key):
            yield _Difference(stored.key, None, stored)
            stored = await anext(objects, None)
        elif row is not None and stored is not None:
            if row.size_bytes != stored.size_bytes:
                yield _Difference(row.key, row, stored)
            stored, row = await anext(objects, None), await anext(rows, None)


async def _rows(services: Services, project: Project) -> AsyncIterator[_Row]:
    """Yield the project's files by key; each thousand is a transaction of its own."""
    table, after = StoredFile.columns(), ""
    while True:
        async with reading(services, System()) as work:
            found = await work.session.execute(
                select(table.name_in_bucket, table.name, table.size_stored)
                .where(table.project_id == project.id, table.name_in_bucket > after)
                .order_by(table.name_in_bucket)
                .limit(_ROWS)
            )
            batch = [_Row(*one) for one in found]
        for row in batch:
            yield row
        if len(batch) < _ROWS:
            return
        after = batch[-1].key


async def _write_down(
    services: Services, project: Project, seen: Sequence[_Difference], began: datetime
) -> None:
    """Look again at what differed, and write down what still does."""
    if not seen:
        return
    rows = await _rows_now(services, project, [one.key for one in seen])
    store = await stores.of(services, project)
    findings = []
    for one in seen:
        row = rows.get(one.key)
        # What was listed without a row is still there, or is removed by somebody who knows.
        stored = one.stored if row is None else await store.stat(project.bucket, one.key)
        kind = _kind(services, project, row, stored)
        if kind is not None:
            findings.append(_finding(project, kind, one.key, row, stored))
    await _keep(services, findings, began)


async def _rows_now(
    services: Services, project: Project, keys: Sequence[str]
) -> Mapping[str, _Row]:
    table = StoredFile.columns()
    async with reading(services, System()) as work:
        found = await work.session.execute(
            select(table.name_in_bucket, table.name, table.size_stored).where(
                table.project_id == project.id, table.name_in_bucket.in_(keys)
            )
        )
        return {key: _Row(key, name, size) for key, name, size in found}


def _kind(
    services: Services, project: Project, row: _Row | None, stored: StoredObject | None
) -> FindingKind | None:
    """Say what is wrong with a key now; ``None``: nothing."""
    if stored is None:
        return None if row is None else FindingKind.FILE_WITHOUT_OBJECT
    if row is not None and row.size_bytes == stored.size_bytes:
        return None
    young = stored.stored_at > services.clock.now() - removal.REGISTERED_WITHIN
    if young and project.status is Status.IN_PROGRESS:
        return None
    return FindingKind.OBJECT_WITHOUT_FILE if row is None else FindingKind.WRONG_SIZE


def _finding(
    project: Project,
    kind: FindingKind,
    key: str,
    row: _Row | None,
    stored: StoredObject | None,
) -> dict[str, object]:
    return {
        "kind": kind,
        "project_id": project.id,
        "bucket": project.bucket,
        "key": key,
        "name": row.name if row else "",
        "bytes_registered": row.size_bytes if row else None,
        "bytes_found": stored.size_bytes if stored else None,
    }


async def _find_leftover_uploads(services: Services, project: Project, began: datetime) -> None:
    before = services.clock.now() - STALE_AFTER
    store = await stores.of(services, project)
    leftover = await removal.open_uploads(store, project.bucket, before, removal.MOST_AT_ONCE)
    found = [
        _finding(project, FindingKind.LEFTOVER_UPLOAD, one.key, None, None)
        | {"upload_id": one.upload_id}
        for one in leftover
    ]
    await _keep(services, found, began)


async def _look_for_bucket(services: Services, project: Project, began: datetime) -> None:
    """Write down that a project with files has no bucket; make the bucket of one that is about to get files."""
    store = await stores.of(services, project)
    if await store.bucket_exists(project.bucket):
        return
    async with reading(services, System()) as work:
        now = await work.session.get_one(Project, project.id)
    if now.file_count:
        lost = _finding(now, FindingKind.MISSING_BUCKET, "", None, None)
        await _keep(services, [lost | {"bytes_registered": now.bytes_stored}], began)
    elif now.status is Status.IN_PROGRESS and now.ending is None:
        await store.ensure_bucket(project.bucket)


async def _find_buckets_of_nobody(
    services: Services, buckets: Sequence[str], began: datetime
) -> None:
    table = Project.columns()
    ours = [one for one in buckets if named_by_us(one)]
    for start in range(0, len(ours), _BATCH):
        some = ours[start : start + _BATCH]
        async with reading(services, System()) as work:
            rows = await work.session.scalars(
                select(table.bucket).where(table.bucket.in_(some), has_data())
            )
            known = set(rows)
        found: list[dict[str, object]] = [
            {"kind": FindingKind.BUCKET_OF_NOBODY, "bucket": one}
            for one in some
            if one not in known
        ]
        await _keep(services, found, began)


async def _keep(
    services: Services, findings: Sequence[Mapping[str, object]], began: datetime
) -> None:
    """Write findings down; one that was there keeps the moment it was found."""
    if not findings:
        return
    empty: dict[str, object] = {
        "project_id": None,
        "key": "",
        "upload_id": "",
        "name": "",
        "bytes_registered": None,
        "bytes_found": None,
    }
    stamps = {"found_at": began, "seen_at": began}
    async with transaction(services, System()) as work:
        adding = insert_into(work.session, Finding).values(
            [{**empty, **one, **stamps} for one in findings]
        )
        again = ("name", "bytes_registered", "bytes_found", "seen_at")
        await work.session.execute(
            adding.on_conflict_do_update(
                index_elements=["bucket", "kind", "key", "upload_id"],
                set_={column: adding.excluded[column] for column in again},
            )
        )


async def _forget_unseen(services: Services, began: datetime, bucket: str | None = None) -> None:
    table = Finding.columns()
    unseen = delete(Finding).where(table.seen_at < began)
    if bucket is not None:
        unseen = unseen.where(table.bucket == bucket)
    async with transaction(services, System()) as work:
        await work.session.execute(unseen)


HANDLERS: Final[Mapping[str, Handler]] = {
    COMPARE_STORE: compare_store,
    ABORT_STALE_UPLOADS: abort_stale_uploads,
}
