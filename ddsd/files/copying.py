"""A project's bucket copied from one store to another, object by object, as often as it takes.

Invariant: what is noted as copied was read back from the new store, and had the size and SHA-256 of what was read from
the old one. An object that changes afterwards is copied again; interrupted anywhere, the rest is. The notes stay until
the old copy is forgotten: they tell what uploads that ended late have changed there.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select

from ddsd.access import System
from ddsd.db.statements import insert_into
from ddsd.errors import StoreObjectMissing, StoreRefused
from ddsd.files.removal import REGISTERED_WITHIN
from ddsd.files.tables import ObjectCopy, StoredFile
from ddsd.projects.tables import Project
from ddsd.storage.port import ObjectReader, ObjectStore, StoredObject
from ddsd.work import Services, Work, reading, transaction

Told = Callable[[int], Awaitable[None]]

_AT_ONCE: Final = 4
_PAGE: Final = 500
_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True)
class Route:
    """From which store to which, and what bucket."""

    source: ObjectStore
    target: ObjectStore
    bucket: str


async def copy_new(services: Services, project: Project, route: Route, told: Told) -> int:
    """Copy every object that is not there yet as it is now; return the bytes. Those that vanish meanwhile are passed.

    ``told`` is called with the number of objects after each few, those copied before among them.

    Raises:
        StoreUnavailable, StoreRefused: one of the stores is away, or says no.
    """
    copied_bytes = count = 0
    async for page in _pages(route.source, route.bucket):
        missing = await _not_copied(services, project, page)
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            copies = await _copied_together(route, some)
            await _note(services, project, copies)
            copied_bytes += sum(one.stored.size_bytes for one in copies)
            await told(count + start + len(some) + len(page) - len(missing))
        count += len(page)
        await told(count)
    return copied_bytes


async def settle(route: Route) -> None:
    """Remove from the new store what the old one has no more; refuse if the two do not hold the same then.

    Raises:
        StoreRefused: they differ.
        StoreUnavailable: one of the stores is away.
    """
    extra: list[str] = []
    async for old, new in _merged(route):
        if old is None and new is not None:
            extra.append(new.key)
        elif old is not None and new is None:
            raise StoreRefused(f"The new store lacks {route.bucket}/{old.key}.")
        elif old is not None and new is not None and old.size_bytes != new.size_bytes:
            raise StoreRefused(f"The copy of {route.bucket}/{old.key} has another size.")
    for start in range(0, len(extra), _PAGE):
        await route.target.remove_objects(route.bucket, extra[start : start + _PAGE])


async def copy_late(services: Services, project: Project, route: Route) -> None:
    """Copy what uploads that ended after the switch left at the old store: a key is looked at when they begin.

    Of what is only there, that is what is registered, or may be in a moment. What is at both is copied again if it
    changed at the old store and did not at the new one.

    Raises:
        StoreUnavailable, StoreRefused: one of the stores is away, or says no.
    """
    if not await route.source.bucket_exists(route.bucket):
        return
    lonely: list[StoredObject] = []
    common: list[StoredObject] = []
    async for old, new in _merged(route):
        if old is not None:
            (lonely if new is None else common).append(old)
        if len(lonely) + len(common) == _PAGE:
            await _copy_late(services, project, route, lonely, common)
            lonely, common = [], []
    await _copy_late(services, project, route, lonely, common)


async def is_one_store(route: Route) -> bool:
    """Say whether what is stored in the bucket at the new store is at the old one, too."""
    mark = f"ddsd-mark-{secrets.token_hex(8)}"
    await route.target.put(route.bucket, mark, b"")
    try:
        return await route.source.stat(route.bucket, mark) is not None
    finally:
        await route.target.remove_objects(route.bucket, [mark])


async def forget_all(work: Work, unit_id: int) -> None:
    """Forget what was noted of the copies of all the unit's projects."""
    of_unit = select(Project.columns().id).where(Project.columns().unit_id == unit_id)
    await work.session.execute(
        delete(ObjectCopy).where(ObjectCopy.columns().project_id.in_(of_unit))
    )


@dataclass(frozen=True)
class _Copy:
    stored: StoredObject
    checksum: str


