"""Who holds a project's key: everything that wraps, unwraps or forgets goes through here.

A project's private key exists in clear for moments only, inside a request of somebody who holds it. Nobody else
(no operator, no job) can make these calls: they need an :class:`~ddsd.keys.unlocked.Unlocked`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import ColumnElement, and_, column, delete, or_, select, table

from ddsd.audit import trail
from ddsd.db.statements import affected, insert_into
from ddsd.errors import AccessLost, Forbidden
from ddsd.keys.hierarchy import KeyPair, new_key_pair, wrap_project_key
from ddsd.keys.tables import KeyWrap, RecoveryKit
from ddsd.keys.unlocked import OpenedKit, Unlocked
from ddsd.secret import SecretBytes
from ddsd.work import Work

# What a wrap refers to, as far as it is read here: the slices of these tables are above this one.
_PROJECTS: Final = table("projects", column("id"), column("public_id"))
_USERS: Final = table(
    "users", column("id"), column("username"), column("active"), column("public_key")
)
_INVITES: Final = table("invites", column("id"), column("public_key"))


_AT_ONCE: Final = 200
"""How many projects are opened, or wraps added, in one go."""


class Locked(Protocol):
    """What has a key pair of its own: a project. Its wraps are bound to its public id."""

    @property
    def id(self) -> int:
        """Return the row's number."""

    @property
    def public_id(self) -> str:
        """Return the name that wraps are bound to."""


@dataclass(frozen=True)
class Holder:
    """Somebody a key is wrapped for: exactly one of the three ids, and their public key (32 bytes)."""

    public: bytes
    user_id: int | None = None
    invite_id: int | None = None
    kit_id: int | None = None


def new_project_pair() -> KeyPair:
    """Make a project's key pair."""
    return new_key_pair()


def wrap_for(
    work: Work, project_id: int, project_uid: str, private: SecretBytes, holders: Iterable[Holder]
) -> None:
    """Wrap the project's private key for each holder."""
    for holder in holders:
        work.session.add(_wrapped(work, project_id, project_uid, private, holder))


async def open_for(
    work: Work, unlocked: Unlocked, user_id: int, project_id: int, project_uid: str
) -> SecretBytes:
    """Open the project's private key for a user who holds it: one HPKE open, no Argon2.

    Raises:
        AccessLost: the user holds no wrap of it.
        SealBroken: the wrap does not open: tampered with.
    """
    return unlocked.open_project_key(await wrap_of(work, user_id, project_id), project_uid)


async def wrap_of(work: Work, user_id: int, project_id: int) -> bytes:
    """Return the project's private key as it is wrapped for a user (82 bytes), who alone can open it.

    Raises:
        AccessLost: the user holds no wrap of it.
    """
    wraps = KeyWrap.columns()
    found = await work.session.execute(
        select(wraps.blob).where(wraps.project_id == project_id, wraps.user_id == user_id)
    )
    blob = found.scalar_one_or_none()
    if blob is None:
        raise AccessLost("You have lost access to this project.")
    return bytes(blob)


async def holds(work: Work, user_id: int, project_ids: Iterable[int]) -> Mapping[int, bool]:
    """Say of which of the projects the user holds the key."""
    ids = list(project_ids)
    wraps = KeyWrap.columns()
    found = await work.session.execute(
        select(wraps.project_id).where(wraps.user_id == user_id, wraps.project_id.in_(ids))
    )
    held = {project_id for (project_id,) in found}
    return {project_id: project_id in held for project_id in ids}


async def share(
    work: Work, unlocked: Unlocked, from_user_id: int, project: Locked, holders: Iterable[Holder]
) -> int:
    """Wrap a project's key, which one user holds, for others; return how many did not hold it before.

    Whoever holds it already keeps the wrap they have. A holder whose row is gone, or whose key pair was replaced since
    the caller looked, is passed over: :func:`share_many` says how.

    Raises:
        AccessLost: the user holds no wrap of it.
        SealBroken: the user's wrap does not open: tampered with.
    """
    shared = await share_many(work, unlocked, from_user_id, [project], holders)
    if shared.lacking:
        raise AccessLost("You have lost access to this project.")
    return shared.wraps


@dataclass(frozen=True)
class Shared:
    """What came of sharing: how many wraps were made, and the public ids of projects the sharer does not hold."""

    wraps: int
    lacking: Sequence[str]


async def share_many(
    work: Work,
    unlocked: Unlocked,
    from_user_id: int,
    projects: Iterable[Locked],
    holders: Iterable[Holder],
) -> Shared:
    """Wrap the keys of several projects for others, as far as the user holds them.

    The holders' rows are locked until the transaction ends, and their public keys compared with what they are now:
    somebody who resets their password at this moment gets no wrap that they could never open.

    Args:
        work: the transaction.
        unlocked: the sharer's opened key.
        from_user_id: the sharer.
        projects: what to share.
        holders: whom to wrap for.

    Raises:
        SealBroken: a wrap of the sharer's does not open: tampered with.
    """
    theirs = KeyWrap.columns().user_id == from_user_id
    return await _share(work, unlocked, theirs, projects, holders)


