"""The check that a database and an instance key belong together, on both databases."""

from __future__ import annotations

import asyncio

import pytest

from ddsd.db.engine import Database
from ddsd.errors import ConfigurationError
from ddsd.keys.instance import InstanceKey
from ddsd.keys.instance_check import require_same_key


async def test_the_first_key_is_taken_and_comes_again(database: Database) -> None:
    key = InstanceKey.generate()
    await require_same_key(database, key)
    await require_same_key(database, key)


async def test_another_key_is_refused(database: Database) -> None:
    await require_same_key(database, InstanceKey.generate())
    with pytest.raises(ConfigurationError, match="not the key this database was made with"):
        await require_same_key(database, InstanceKey.generate())


async def test_of_two_first_keys_at_once_one_is_taken(database: Database) -> None:
    keys = [InstanceKey.generate(), InstanceKey.generate()]
    asked = (require_same_key(database, key) for key in keys)
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in ended if one is not None] == [ConfigurationError]
