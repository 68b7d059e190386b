"""The accounts that units have at stores, as rows; their secrets are sealed under the instance key.

Invariant: a unit has one current account at most, and one former one. Without any it uses the configured store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from ddsd.secret import SecretText
from ddsd.storage.port import May, ScopedKey
from ddsd.storage.stores import StoreAccount, StoreAddress
from ddsd.units.tables import StoreState, Unit, UnitStore
from ddsd.work import Services, Work


@dataclass(frozen=True)
class UnitStoreRow:
    """A unit's account at a store, and the unit by its public id."""

    unit: str
    store: UnitStore


async def current(work: Work, unit_id: int) -> UnitStore | None:
    """Return the account at the store where the unit's new projects go; ``None``: the configured store."""
    return await _in_state(work, unit_id, StoreState.CURRENT)


async def former(work: Work, unit_id: int) -> UnitStore | None:
    """Return the account at the store from where the unit's projects are, or have been, moved away."""
    return await _in_state(work, unit_id, StoreState.FORMER)


async def current_id(work: Work, unit_id: int) -> int | None:
    """Return the number of the unit's current account; ``None``: the configured store."""
    table = UnitStore.columns()
    number: int | None = await work.session.scalar(
        select(table.id).where(table.unit_id == unit_id, table.state == StoreState.CURRENT)
    )
    return number


async def listing(work: Work) -> Sequence[UnitStoreRow]:
    """Return the current and former accounts of every unit, by unit."""
    return [one for one in await every(work) if one.store.state is not StoreState.REPLACED]


async def every(work: Work) -> Sequence[UnitStoreRow]:
    """Return all accounts of every unit, by unit, also those that were replaced."""
    table, units = UnitStore.columns(), Unit.columns()
    found = await work.session.execute(
        select(UnitStore, units.public_id)
        .join(Unit, units.id == table.unit_id)
        .order_by(units.public_id, table.state, table.id)
    )
    return [UnitStoreRow(unit, store) for store, unit in found]


def account(services: Services, row: UnitStore) -> StoreAccount:
    """Return what a row holds, with its secrets opened.

    Raises:
        SealBroken: they were sealed under another instance key.
    """
    read_only = None
    if row.read_only_access_key:
        secret = _opened(services, row, row.read_only_access_key, row.read_only_secret)
        read_only = ScopedKey(row.read_only_access_key, secret, May.DOWNLOAD)
    return StoreAccount(
        address=StoreAddress(row.endpoint, row.public_endpoint, row.region, row.iam_endpoint),
        access_key=row.access_key,
        secret_key=_opened(services, row, row.access_key, row.secret),
        wide_upload_keys=row.wide_upload_keys,
        read_only=read_only,
        buckets=row.buckets,
    )


def next_secret(services: Services, row: UnitStore) -> SecretText | None:
    """Return the secret that the store is being told, if it is."""
    if row.next_secret is None:
        return None
    return _opened(services, row, row.access_key, row.next_secret)


def put_account(services: Services, row: UnitStore, account: StoreAccount) -> None:
    """Write an account into a row, its secrets sealed."""
    row.endpoint = account.address.endpoint
    row.public_endpoint = account.address.public_endpoint
    row.region = account.address.region
    row.iam_endpoint = account.address.iam_endpoint
    row.buckets = account.buckets
    row.access_key = account.access_key
    row.secret = sealed(services, row, account.secret_key, account.access_key)
    row.next_secret = None
    row.wide_upload_keys = account.wide_upload_keys
    row.read_only_access_key, row.read_only_secret = "", None
    if account.read_only is not None:
        key = account.read_only
        row.read_only_access_key = key.access_key
        row.read_only_secret = sealed(services, row, key.secret_key, key.access_key)


def sealed(services: Services, row: UnitStore, secret: SecretText, access_key: str) -> bytes:
    """Return a secret as it goes into the row."""
    return services.instance_key.seal(secret.reveal(), _purpose(row, access_key))


def _opened(services: Services, row: UnitStore, access_key: str, blob: bytes | None) -> SecretText:
    secret = services.instance_key.open(blob or b"", _purpose(row, access_key))
    return SecretText(secret.reveal().decode())


def _purpose(row: UnitStore, access_key: str) -> str:
    return f"store account of unit {row.unit_id} {row.endpoint} {access_key}"


async def _in_state(work: Work, unit_id: int, state: StoreState) -> UnitStore | None:
    table = UnitStore.columns()
    found = await work.session.execute(
        select(UnitStore).where(table.unit_id == unit_id, table.state == state)
    )
    return found.scalar_one_or_none()
