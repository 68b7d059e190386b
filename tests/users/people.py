"""People for tests of accounts, made without a plane."""

from __future__ import annotations

from typing import Any

from ddsd.access import System
from ddsd.secret import SecretText
from ddsd.users import passwords
from ddsd.users.tables import User
from ddsd.work import Services, transaction
from tests.builders import a_user

PASSWORD = SecretText("Correct-horse-1")


async def somebody(services: Services, **fields: Any) -> User:
    """Add an account with :data:`PASSWORD`."""
    split, salt, cost = await passwords.derive_new(services, PASSWORD)
    async with transaction(services, System()) as work:
        user = await a_user(work.session, **fields)
        passwords.set_first(work, user, split, salt, cost)
    return user
