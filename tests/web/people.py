"""People on their way to an account: their links, as they get them in a mail."""

from __future__ import annotations

from dataclasses import replace

from ddsd.access import Role, System
from ddsd.users import accounts, invites
from ddsd.work import transaction
from tests.world import EMAIL, World, make_world

GOOD = "Wellen-und-Strand-7"


async def link_for_new_account(world: World, username: str = "newcomer") -> str:
    """Make an account without a password; return its link."""
    async with transaction(world.services, System()) as work:
        made = await accounts.create(
            work,
            username=username,
            name="New Comer",
            email=EMAIL.format(username),
            role=Role.RESEARCHER,
            unit_public_id=None,
        )
    return made.link


async def invite(
    world: World,
    who: str = "newcomer",
    role: Role = Role.RESEARCHER,
    unit_id: int | None = None,
) -> str:
    """Invite somebody to nothing in particular; return the link."""
    async with transaction(world.services, System()) as work:
        await invites.create(
            work,
            email=EMAIL.format(who),
            role=role,
            unit_id=unit_id,
            inviter="Unit 1",
            unit_contact="unit1@example.org",
        )
    return await invite_link(world, who)


async def invite_link(world: World, who: str = "newcomer") -> str:
    """Return the link in the newest invite mailed to somebody."""
    mail = await world.newest_mail(EMAIL.format(who), "invite")
    return next(word for word in mail.split() if "/register#" in word)


def code_of(link: str) -> str:
    """Return what a script moves from the address into the form."""
    return link.partition("#")[2]


def allowing_attempts(world: World, attempts: int) -> World:
    """Return the same world, seen by another browser, where an address may try this often in an hour."""
    settings = world.services.settings
    security = settings.security.model_copy(update={"logins_per_hour_per_address": attempts})
    strict = settings.model_copy(update={"security": security})
    return make_world(replace(world.services, settings=strict), world.clock)
