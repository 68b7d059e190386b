"""A unit's own account at the store: given by the operator or made by an administrator of the store, and tried out.

Invariant: no account is kept that was not seen to work. An administrator's key is used once and kept nowhere.
"""

from __future__ import annotations

import re
import secrets
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import exists, select, update

from ddsd.access import Action, Actor, require
from ddsd.audit import trail
from ddsd.errors import Busy, Conflict, DdsError, InvalidFields
from ddsd.files import grants, rotation
from ddsd.files.reconciliation import has_data
from ddsd.jobs import queue
from ddsd.jobs.queue import GiveUp
from ddsd.projects.projects import bucket_name
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.settings import StoreKind, Url
from ddsd.storage.port import ObjectStore, ScopedKey, new_secret_key
from ddsd.storage.stores import StoreAccount, StoreAddress, StoreUser, policy_for
from ddsd.storage.trial import Trial, try_out
from ddsd.units import stores, units
from ddsd.units.tables import StoreState, Unit, UnitStore
from ddsd.units.units import bucket_pattern, spelled
from ddsd.work import Services, Work, reading, transaction

_USER: Final = "ddsd-{}"
_ACCESS_KEY: Final = re.compile(r"[!-~]{3,128}")
_SECRET_KEY: Final = re.compile(r"[!-~]{8,128}")
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")
_ADDRESS: Final = TypeAdapter(Url)
_LONGEST_ADDRESS: Final = 255
_LOOKED_AT_AFTER: Final = timedelta(minutes=5)
"""Long after a user was made, and its account tried out and kept; for when the daemon died in between."""


@dataclass(frozen=True)
class Credentials:
    """What an operator gives for a unit. Addresses that are ``None`` are those the unit has now.

    ``read_only`` and ``wide_upload_keys`` are for stores that make no narrow keys, see :class:`StoreAccount`.
    """

    access_key: str
    secret_key: SecretText
    endpoint: str | None = None
    public_endpoint: str | None = None
    region: str | None = None
    iam_endpoint: str | None = None
    read_only: ScopedKey | None = None
    wide_upload_keys: bool = False


@dataclass(frozen=True)
class Given:
    """The account a unit has now, or would have, and what the operator should know of it."""

    unit: str
    endpoint: str
    public_endpoint: str
    access_key: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class UserPlan:
    """The store user a unit should have: its name, and the policy of the same name."""

    unit: str
    user: str
    policy: dict[str, object]
    address: StoreAddress | None


async def plan(work: Work, public_id: str) -> UserPlan:
    """Return the store user that a unit should have; its address is ``None`` at the embedded store, which has no users.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit.
    """
    require(work.actor, Action.OPERATE)
    unit = await units.find(work, public_id)
    row = await stores.current(work, unit.id)
    return UserPlan(
        unit=public_id,
        user=_USER.format(spelled(unit.internal_ref)),
        policy=policy_for(bucket_pattern(unit.internal_ref)),
        address=address_of(work.services, row),
    )


async def make_user(
    services: Services, actor: Actor, public_id: str, administrator: Credentials, *, dry_run: bool
) -> Given:
    """Let an administrator of the store make the unit's user, and use that from now on.

    A user that is there gets a new secret. Broken off anywhere, it can be done again.

    Raises:
        Forbidden, NotFound, Conflict, InvalidFields, StoreUnavailable, StoreRefused: see :func:`set_credentials`.
    """
    async with reading(services, actor) as work:
        wanted = await plan(work, public_id)
        address = await _address(work, public_id, administrator)
    if dry_run:
        return Given(public_id, address.endpoint, address.public_endpoint, wanted.user, ())
    key = StoreAccount(address, administrator.access_key, administrator.secret_key)
    made = await _made(services, actor, wanted, key)
    given = replace(administrator, access_key=made.name, secret_key=made.secret_key)
    return await set_credentials(services, actor, public_id, given, dry_run=False)


async def make_user_elsewhere(
    services: Services, actor: Actor, public_id: str, administrator: Credentials
) -> Credentials:
    """Let an administrator of another store make the unit's user there; return its account, which nobody keeps yet.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit.
        InvalidFields: the address or the key cannot be one.
        StoreUnavailable, StoreRefused: the store does not answer, or says no.
    """
    async with reading(services, actor) as work:
        wanted = await plan(work, public_id)
        unit = await units.find(work, public_id)
    made = await _made(services, actor, wanted, account_of(services, unit, administrator))
    return replace(administrator, access_key=made.name, secret_key=made.secret_key)


