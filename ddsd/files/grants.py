"""Grants: the keys and links with which bytes travel between a client and the object store.

Nothing here holds a transaction while it talks to the store. Secrets of keys are sealed under the instance key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, or_, select

from ddsd.access import Actor, Member, System
from ddsd.errors import Busy, Forbidden, StoreRefused, WrongStatus
from ddsd.files import stores
from ddsd.files.stores import Place
from ddsd.files.tables import StoreKey, StoreKeyUse
from ddsd.jobs import queue
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.runner import Handler
from ddsd.projects import gate
from ddsd.projects.status import FINAL, Status
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.storage.port import May, ScopedKey
from ddsd.units.tables import StoreState, UnitStore
from ddsd.users import standing
from ddsd.users.tables import User
from ddsd.work import Services, Work, reading, transaction

REVOKE_STORE_KEY: Final = "revoke_store_key"
_SIGNED_FOR_AT_LEAST: Final = timedelta(seconds=1)
_SIGNED_FOR_AT_MOST: Final = timedelta(days=7)
_REPLACED_KEPT: Final = timedelta(days=30)
"""As long as the longest upload key may last: a job that withdraws one may be waiting."""


@dataclass(frozen=True)
class UploadGrant:
    """What a client needs to store objects in one bucket until ``expires_at``."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: SecretText
    expires_at: datetime | None


async def grant_upload(services: Services, actor: Actor, project: Project) -> UploadGrant:
    """Return a key that can only put objects into the project's bucket; make the bucket if need be.

    The same key is handed out again while at least half its life is left. Who may ask, and in which status, is
    checked by the caller.

    Raises:
        StoreUnavailable: the store is away.
        StoreRefused: the store cannot make such keys; the message is for the operator.
        WrongStatus: the project left In Progress while the key was made.
        Busy: the last of the project's data is being moved to another store.
        Forbidden: the account of who asks was closed while the key was made.
    """
    lifetime = timedelta(hours=services.settings.store.upload_key_hours)
    place = await stores.place_of(services, project)
    key = await _kept(services, actor, place, StoreKeyUse.UPLOAD, project.bucket)
    now = services.clock.now()
    if key is None or (key.expires_at and key.expires_at - now < lifetime / 2):
        await _require_still(services, actor, project)
        await place.store.ensure_bucket(project.bucket)
        key = await place.store.issue_upload_key(project.bucket, lifetime)
        await _keep_for_uploads(services, actor, project, place, key)
    return UploadGrant(
        endpoint=place.store.public_endpoint,
        bucket=project.bucket,
        access_key=key.access_key,
        secret_key=key.secret_key,
        expires_at=key.expires_at,
    )


async def withdraw_uploads(work: Work, project: Project) -> None:
    """Forget the project's upload keys and have them made worthless at the store."""
    table = StoreKey.columns()
    gone = await work.session.execute(
        delete(StoreKey)
        .where(table.use == StoreKeyUse.UPLOAD, table.bucket == project.bucket)
        .returning(table.access_key, table.store_id)
    )
    for access_key, store_id in gone.all():
        await queue.enqueue_or_hasten(work, REVOKE_STORE_KEY, _subject(access_key, store_id))


async def withdraw_uploads_of_unit(services: Services, subject: str) -> None:
    """Handle the job :data:`~ddsd.users.standing.WITHDRAW_UPLOADS_OF_UNIT`: somebody who may have keys was shut out."""
    unit_id, _, _ = subject.partition(" ")
    keys, projects = StoreKey.columns(), Project.columns()
    granted = select(keys.bucket).where(keys.use == StoreKeyUse.UPLOAD)
    async with transaction(services, System()) as work:
        found = await work.session.scalars(
            select(Project)
            .where(projects.unit_id == int(unit_id), projects.bucket.in_(granted))
            .order_by(projects.id)
        )
        for project in found:
            await withdraw_uploads(work, project)


async def retire_uploads(work: Work, project: Project) -> Sequence[str]:
    """Hand out no more the project's upload keys; return what :func:`revoke_store_key` knows each by.

    They stay noted until that has made them worthless: whoever dies before finds them here.
    """
    table = StoreKey.columns()
    keys = await work.session.scalars(
        select(StoreKey).where(table.use == StoreKeyUse.UPLOAD, table.bucket == project.bucket)
    )
    found = keys.all()
    for key in found:
        key.retired_at = key.retired_at or work.now
    return [_subject(key.access_key, key.store_id) for key in found]


