"""What happens to people in tests of the stock wire, by means that have no endpoint yet."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from ddsd.access import System
from ddsd.mail import outbox
from ddsd.mail.outbox import Envelope
from ddsd.notices.tables import Switch
from ddsd.users.tables import SecondFactor, User
from ddsd.work import reading, transaction
from tests.world import EMAIL, World


async def change(world: World, username: str, **columns: Any) -> None:
    """Change an account's row."""
    async with transaction(world.services, System()) as work:
        await work.session.execute(
            update(User).where(User.columns().username == username).values(**columns)
        )


async def deactivate(world: World, username: str) -> None:
    """Close an account."""
    await change(world, username, active=False)


async def begin_maintenance(world: World) -> None:
    """Close the service to all but super admins."""
    async with transaction(world.services, System()) as work:
        work.session.add(Switch(name="maintenance", on=True))


async def use_app(world: World, username: str, secret: bytes) -> None:
    """Make an authenticator app with this secret (20 bytes) an account's second factor."""
    async with transaction(world.services, System()) as work:
        found = await work.session.execute(select(User).where(User.columns().username == username))
        user = found.scalar_one()
        user.second_factor = SecondFactor.APP
        user.totp_secret = world.services.instance_key.seal(secret, f"totp secret of {user.uid}")


async def mails(world: World, username: str, kind: str | None = None) -> list[Envelope]:
    """Return the letters to somebody, newest first."""
    async with reading(world.services, System()) as work:
        letters = await outbox.listing(work, 100, EMAIL.format(username))
    return [letter for letter in letters if kind in {None, letter.kind}]
