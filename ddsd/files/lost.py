"""What an operator does about findings: remove what is left over, make missing buckets. Everything is audited.

Invariant: nothing is removed on the word of an old comparison; each finding is looked at again first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from sqlalchemy import delete, exists, select

from ddsd.access import Action, Actor, require
from ddsd.audit import trail
from ddsd.errors import Conflict, NotFound, StoreRefused
from ddsd.files import reconciliation, removal, stores
from ddsd.files.reconciliation import has_data, named_by_us, require_project
from ddsd.files.tables import Finding, FindingKind
from ddsd.projects.tables import Project
from ddsd.storage.port import ObjectStore
from ddsd.work import Services, Work, reading, transaction

REMOVABLE: Final = frozenset(
    {
        FindingKind.OBJECT_WITHOUT_FILE,
        FindingKind.FILE_WITHOUT_OBJECT,
        FindingKind.LEFTOVER_UPLOAD,
    }
)
"""A file of the wrong size is not among them: it is to be uploaded again."""

_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Cleaning:
    """What one step of a cleaning did: findings dealt with, those that were none any more, those that stayed.

    ``last`` is the number of the last finding looked at; ``more``: there are others after it.
    """

    removed: int
    passed: int
    stayed: int
    last: int
    more: bool


async def clean(services: Services, actor: Actor, public_id: str | None, after: int) -> Cleaning:
    """Remove what findings of the kinds in :data:`REMOVABLE` are about, the next 500 after number ``after``.

    Objects without files and leftover uploads go from the store, files without objects from the database.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such project.
        StoreUnavailable, StoreRefused: the store is away, or refuses.
    """
    require(actor, Action.OPERATE)
    async with reading(services, actor) as work:
        findings = await _next(work, public_id, after)
    removed = passed = 0
    for _, group in groupby(findings, key=lambda pair: pair[1].id):
        together = list(group)
        done, none = await _clean_project(services, actor, together[0][1], [f for f, _ in together])
        removed += done
        passed += none
    return Cleaning(
        removed,
        passed,
        stayed=len(findings) - removed - passed,
        last=findings[-1][0].id if findings else after,
        more=len(findings) == _AT_ONCE,
    )


async def make_buckets(
    services: Services, actor: Actor, public_id: str | None, *, dry_run: bool
) -> list[str]:
    """Make the missing buckets of projects that have their data, or of one; return the projects' public ids.

    Args:
        services: the store and the database.
        actor: an operator.
        public_id: one project, or ``None`` for all.
        dry_run: only tell which.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such project, or its data has been removed.
        StoreUnavailable, StoreRefused: the store is away, or refuses.
    """
    require(actor, Action.OPERATE)
    async with reading(services, actor) as work:
        projects = await _with_buckets(work, public_id)
    missing = [one for one in projects if not await _has_bucket(services, one)]
    if dry_run:
        return [one.public_id for one in missing]
    for project in missing:
        store = await stores.of(services, project)
        await store.ensure_bucket(project.bucket)
        async with transaction(services, actor) as work:
            trail.record(work, "store.make_bucket", project.public_id, bucket=project.bucket)
            await _forget(work, project.bucket, FindingKind.MISSING_BUCKET)
    return [one.public_id for one in missing]


async def remove_bucket_of_nobody(services: Services, actor: Actor, bucket: str) -> int:
    """Remove up to 1000 objects of a bucket that no project has; once it is empty, the bucket, and return 0.

    Raises:
        Forbidden: the actor does not operate this service.
        Conflict: a project has it, or its name is none this service gives.
        NotFound: the store has no such bucket.
        StoreUnavailable, StoreRefused: the store is away, or refuses.
    """
    require(actor, Action.OPERATE)
    store = await _require_nobodys(services, actor, bucket)
    keys = await removal.some_keys(store, bucket, removal.MOST_AT_ONCE)
    stayed = await store.remove_objects(bucket, keys)
    if keys and len(stayed) == len(keys):
        raise Conflict(f"The store keeps what the bucket {bucket} holds: {stayed[0].reason}")
    if not keys:
        await store.remove_bucket(bucket)
    async with transaction(services, actor) as work:
        trail.record(work, "store.remove_bucket", bucket, objects=len(keys), over=not keys)
        if not keys:
            await _forget(work, bucket, FindingKind.BUCKET_OF_NOBODY)
    return len(keys) - len(stayed)


async def _next(work: Work, public_id: str | None, after: int) -> list[tuple[Finding, Project]]:
    findings, projects = Finding.columns(), Project.columns()
    query = (
        select(Finding, Project)
        .join(Project, projects.id == findings.project_id)
        .where(findings.kind.in_(REMOVABLE), findings.id > after)
        .order_by(findings.id)
        .limit(_AT_ONCE)
    )
    if public_id is not None:
        await require_project(work, public_id)
        query = query.where(projects.public_id == public_id)
    return [(finding, project) for finding, project in await work.session.execute(query)]


async def _clean_project(
    services: Services, actor: Actor, project: Project, findings: Sequence[Finding]
) -> tuple[int, int]:
    """Return how many findings were dealt with, and how many were none any more."""
    uploads = [one for one in findings if one.kind is FindingKind.LEFTOVER_UPLOAD]
    contents = [one for one in findings if one.kind is not FindingKind.LEFTOVER_UPLOAD]
    aborted = await _abort(services, project, uploads)
    still = await reconciliation.confirmed(services, project, contents)
    objects = [one.key for one in still if one.kind is FindingKind.OBJECT_WITHOUT_FILE]
    rows = [one.key for one in still if one.kind is FindingKind.FILE_WITHOUT_OBJECT]
    stayed = await removal.remove_objects(services, actor, project, objects)
    async with transaction(services, actor) as work:
        await removal.forget(work, project.id, rows)
        facts = {"objects": len(objects) - len(stayed), "files": len(rows), "uploads": aborted}
        if any(facts.values()):
            trail.record(work, "store.clean", project.public_id, **facts)
        over = [one.id for one in findings if one.key not in stayed]
        await work.session.execute(delete(Finding).where(Finding.columns().id.in_(over)))
    removed = sum(facts.values())
    return removed, len(findings) - removed - len(stayed)


async def _abort(services: Services, project: Project, uploads: Sequence[Finding]) -> int:
    """Abort those of the uploads that still stand still; return how many."""
    if not uploads:
        return 0
    before = services.clock.now() - reconciliation.STALE_AFTER
    asked = {(one.key, one.upload_id) for one in uploads}
    store = await stores.of(services, project)
    stale = await removal.open_uploads(store, project.bucket, before, removal.MOST_AT_ONCE)
    wanted = [one for one in stale if (one.key, one.upload_id) in asked]
    for upload in wanted:
        await store.abort_upload(project.bucket, upload)
    return len(wanted)


async def _with_buckets(work: Work, public_id: str | None) -> Sequence[Project]:
    table = Project.columns()
    query = select(Project).where(has_data(), table.ending.is_(None)).order_by(table.id)
    if public_id is None:
        return (await work.session.scalars(query)).all()
    await require_project(work, public_id)
    found = (await work.session.scalars(query.where(table.public_id == public_id))).all()
    if not found:
        raise NotFound(f"The data of the project '{public_id}' has been removed.")
    return found


async def _has_bucket(services: Services, project: Project) -> bool:
    store = await stores.of(services, project)
    return await store.bucket_exists(project.bucket)


async def _require_nobodys(services: Services, actor: Actor, bucket: str) -> ObjectStore:
    """Return the store that has the bucket, if no project has."""
    async with reading(services, actor) as work:
        used = await work.session.scalar(
            select(exists().where(Project.columns().bucket == bucket, has_data()))
        )
    if used:
        raise Conflict(f"A project has the bucket {bucket}.")
    if not named_by_us(bucket):
        raise Conflict(f"The bucket {bucket} has no name that this service gives: it is another's.")
    async for place in stores.in_use(services):
        with suppress(StoreRefused):  # a unit's own account may not even look
            if await place.store.bucket_exists(bucket):
                return place.store
    raise NotFound(f"The store has no bucket {bucket}.")


async def _forget(work: Work, bucket: str, kind: FindingKind) -> None:
    table = Finding.columns()
    await work.session.execute(delete(Finding).where(table.bucket == bucket, table.kind == kind))