async def share_from_kit(
    work: Work,
    opened: OpenedKit,
    kit_id: int,
    projects: Iterable[Locked],
    holders: Iterable[Holder],
) -> Shared:
    """Wrap the keys that a recovery kit holds for others; all else as :func:`share_many`.

    Raises:
        SealBroken: these words are of another kit, or a wrap was tampered with.
    """
    return await _share(work, opened, KeyWrap.columns().kit_id == kit_id, projects, holders)


async def forget_holder(
    work: Work,
    project_ids: Iterable[int] | None = None,
    *,
    user_id: int | None = None,
    invite_id: int | None = None,
    kit_id: int | None = None,
) -> int:
    """Remove the wraps of one holder: of these projects, or of all if none are named; return how many.

    What somebody opened before and kept is not taken back by this. Call :func:`require_another_holder` first.

    Raises:
        ValueError: not exactly one holder is named.
    """
    if sum(one is not None for one in (user_id, invite_id, kit_id)) != 1:
        raise ValueError("name exactly one holder")
    wraps = KeyWrap.columns()
    theirs = [
        one == value
        for one, value in (
            (wraps.user_id, user_id),
            (wraps.invite_id, invite_id),
            (wraps.kit_id, kit_id),
        )
        if value is not None
    ]
    if project_ids is not None:
        theirs.append(wraps.project_id.in_(list(project_ids)))
    return affected(await work.session.execute(delete(KeyWrap).where(*theirs)))


async def held_projects(
    work: Work, *, user_id: int | None = None, kit_id: int | None = None
) -> list[int]:
    """Return the numbers of the projects that a user, or a kit, holds the key of."""
    wraps = KeyWrap.columns()
    whose = wraps.user_id == user_id if user_id is not None else wraps.kit_id == kit_id
    found = await work.session.execute(
        select(wraps.project_id).where(whose).order_by(wraps.project_id)
    )
    return [int(project_id) for (project_id,) in found]


async def require_another_holder(
    work: Work,
    project_ids: Iterable[int],
    leaving_user_id: int | None = None,
    *,
    leaving_kit_id: int | None = None,
    confirmed: bool = False,
) -> None:
    """Refuse to let the last holder of a project's key go: its data could never be read again.

    Of those who stay, active users and recovery kits that are not revoked count. Invites do not, as nobody may ever
    accept them, nor do deactivated users. Projects that the one who leaves does not hold are no matter. The projects
    are locked until the transaction ends, so that of two holders who leave at once the second is refused.

    Args:
        work: the transaction; what is confirmed is audited in it.
        project_ids: the projects to be left.
        leaving_user_id: who leaves.
        leaving_kit_id: or which kit.
        confirmed: let them go all the same: somebody has said that the data may be lost.

    Raises:
        Forbidden: they are the last holder of some of these, which the message names.
    """
    wraps = KeyWrap.columns()
    leaving = (
        wraps.user_id == leaving_user_id
        if leaving_user_id is not None
        else wraps.kit_id == leaving_kit_id
    )
    lost = await _only_held_by(work, list(project_ids), leaving)
    if lost and not confirmed:
        raise Forbidden(
            f"Nobody else holds the key of {', '.join(lost)}: the data could never be read again. "
            "First give somebody access, or make a recovery kit for the unit."
        )
    for public_id in lost:
        trail.record(
            work, "project.lose_last_holder", public_id, user=leaving_user_id, kit=leaving_kit_id
        )


async def _only_held_by(
    work: Work, project_ids: Collection[int], leaving: ColumnElement[bool]
) -> list[str]:
    """Return the public ids of the projects that nobody could open but the one who leaves."""
    await _lock_projects(work, project_ids)
    # Statements of their own after the lock: they see what those have committed who held it before.
    wraps, kits = KeyWrap.columns(), RecoveryKit.columns()
    able = or_(_USERS.c.active.is_(True), and_(kits.id.is_not(None), kits.revoked_at.is_(None)))
    staying = (
        select(wraps.project_id)
        .outerjoin(_USERS, _USERS.c.id == wraps.user_id)
        .outerjoin(RecoveryKit, kits.id == wraps.kit_id)
        .where(wraps.project_id.in_(project_ids), able, leaving.is_not(True))
    )
    safe = {project_id for (project_id,) in await work.session.execute(staying)}
    held = (
        select(_PROJECTS.c.id, _PROJECTS.c.public_id)
        .join(KeyWrap, wraps.project_id == _PROJECTS.c.id)
        .where(_PROJECTS.c.id.in_(project_ids), leaving)
        .order_by(_PROJECTS.c.id)
    )
    found = await work.session.execute(held)
    return [str(public_id) for project_id, public_id in found if project_id not in safe]