class _Digesting:
    """Passes bytes on and remembers their digest."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def read(self, amount: int = -1) -> bytes:
        chunk = self._reader.read(amount)
        self._digest.update(chunk)
        self.size_bytes += len(chunk)
        return chunk

    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def read_through(self) -> None:
        while self.read(_CHUNK):
            pass


async def _copied_together(route: Route, some: Sequence[StoredObject]) -> list[_Copy]:
    """Copy some objects at once; if one fails, say so only when the others have come to an end."""
    done = await asyncio.gather(*(_copied(route, one) for one in some), return_exceptions=True)
    for one in done:
        if isinstance(one, BaseException):
            raise one
    return [one for one in done if isinstance(one, _Copy)]


async def _copy_late(
    services: Services,
    project: Project,
    route: Route,
    lonely: Sequence[StoredObject],
    common: Sequence[StoredObject],
) -> None:
    """Copy what is late of objects that only the old store has, and of those that both have."""
    noted = await _noted(services, project, [*lonely, *common])
    registered = await _registered(services, project, lonely)
    young = services.clock.now() - REGISTERED_WITHIN
    late = [
        one
        for one in lonely
        if one.key in registered or (one.key not in noted and one.stored_at > young)
    ]
    for one in common:
        note = noted.get(one.key)
        if note and _as_noted(note) != _as_listed(one) and await _is_copy(route, note):
            late.append(one)
    for one in late:
        copy = await _copied(route, one)
        await _note(services, project, [copy] if copy else [])


async def _is_copy(route: Route, note: ObjectCopy) -> bool:
    """Say whether the new store still has what was copied there, and nothing newer."""
    return (await _digest(route.target, route.bucket, note.key)).hexdigest() == note.checksum


async def _registered(
    services: Services, project: Project, some: Sequence[StoredObject]
) -> set[str]:
    table = StoredFile.columns()
    async with reading(services, System()) as work:
        found = await work.session.scalars(
            select(table.name_in_bucket).where(
                table.project_id == project.id,
                table.name_in_bucket.in_([one.key for one in some]),
            )
        )
        return set(found)


def _as_noted(row: ObjectCopy) -> tuple[int, str, datetime]:
    return row.size_bytes, row.etag, row.stored_at


def _as_listed(stored: StoredObject) -> tuple[int, str, datetime]:
    return stored.size_bytes, stored.etag, stored.stored_at


async def _copied(route: Route, stored: StoredObject) -> _Copy | None:
    """Copy an object and read it back; ``None``: it is gone."""
    try:
        reader = await route.source.reader(route.bucket, stored.key)
    except StoreObjectMissing:
        return None
    try:
        source = _Digesting(reader)
        await route.target.put_from(route.bucket, stored.key, source, reader.size_bytes)
        await asyncio.to_thread(
            source.read_through
        )  # ends the answer, which may then be used again
    finally:
        await asyncio.to_thread(reader.close)
    copy = await _digest(route.target, route.bucket, stored.key)
    if (copy.size_bytes, copy.hexdigest()) != (source.size_bytes, source.hexdigest()):
        raise StoreRefused(
            f"The new store gives back something else than was copied to it: {route.bucket}/{stored.key}"
        )
    if source.size_bytes != stored.size_bytes:  # replaced since it was listed: looked at again
        return None
    return _Copy(stored, source.hexdigest())


async def _digest(store: ObjectStore, bucket: str, key: str) -> _Digesting:
    reader = await store.reader(bucket, key)
    try:
        read = _Digesting(reader)
        await asyncio.to_thread(read.read_through)
    finally:
        await asyncio.to_thread(reader.close)
    return read


async def _listing(store: ObjectStore, bucket: str) -> AsyncIterator[StoredObject]:
    """Yield the objects of a bucket; none where there is no bucket."""
    try:
        async for one in store.list_objects(bucket):
            yield one
    except StoreObjectMissing:
        return


async def _merged(route: Route) -> AsyncIterator[tuple[StoredObject | None, StoredObject | None]]:
    """Yield each key's object in the old store and in the new one; both are listed in the order of their keys."""
    olds, news = _listing(route.source, route.bucket), _listing(route.target, route.bucket)
    old, new = await anext(olds, None), await anext(news, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old.key < new.key):
            yield old, None
            old = await anext(olds, None)
        elif old is None or new.key < old.key:
            yield None, new
            new = await anext(news, None)
        else:
            yield old, new
            old, new = await anext(olds, None), await anext(news, None)


async def _pages(store: ObjectStore, bucket: str) -> AsyncIterator[list[StoredObject]]:
    page: list[StoredObject] = []
    async for one in _listing(store, bucket):
        page.append(one)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


async def _not_copied(
    services: Services, project: Project, page: Sequence[StoredObject]
) -> list[StoredObject]:
    noted = await _noted(services, project, page)
    return [
        one for one in page if one.key not in noted or _as_noted(noted[one.key]) != _as_listed(one)
    ]


async def _noted(
    services: Services, project: Project, some: Sequence[StoredObject]
) -> Mapping[str, ObjectCopy]:
    table = ObjectCopy.columns()
    async with reading(services, System()) as work:
        found = await work.session.scalars(
            select(ObjectCopy).where(
                table.project_id == project.id, table.key.in_([one.key for one in some])
            )
        )
        return {row.key: row for row in found}


async def _note(services: Services, project: Project, copies: Sequence[_Copy]) -> None:
    if not copies:
        return
    rows = [
        {
            "project_id": project.id,
            "key": one.stored.key,
            "size_bytes": one.stored.size_bytes,
            "etag": one.stored.etag,
            "stored_at": one.stored.stored_at,
            "checksum": one.checksum,
        }
        for one in copies
    ]
    async with transaction(services, System()) as work:
        adding = insert_into(work.session, ObjectCopy).values(rows)
        again = ("size_bytes", "etag", "stored_at", "checksum")
        await work.session.execute(
            adding.on_conflict_do_update(
                index_elements=["project_id", "key"],
                set_={column: adding.excluded[column] for column in again},
            )
        )