async def _made(
    services: Services, actor: Actor, wanted: UserPlan, administrator: StoreAccount
) -> StoreUser:
    user = StoreUser(wanted.user, new_secret_key(), wanted.policy)
    async with transaction(services, actor) as work:
        changing = await _expect(work, wanted.unit, administrator.address, user)
    try:
        await services.stores.make_user(administrator, user)
    except DdsError:
        if changing is not None:
            with suppress(DdsError, GiveUp):
                await rotation.renew_store_account(services, str(changing))
        raise
    async with transaction(services, actor) as work:
        trail.record(
            work,
            "store.make_user",
            wanted.unit,
            endpoint=administrator.address.endpoint,
            user=user.name,
            administrator=administrator.access_key,
        )
    return user


async def _expect(work: Work, public_id: str, address: StoreAddress, user: StoreUser) -> int | None:
    """Write down the secret that a unit's present account is about to get, and have it found out which it has got.

    Return that account's number; ``None`` if the unit uses another one.

    Raises:
        Busy: its secret is being changed already.
    """
    unit = await units.find(work, public_id, for_change=True)
    row = await stores.current(work, unit.id)
    if row is None or (row.endpoint, row.access_key) != (address.endpoint, user.name):
        return None
    if row.next_secret is not None:
        raise Busy(f"The secret of {user.name} is being changed just now. Please try again.")
    row.next_secret = stores.sealed(work.services, row, user.secret_key, row.access_key)
    await queue.enqueue_unless_active(
        work, rotation.RENEW_STORE_ACCOUNT, str(row.id), run_after=work.now + _LOOKED_AT_AFTER
    )
    return row.id


async def set_credentials(
    services: Services, actor: Actor, public_id: str, wanted: Credentials, *, dry_run: bool
) -> Given:
    """Give a unit another account at the store, once it was seen to work there.

    Links that were given out stay good. Upload keys that were given out stay good until their project is released or
    they expire; new ones come from the new account.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit.
        InvalidFields: an address or key cannot be one.
        Conflict: the unit has data at another store, or no other store is known.
        StoreUnavailable: the store does not answer.
        StoreRefused: the account is wrong, or cannot do what is necessary.
    """
    require(actor, Action.OPERATE)
    async with reading(services, actor) as work:
        unit = await units.find(work, public_id)
        address = await _address(work, public_id, wanted)
    account = _account(unit, address, wanted)
    trial = await tried(services, unit, account)
    if not dry_run:
        async with transaction(services, actor) as work:
            await _keep(work, public_id, account, wanted)
            trail.record(
                work,
                "store.set_credentials",
                public_id,
                endpoint=address.endpoint,
                access_key=account.access_key,
                reaches_further=trial.reaches_further,
            )
    return Given(
        public_id,
        address.endpoint,
        address.public_endpoint,
        account.access_key,
        warnings(trial, account),
    )


def account_of(services: Services, unit: Unit, wanted: Credentials) -> StoreAccount:
    """Return the account at another store that an operator gave, address and all.

    Raises:
        InvalidFields: an address or key cannot be one.
    """
    _check(wanted)
    endpoint = wanted.endpoint or ""
    address = StoreAddress(
        endpoint,
        wanted.public_endpoint or endpoint,
        wanted.region or services.settings.store.region,
        wanted.iam_endpoint or "",
    )
    return _account(unit, address, wanted)


def _account(unit: Unit, address: StoreAddress, wanted: Credentials) -> StoreAccount:
    return StoreAccount(
        address,
        wanted.access_key,
        wanted.secret_key,
        wanted.wide_upload_keys,
        wanted.read_only,
        bucket_pattern(unit.internal_ref),
    )


async def tried(services: Services, unit: Unit, account: StoreAccount) -> Trial:
    """Try an account out in the unit's name.

    Raises:
        StoreUnavailable, StoreRefused: see :func:`ddsd.storage.trial.try_out`.
    """
    inside = bucket_name(f"{unit.internal_ref}{0:05d}", services.clock.now())
    async with AsyncExitStack() as opened:
        store = await _opened(services, account, opened)
        reader = None
        if account.read_only is not None:
            key = account.read_only
            narrow = StoreAccount(account.address, key.access_key, key.secret_key)
            reader = await _opened(services, narrow, opened)
        return await try_out(store, inside, f"ddsd-trial-{secrets.token_hex(8)}", reader)


async def _opened(services: Services, account: StoreAccount, until: AsyncExitStack) -> ObjectStore:
    store = await services.stores.tried(account)
    until.push_async_callback(store.stop)
    return store


def warnings(trial: Trial, account: StoreAccount) -> tuple[str, ...]:
    """Say what an operator should know of an account that works."""
    said = []
    if trial.reaches_further:
        said.append(
            f"The key {account.access_key} can make buckets that are none of this unit's: it reaches further than it "
            "should. See: ddsctl store policy UNIT"
        )
    if account.wide_upload_keys:
        said.append(
            "Uploaders receive this key itself: they can read and remove what they can reach."
        )
    elif trial.no_upload_keys:
        said.append(f"The stock client cannot upload with it. {trial.no_upload_keys}")
    return tuple(said)


