"""Who holds a project's key: everything that wraps, unwraps or forgets goes through here.

A project's private key exists in clear for moments only, inside a request of somebody who holds it. Nobody else
(no operator, no job) can make these calls: they need an :class:`~ddsd.keys.unlocked.Unlocked`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, select

from ddsd.errors import AccessLost
from ddsd.keys.hierarchy import KeyPair, new_key_pair, wrap_project_key
from ddsd.keys.tables import KeyWrap
from ddsd.keys.unlocked import Unlocked
from ddsd.secret import SecretBytes
from ddsd.work import Work


@dataclass(frozen=True)
class Holder:
    """Somebody a key is wrapped for: exactly one of the two ids, and their public key (32 bytes)."""

    public: bytes
    user_id: int | None = None
    invite_id: int | None = None


def new_project_pair() -> KeyPair:
    """Make a project's key pair."""
    return new_key_pair()


def wrap_for(
    work: Work, project_id: int, project_uid: str, private: SecretBytes, holders: Iterable[Holder]
) -> None:
    """Wrap the project's private key for each holder."""
    for holder in holders:
        work.session.add(
            KeyWrap(
                project_id=project_id,
                user_id=holder.user_id,
                invite_id=holder.invite_id,
                blob=wrap_project_key(private, holder_public=holder.public, project=project_uid),
                created_at=work.now,
            )
        )


async def open_for(
    work: Work, unlocked: Unlocked, user_id: int, project_id: int, project_uid: str
) -> SecretBytes:
    """Open the project's private key for a user who holds it: one HPKE open, no Argon2.

    Raises:
        AccessLost: the user holds no wrap of it.
        SealBroken: the wrap does not open: tampered with.
    """
    table = KeyWrap.columns()
    found = await work.session.execute(
        select(table.blob).where(table.project_id == project_id, table.user_id == user_id)
    )
    blob = found.scalar_one_or_none()
    if blob is None:
        raise AccessLost("You have lost access to this project.")
    return unlocked.open_project_key(blob, project_uid)


async def holds(work: Work, user_id: int, project_ids: Iterable[int]) -> Mapping[int, bool]:
    """Say of which of the projects the user holds the key."""
    ids = list(project_ids)
    table = KeyWrap.columns()
    found = await work.session.execute(
        select(table.project_id).where(table.user_id == user_id, table.project_id.in_(ids))
    )
    held = {project_id for (project_id,) in found}
    return {project_id: project_id in held for project_id in ids}


async def forget_project(work: Work, project_id: int) -> None:
    """Remove every wrap of a project: its data can never be read again."""
    await work.session.execute(delete(KeyWrap).where(KeyWrap.columns().project_id == project_id))