async def revoke_store_key(services: Services, subject: str) -> None:
    """Make a key worthless at its store (a job; doing it twice is fine).

    ``subject`` is the key's id and, where a unit's account made it, that account's number.

    Raises:
        GiveUp: the account was replaced, and the store does not take it any more.
        StoreUnavailable, StoreRefused: the store is away, or says no.
    """
    access_key, _, number = subject.partition(" ")
    place = await stores.numbered(services, int(number) if number else None)
    try:
        if place is not None:
            await place.store.revoke_key(access_key)
    except StoreRefused as no:
        if place is None or not place.replaced:
            raise
        await _forget_key(services, access_key)
        raise GiveUp(
            f"{no.message} Remove the key {access_key} at the store, or the account that made it: {place.identity}"
        ) from no
    await _forget_key(services, access_key)


async def _forget_key(services: Services, access_key: str) -> None:
    async with transaction(services, System()) as work:
        await work.session.execute(
            delete(StoreKey).where(StoreKey.columns().access_key == access_key)
        )


async def retire(work: Work, unit_id: int, store_id: int | None, *, at_once: bool = False) -> int:
    """Hand out no more the keys that an account made for a unit; return how many that concerns.

    Links stay good as long as they were signed for, then their key is withdrawn. Upload keys stay good until their
    project is released or they expire. The configured account's key for links is every unit's, and stays.

    Args:
        work: the transaction.
        unit_id: the unit.
        store_id: the account, ``None`` the configured one.
        at_once: have all of them made worthless now, also those retired before.
    """
    table = StoreKey.columns()
    buckets = select(Project.columns().bucket).where(Project.columns().unit_id == unit_id)
    whose = table.bucket.in_(buckets)
    if store_id is not None:
        whose = or_(whose, table.use == StoreKeyUse.DOWNLOAD)
    return await _retire(
        work, and_(table.store_id.is_not_distinct_from(store_id), whose), at_once=at_once
    )


async def retire_all(work: Work, *, at_once: bool = False) -> int:
    """Hand out no more any key that the configured account made; return how many that were. See :func:`retire`."""
    return await _retire(work, StoreKey.columns().store_id.is_(None), at_once=at_once)


async def _retire(work: Work, which: ColumnElement[bool], *, at_once: bool) -> int:
    found = (await work.session.scalars(select(StoreKey).where(which))).all()
    fresh = [key for key in found if key.retired_at is None]
    for key in fresh:
        key.retired_at = work.now
    lifetime = timedelta(hours=work.services.settings.store.download_url_hours)
    for key in found if at_once else fresh:
        over = work.now if at_once else key.expires_at or work.now + lifetime
        await queue.enqueue_or_hasten(
            work, REVOKE_STORE_KEY, _subject(key.access_key, key.store_id), run_after=over
        )
    return len(found if at_once else fresh)


async def download_links(
    services: Services, actor: Actor, project: Project
) -> Callable[[str], str]:
    """Return a function from an object's key to a link that anybody can fetch it with.

    Links are signed by a key that may only read. They last ``store.download_url_hours``, but not beyond the
    project's deadline while it is Available.

    Raises:
        WrongStatus: the project is Available, and its deadline has passed or is less than a second away.
        StoreUnavailable: the signing key has yet to be made, and the store is away.
    """
    expires = _link_lifetime(services, project)
    place = await stores.place_of(services, project)
    key = await _kept(services, actor, place, StoreKeyUse.DOWNLOAD, "")
    if key is None:
        key = await place.store.issue_download_key()
        if key.access_key not in place.operators_keys:
            async with transaction(services, actor) as work:
                _keep(work, place, StoreKeyUse.DOWNLOAD, "", key)
    signer = place.store.download_signer(key)
    now = services.clock.now()
    bucket = project.bucket
    return lambda object_key: signer.sign(bucket, object_key, now=now, expires=expires)


async def sizes_in_store(
    services: Services, project: Project, keys: Iterable[str]
) -> Mapping[str, int | None]:
    """Return the stored bytes of each object, or ``None`` where the store has none."""
    sizes: dict[str, int | None] = {}
    store = await stores.of(services, project)
    for key in keys:
        found = await store.stat(project.bucket, key)
        sizes[key] = None if found is None else found.size_bytes
    return sizes


def _link_lifetime(services: Services, project: Project) -> timedelta:
    lifetime = timedelta(hours=services.settings.store.download_url_hours)
    if project.deadline is None:
        return min(lifetime, _SIGNED_FOR_AT_MOST)
    left = project.deadline - services.clock.now()
    if left >= _SIGNED_FOR_AT_LEAST:
        return min(lifetime, left, _SIGNED_FOR_AT_MOST)
    if project.status is Status.AVAILABLE:  # expiring it is a job's matter, and may take a while
        raise WrongStatus("Current Project status limits file download.")
    return min(lifetime, _SIGNED_FOR_AT_MOST)


