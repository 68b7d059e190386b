"""The first password of an account that an operator has made: the person alone chooses it, through a one-time link."""

from __future__ import annotations

from datetime import timedelta

from ddsd.access import Nobody
from ddsd.audit import trail
from ddsd.errors import NotFound
from ddsd.notices import maintenance
from ddsd.secret import SecretBytes, SecretText
from ddsd.users import limits, links, passwords
from ddsd.users.tables import LinkKind, OneTimeLink, User
from ddsd.work import Services, Work, reading, transaction


async def issue(work: Work, user: User) -> str:
    """Make the link with which the person sets the password; earlier ones are worthless from now on."""
    hours = work.services.settings.security.set_password_hours
    return await links.issue(work, user, LinkKind.SET_PASSWORD, timedelta(hours=hours))


async def use(
    services: Services, code: SecretText, password: SecretText, *, address: str = ""
) -> User:
    """Set the account's first password with the link's code; the link is gone afterwards.

    Args:
        services: the process's services; Argon2id runs between two transactions.
        code: the link, or the code in it, as typed or clicked.
        password: the one to set.
        address: the client's, for limits.

    Raises:
        InvalidFields: the password does not meet the rules; the link stays good.
        NotFound: no such link, it was used, or it is too old.
        TooManyRequests: too many from this address.
        UnderMaintenance: the service is closed for this role.
    """
    passwords.check_strength(password)
    secret = links.secret_of(code)
    await limits.spend(services, links.spending(services, "set-password", address))
    async with reading(services, Nobody()) as work:
        _, user = await _find(work, secret)
        await maintenance.require_open(work, user.role)
    split, salt, cost = await passwords.derive_new(services, password)
    async with transaction(services, Nobody()) as work:
        link, user = await _find(work, secret, for_change=True)
        passwords.set_first(work, user, split, salt, cost)
        await work.session.delete(link)
        trail.record(work, "user.set_password", user.username)
    return user


async def _find(
    work: Work, secret: SecretBytes, *, for_change: bool = False
) -> tuple[OneTimeLink, User]:
    link, user = await links.find(work, LinkKind.SET_PASSWORD, secret, for_change=for_change)
    if user.auth_verifier is not None:
        raise NotFound(links.GONE)
    return link, user