def address_of(services: Services, row: UnitStore | None) -> StoreAddress | None:
    """Return where the store of an account is; ``None`` for the embedded one."""
    if row is not None:
        return StoreAddress(row.endpoint, row.public_endpoint, row.region, row.iam_endpoint)
    section = services.settings.store
    if section.kind is StoreKind.EMBEDDED:
        return None
    return StoreAddress(
        section.endpoint,
        section.public_endpoint or section.endpoint,
        section.region,
        section.iam_endpoint,
    )


async def _address(work: Work, public_id: str, wanted: Credentials) -> StoreAddress:
    """Return the address that is meant, if the unit may have its data there."""
    unit = await units.find(work, public_id, for_change=False)
    _check(wanted)
    now = address_of(work.services, await stores.current(work, unit.id))
    endpoint = wanted.endpoint or (now.endpoint if now else None)
    if endpoint is None:
        raise Conflict(
            "The embedded store has no users of its own. Name another store with --endpoint; if the unit has data "
            "already: ddsctl store migrate --unit UNIT --to ADDRESS"
        )
    if (now is None or endpoint != now.endpoint) and await _has_data(work, unit.id):
        raise Conflict(
            f"The unit {public_id} has data at {now.endpoint if now else 'the embedded store'}. "
            f"To move it: ddsctl store migrate --unit {public_id} --to {endpoint}"
        )
    same = now if now is not None and endpoint == now.endpoint else None
    return StoreAddress(
        endpoint,
        wanted.public_endpoint or (same.public_endpoint if same else endpoint),
        wanted.region or (same.region if same else work.services.settings.store.region),
        wanted.iam_endpoint or (same.iam_endpoint if same else ""),
    )


def _check(wanted: Credentials) -> None:
    keys = {"access_key": wanted.access_key}
    if wanted.read_only is not None:
        keys["read_only_access_key"] = wanted.read_only.access_key
    wrong = {
        name: ["must be 3 to 128 letters, digits or signs, without blanks."]
        for name, key in keys.items()
        if not _ACCESS_KEY.fullmatch(key)
    }
    if wanted.access_key == keys.get("read_only_access_key"):
        wrong["read_only_access_key"] = [
            "must be another key than the account's: everybody who may download is shown its name."
        ]
    for name, secret in {
        "secret_key": wanted.secret_key,
        "read_only_secret_key": wanted.read_only.secret_key if wanted.read_only else None,
    }.items():
        if secret is not None and not _SECRET_KEY.fullmatch(secret.text()):
            wrong[name] = ["must be 8 to 128 letters, digits or signs, without blanks."]
    for name, address in {
        "endpoint": wanted.endpoint,
        "public_endpoint": wanted.public_endpoint,
        "iam_endpoint": wanted.iam_endpoint,
    }.items():
        if address is not None and (why := _why_no_address(address)):
            wrong[name] = [why]
    if wanted.region is not None and not _REGION.fullmatch(wanted.region):
        wrong["region"] = ["may only hold the letters a-z, digits and '-'."]
    if wrong:
        raise InvalidFields(wrong)


def _why_no_address(text: str) -> str:
    try:
        address = _ADDRESS.validate_python(text)
    except ValidationError as wrong:
        return wrong.errors(include_url=False, include_input=False)[0]["msg"]
    return "" if 0 < len(address) <= _LONGEST_ADDRESS else "must be the address of a store."


async def _has_data(work: Work, unit_id: int) -> bool:
    found = await work.session.scalar(
        select(exists().where(Project.columns().unit_id == unit_id, has_data()))
    )
    return bool(found)


async def _keep(work: Work, public_id: str, account: StoreAccount, wanted: Credentials) -> None:
    unit = await units.find(work, public_id, for_change=True)
    if await _address(work, public_id, wanted) != account.address:
        raise Conflict("Somebody else changed this unit's store meanwhile. Look, and try again.")
    row = await stores.current(work, unit.id)
    if row is None or (row.endpoint, row.access_key) != (
        account.address.endpoint,
        account.access_key,
    ):
        row = await _succeed(work, unit, row)
    stores.put_account(work.services, row, account)
    row.changed_at = work.now
    await work.session.flush()


async def _succeed(work: Work, unit: Unit, before: UnitStore | None) -> UnitStore:
    """Put a new account into the place of the one before, to which what it made stays known."""
    if before is not None:
        before.state = StoreState.REPLACED
        before.changed_at = work.now
        await work.session.flush()
    row = UnitStore(
        unit_id=unit.id, state=StoreState.CURRENT, created_at=work.now, changed_at=work.now
    )
    work.session.add(row)
    await work.session.flush()
    number = before.id if before else None
    await grants.retire(work, unit.id, number)
    projects = Project.columns()
    await work.session.execute(
        update(Project)
        .where(projects.unit_id == unit.id, projects.store_id.is_not_distinct_from(number))
        .values(store_id=row.id)
        .execution_options(synchronize_session=False)
    )
    return row