async def _kept(
    services: Services, actor: Actor, place: Place, use: StoreKeyUse, bucket: str
) -> ScopedKey | None:
    table = StoreKey.columns()
    async with reading(services, actor) as work:
        found = await work.session.execute(
            select(StoreKey)
            .where(
                table.use == use,
                table.bucket == bucket,
                table.store == place.identity,
                table.store_id.is_not_distinct_from(place.store_id),
                table.retired_at.is_(None),
            )
            .order_by(table.id.desc())
            .limit(1)
        )
        row = found.scalar_one_or_none()
    if row is None:
        return None
    secret = services.instance_key.open(row.secret, _purpose(row.access_key))
    return ScopedKey(
        access_key=row.access_key,
        secret_key=SecretText(secret.reveal().decode()),
        may=May.UPLOAD if use is StoreKeyUse.UPLOAD else May.DOWNLOAD,
        bucket=bucket or None,
        expires_at=row.expires_at,
    )


async def _require_still(services: Services, actor: Actor, project: Project) -> None:
    async with reading(services, actor) as work:
        gate.require_still(await work.session.get_one(Project, project.id))


async def _keep_for_uploads(
    services: Services, actor: Actor, project: Project, place: Place, key: ScopedKey
) -> None:
    """Keep the key; withdraw it if meanwhile the project was released, ended or moved, or who asks was shut out."""
    async with transaction(services, actor) as work:
        found = await work.session.execute(
            select(Project)
            .where(Project.columns().id == project.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        now = found.scalar_one()
        in_progress = now.status is Status.IN_PROGRESS and now.ending is None
        stays = not now.moving and now.store_id == place.store_id
        shut_out = await _is_shut_out(work, actor)
        # A wider one is the operator's own: neither kept nor withdrawn.
        ours = key.may is May.UPLOAD and key.access_key not in place.operators_keys
        if in_progress and stays and ours and not shut_out:
            _keep(work, place, StoreKeyUse.UPLOAD, project.bucket, key)
        elif ours:
            subject = _subject(key.access_key, place.store_id)
            await queue.enqueue_unless_active(work, REVOKE_STORE_KEY, subject)
    if now.ending is not None or now.status in FINAL:
        # Its bucket may have been removed before ours was made. One that still holds objects is not ours.
        with suppress(StoreRefused):
            await place.store.remove_bucket(now.bucket)
    if not in_progress:
        raise WrongStatus("Project not in right status to upload/modify files.")
    if shut_out:
        raise Forbidden("Your account has been closed.")
    if not stays:
        raise Busy("The project's store was changed just now. Please try again.")


async def _is_shut_out(work: Work, actor: Actor) -> bool:
    """Say whether the account of who asks was closed; until the transaction ends, it is not."""
    if not isinstance(actor, Member):
        return False
    user = await work.session.get(
        User, actor.user_id, with_for_update={"read": True}, populate_existing=True
    )
    return user is None or not user.active


def _keep(work: Work, place: Place, use: StoreKeyUse, bucket: str, key: ScopedKey) -> None:
    sealed = work.services.instance_key.seal(key.secret_key.reveal(), _purpose(key.access_key))
    work.session.add(
        StoreKey(
            use=use,
            store=place.identity,
            store_id=place.store_id,
            bucket=bucket,
            access_key=key.access_key,
            secret=sealed,
            created_at=work.now,
            expires_at=key.expires_at,
        )
    )


def _subject(access_key: str, store_id: int | None) -> str:
    return access_key if store_id is None else f"{access_key} {store_id}"


async def forget_expired(work: Work) -> None:
    """Forget keys that the store no longer takes, and replaced accounts that have nothing left to withdraw."""
    table, accounts, projects = StoreKey.columns(), UnitStore.columns(), Project.columns()
    await work.session.execute(
        delete(StoreKey).where(table.expires_at.is_not(None), table.expires_at < work.now)
    )
    await work.session.execute(
        delete(UnitStore).where(
            accounts.state == StoreState.REPLACED,
            accounts.changed_at < work.now - _REPLACED_KEPT,
            accounts.id.not_in(select(table.store_id).where(table.store_id.is_not(None))),
            accounts.id.not_in(select(projects.store_id).where(projects.store_id.is_not(None))),
        )
    )


def _purpose(access_key: str) -> str:
    return f"store key {access_key}"


HANDLERS: Final[Mapping[str, Handler]] = {
    REVOKE_STORE_KEY: revoke_store_key,
    standing.WITHDRAW_UPLOADS_OF_UNIT: withdraw_uploads_of_unit,
}
