"""New keys at the stores: accounts get new secrets, and nothing that was made before is handed out again.

Invariant: a secret that the store may have been told is in the database already: whoever dies in between, one of the
two that are known there is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from ddsd.access import Action, System, require
from ddsd.audit import trail
from ddsd.errors import StoreRefused
from ddsd.files import grants
from ddsd.files import stores as places
from ddsd.jobs import queue
from ddsd.jobs.queue import GiveUp
from ddsd.jobs.runner import Handler
from ddsd.storage.port import new_secret_key
from ddsd.storage.stores import StoreAccount
from ddsd.units import stores, units
from ddsd.units.stores import UnitStoreRow
from ddsd.units.tables import StoreState, Unit, UnitStore
from ddsd.work import Services, Work, reading, transaction

RENEW_STORE_ACCOUNT: Final = "renew_store_account"


@dataclass(frozen=True)
class Rotated:
    """What becomes of an account's keys.

    ``unit`` is empty for the configured account. ``job`` changes the account's secret; ``None``: it has to be changed
    at the store. ``keys`` are those handed out no more; the last is worthless at ``good_until``.
    """

    unit: str
    access_key: str
    job: int | None
    keys: int
    good_until: datetime


async def rotate(work: Work, public_id: str | None, *, at_once: bool) -> list[Rotated]:
    """Let one unit, or the configured account and every unit with its own, have new keys.

    Args:
        work: the transaction.
        public_id: the unit; without an account of its own, those of the configured account's keys that are its alone.
        at_once: let keys that are out be worthless now. Transfers with them break off.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit.
    """
    require(work.actor, Action.OPERATE)
    if public_id is None:
        rows = await stores.every(work)
        done = [await _rotate_configured(work, at_once)]
    else:
        unit = await units.find(work, public_id)
        rows = [one for one in await stores.every(work) if one.store.unit_id == unit.id]
        done = await _rotate_its_configured(work, unit, rows, at_once)
    own = [one for one in rows if one.store.endpoint]
    return done + [
        await _rotate_unit(work, one, at_once)
        for one in own
        if at_once or one.store.state is not StoreState.REPLACED
    ]


async def renew_store_account(services: Services, subject: str) -> None:
    """Handle the job :data:`RENEW_STORE_ACCOUNT`: tell the store an account's next secret, then use it.

    ``subject`` is the account's number. Interrupted anywhere, it can be done again.

    Raises:
        GiveUp: the store does not let the account change its secret; the one it has is used on.
        StoreUnavailable: the store does not answer.
    """
    async with reading(services, System()) as work:
        row = await work.session.get(UnitStore, int(subject))
    fresh = None if row is None else stores.next_secret(services, row)
    if row is None or fresh is None:
        return
    account = stores.account(services, row)
    renewed = replace(account, secret_key=fresh)
    if not await _works(services, renewed):
        try:
            await (await places.at(services, row)).store.change_secret(fresh)
        except StoreRefused as no:
            await _settle(services, row.id, account)
            raise GiveUp(
                f"{no.message} Change the secret of {row.access_key} at the store, then: ddsctl store set-credentials"
            ) from no
    await _settle(services, row.id, renewed)


async def _rotate_configured(work: Work, at_once: bool) -> Rotated:
    keys = await grants.retire_all(work, at_once=at_once)
    return _told(work, "", work.services.settings.store.access_key, None, keys, at_once)


async def _rotate_its_configured(
    work: Work, unit: Unit, rows: Sequence[UnitStoreRow], at_once: bool
) -> list[Rotated]:
    """Let a unit have new keys of the configured account, as far as it uses that, or did."""
    has_own = any(one.store.state is StoreState.CURRENT for one in rows)
    keys = await grants.retire(work, unit.id, None, at_once=at_once)
    if has_own and not keys:
        return []
    access_key = work.services.settings.store.access_key
    return [_told(work, unit.public_id, access_key, None, keys, at_once)]


async def _rotate_unit(work: Work, one: UnitStoreRow, at_once: bool) -> Rotated:
    """Let an account have another secret, and its unit new keys; of a replaced one, keys are all that is left."""
    row, job = one.store, None
    known = row.state is not StoreState.REPLACED
    if known and not (
        row.wide_upload_keys or row.read_only_access_key or row.iam_endpoint
    ):  # no MinIO
        if row.next_secret is None:
            row.next_secret = stores.sealed(work.services, row, new_secret_key(), row.access_key)
        job = await queue.enqueue_unless_active(work, RENEW_STORE_ACCOUNT, str(row.id))
    keys = await grants.retire(work, row.unit_id, row.id, at_once=at_once)
    return _told(work, one.unit, row.access_key, job.id if job else None, keys, at_once)


def _told(
    work: Work, unit: str, access_key: str, job: int | None, keys: int, at_once: bool
) -> Rotated:
    section = work.services.settings.store
    longest = timedelta(hours=max(section.download_url_hours, section.upload_key_hours))
    trail.record(
        work, "store.rotate_keys", unit or "all", access_key=access_key, keys=keys, at_once=at_once
    )
    return Rotated(unit, access_key, job, keys, work.now if at_once else work.now + longest)


async def _works(services: Services, account: StoreAccount) -> bool:
    store = await services.stores.tried(account)
    try:
        await store.probe()
    except StoreRefused:
        return False
    finally:
        await store.stop()
    return True


async def _settle(services: Services, store_id: int, account: StoreAccount) -> None:
    """Write down which secret it is; if somebody gave another meanwhile, that one."""
    async with transaction(services, System()) as work:
        row = await work.session.get(UnitStore, store_id, with_for_update=True)
        if row is not None and row.next_secret is not None:
            renewed = account.secret_key != stores.account(services, row).secret_key
            stores.put_account(services, row, account)
            row.changed_at = work.now
            unit = await work.session.get_one(Unit, row.unit_id)
            trail.record(
                work,
                "store.renew_account",
                unit.public_id,
                access_key=row.access_key,
                renewed=renewed,
            )


HANDLERS: Final[Mapping[str, Handler]] = {RENEW_STORE_ACCOUNT: renew_store_account}
