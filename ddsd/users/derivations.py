"""What passwords are derived with, per account; and for names without one, what cannot be told from it.

Invariant: whoever asks for a name, or tries a password at it, meets a salt and a cost whether or not it has an account.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from ddsd.keys.hierarchy import SALT_BYTES, KdfCost
from ddsd.users.tables import User
from ddsd.work import Services, Work


@dataclass(frozen=True)
class Derivation:
    """What a client derives with: the salt (16 bytes or more) and the cost."""

    salt: bytes
    cost: KdfCost


def of(user: User) -> Derivation | None:
    """Return what an account's password is derived with; ``None`` if it has none yet."""
    if user.kdf_salt is None:
        return None
    return Derivation(
        user.kdf_salt, KdfCost(user.kdf_memory_kib, user.kdf_iterations, user.kdf_lanes)
    )


async def find(work: Work, username: str) -> tuple[User | None, Derivation]:
    """Return the account of a name, compared exactly, and what to derive with; the same work for every name."""
    place = work.services.instance_key.derive(f"place of nobody {username}").reveal()[:16].hex()
    user = await named(work, username)
    decoy = _decoy(work.services, username, await _neighbour(work, place))
    return user, decoy if user is None else of(user) or decoy


async def named(work: Work, username: str) -> User | None:
    """Return the account of a name, compared exactly."""
    found = await work.session.execute(select(User).where(User.columns().username == username))
    return found.scalar_one_or_none()


async def _neighbour(work: Work, place: str) -> User | None:
    """Return the account with a password whose uid is next to ``place``: a stable choice that follows no name."""
    users = User.columns()
    lowest = select(func.min(users.uid)).where(users.auth_verifier.is_not(None))
    found = await work.session.execute(
        select(User).where(
            users.uid
            == func.coalesce(
                lowest.where(users.uid >= place).scalar_subquery(), lowest.scalar_subquery()
            )
        )
    )
    return found.scalar_one_or_none()


def _decoy(services: Services, username: str, neighbour: User | None) -> Derivation:
    """Return a derivation for nobody; its cost and its changes are those of a real account.

    With the configured cost, and never another salt, decoys would stand out among accounts that still have an older
    cost, and among those whose password changes.
    """
    beside = of(neighbour) if neighbour else None
    cost = beside.cost if beside else services.deriver.cost
    purpose = f"salt of nobody {username} {beside.salt.hex() if beside else ''}"
    return Derivation(services.instance_key.derive(purpose).reveal()[:SALT_BYTES], cost)