async def _lock_projects(work: Work, project_ids: Collection[int]) -> None:
    # In one order, so that two who lock several do not wait for each other.
    await work.session.execute(
        select(_PROJECTS.c.id)
        .where(_PROJECTS.c.id.in_(project_ids))
        .order_by(_PROJECTS.c.id)
        .with_for_update(key_share=True)
    )


async def _unchanged(work: Work, holders: Iterable[Holder]) -> list[Holder]:
    """Return the holders who still have the public key that the caller saw, and lock their rows."""
    return [holder for holder in holders if await _public_of(work, holder) == holder.public]


async def _public_of(work: Work, holder: Holder) -> bytes | None:
    kits = RecoveryKit.columns()
    match holder:
        case Holder(user_id=int(number)):
            query = select(_USERS.c.public_key).where(_USERS.c.id == number)
        case Holder(invite_id=int(number)):
            query = select(_INVITES.c.public_key).where(_INVITES.c.id == number)
        case _:
            query = select(kits.public_key).where(
                kits.id == holder.kit_id, kits.revoked_at.is_(None)
            )
    found = (await work.session.execute(query.with_for_update(read=True))).scalar_one_or_none()
    return None if found is None else bytes(found)


async def _share(
    work: Work,
    opened: Unlocked | OpenedKit,
    theirs: ColumnElement[bool],
    projects: Iterable[Locked],
    holders: Iterable[Holder],
) -> Shared:
    named = {project.id: project.public_id for project in projects}
    wraps = KeyWrap.columns()
    found = await work.session.execute(
        select(wraps.project_id, wraps.blob).where(theirs, wraps.project_id.in_(named))
    )
    blobs = {int(project_id): bytes(blob) for project_id, blob in found}
    missing = await _missing(work, blobs, await _unchanged(work, holders))
    tasks = [(number, named[number], blobs[number], who) for number, who in missing.items()]
    made = 0
    for start in range(0, len(tasks), _AT_ONCE):
        # In a thread: some tenths of a millisecond for each wrap, and a unit may have thousands of projects.
        rows = await asyncio.to_thread(_wrap_again, work, opened, tasks[start : start + _AT_ONCE])
        made += await _add_missing(work, rows)
    return Shared(made, [uid for number, uid in named.items() if number not in blobs])


async def _missing(
    work: Work, project_ids: Iterable[int], holders: Sequence[Holder]
) -> Mapping[int, Sequence[Holder]]:
    """Return, by project, the holders who have no wrap of it; projects that nobody lacks are left out."""
    wraps = KeyWrap.columns()
    found = await work.session.execute(
        select(wraps.project_id, wraps.user_id, wraps.invite_id, wraps.kit_id).where(
            wraps.project_id.in_(list(project_ids))
        )
    )
    present = {tuple(row) for row in found}
    lacking = {
        number: [one for one in holders if (number, *_ids(one)) not in present]
        for number in project_ids
    }
    return {number: who for number, who in lacking.items() if who}


def _wrap_again(
    work: Work,
    opened: Unlocked | OpenedKit,
    tasks: Iterable[tuple[int, str, bytes, Sequence[Holder]]],
) -> list[KeyWrap]:
    rows = []
    for project_id, project_uid, blob, holders in tasks:
        private = opened.open_project_key(blob, project_uid)
        rows += [_wrapped(work, project_id, project_uid, private, one) for one in holders]
    return rows


def _wrapped(
    work: Work, project_id: int, project_uid: str, private: SecretBytes, holder: Holder
) -> KeyWrap:
    return KeyWrap(
        project_id=project_id,
        user_id=holder.user_id,
        invite_id=holder.invite_id,
        kit_id=holder.kit_id,
        blob=wrap_project_key(private, holder_public=holder.public, project=project_uid),
        created_at=work.now,
    )


async def _add_missing(work: Work, rows: Sequence[KeyWrap]) -> int:
    """Add wraps, but none that somebody else has added at this moment; return how many."""
    values = [row.model_dump(exclude={"id"}) for row in rows]
    added = 0
    for start in range(0, len(values), _AT_ONCE):
        inserted = await work.session.execute(
            insert_into(work.session, KeyWrap)
            .values(values[start : start + _AT_ONCE])
            .on_conflict_do_nothing()
        )
        added += affected(inserted)
    return added


def _ids(holder: Holder) -> tuple[int | None, int | None, int | None]:
    return holder.user_id, holder.invite_id, holder.kit_id


async def forget_project(work: Work, project_id: int) -> None:
    """Remove every wrap of a project: its data can never be read again."""
    await work.session.execute(delete(KeyWrap).where(KeyWrap.columns().project_id == project_id))
