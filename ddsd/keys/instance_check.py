"""Whether the instance key is the one that this database was made with.

Invariant: a daemon with another key never serves: it would seal new secrets that the right key does not
open, and could open none of the old ones.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ddsd.db.engine import Database
from ddsd.db.statements import insert_into
from ddsd.errors import ConfigurationError, SealBroken
from ddsd.keys.instance import InstanceKey
from ddsd.keys.tables import InstanceCheck

PURPOSE: Final = "instance-check"
_ONLY: Final = 1
_PLAIN: Final = b"ddsd"


async def require_same_key(database: Database, key: InstanceKey) -> None:
    """Refuse any key but the one that sealed the database's check; the first key to come seals it.

    Raises:
        ConfigurationError: it is another key.
        DatabaseUnavailable: the database is away.
    """
    async with database.reading() as session:
        sealed = await _sealed(session)
    if sealed is None:
        async with database.writing() as session:
            sealed = await _seal_once(session, key)
    try:
        key.open(sealed, PURPOSE)
    except SealBroken as wrong:
        raise ConfigurationError(
            "instance.key_file is not the key this database was made with: what is sealed in the"
            " database does not open. Restore the right key from your copy of it, or name the"
            " right database in database.url"
        ) from wrong


async def _seal_once(session: AsyncSession, key: InstanceKey) -> bytes:
    """Seal the check unless another daemon was first; return the one that counts."""
    values = {"id": _ONLY, "blob": key.seal(_PLAIN, PURPOSE)}
    insert = insert_into(session, InstanceCheck).values(values)
    await session.execute(insert.on_conflict_do_nothing())
    sealed = await _sealed(session)
    assert sealed is not None  # noqa: S101 - somebody has just written it
    return sealed


async def _sealed(session: AsyncSession) -> bytes | None:
    return await session.scalar(select(InstanceCheck.columns().blob))
