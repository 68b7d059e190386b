"""Logging in without sending the password: the client derives, proves ``auth``, and opens its private key itself.

Invariant: neither password nor ``kek`` comes near this module, so a session that begins here holds no private key. What
is answered about an account, and what is done for it, does not tell whether it exists.
Derivation: docs/formats.md. Why so: docs/decisions/0009-login-without-the-password.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from ddsd.access import Nobody
from ddsd.audit import trail
from ddsd.errors import Conflict, Forbidden, InvalidInput, NotAuthenticated
from ddsd.keys import hierarchy
from ddsd.keys.hierarchy import SALT_BYTES, KdfCost
from ddsd.notices import maintenance
from ddsd.secret import SecretBytes
from ddsd.users import derivations, limits, login, passwords, sessions
from ddsd.users.derivations import Derivation as Derivation
from ddsd.users.login import PasswordAccepted
from ddsd.users.sessions import Caller
from ddsd.users.tables import SecondFactor, User
from ddsd.work import Services, Work, reading, transaction

_TOO_MANY: Final = "Too many authentication requests in one hour"


@dataclass(frozen=True)
class Rederived:
    """The same password under a new salt and cost: ``auth`` (32 bytes), the private key sealed anew (62 bytes)."""

    by: Derivation
    auth: SecretBytes
    wrapped_private_key: bytes


async def derivation(services: Services, username: str, address: str) -> Derivation:
    """Return what an account's password is derived with; for a name without a password, what cannot be told from it.

    Args:
        services: the process's services.
        username: compared exactly; without NUL.
        address: the client's, for limits.

    Raises:
        TooManyRequests: too many questions about this account from this address, or from this address.
    """
    await _spend_question(services, username, address)
    async with reading(services, Nobody()) as work:
        _, derived_with = await derivations.find(work, username)
    return derived_with


async def check(
    services: Services, username: str, auth: SecretBytes, address: str, *, agent: str = ""
) -> PasswordAccepted:
    """Take the first step of a login by ``auth``; mail a code where that is the second factor.

    Args:
        services: the process's services.
        username: compared exactly; without NUL.
        auth: what the client derived, 32 bytes.
        address: the client's, for limits and for the list of sessions.
        agent: what the client calls itself, for the list of sessions.

    Raises:
        TooManyRequests: too many attempts on this account from this address, or from this address; those that send
            the password count as well.
        NotAuthenticated: unknown account, wrong ``auth``, or no password set yet.
        Forbidden: the account is deactivated.
        UnderMaintenance: only super admins may log in now.
        MailUnavailable: the code could not be mailed.
    """
    await login.spend_attempt(services, username, address)
    async with reading(services, Nobody()) as work:
        user = await derivations.named(work, username)
    nobodys = services.instance_key.derive("verifier of nobody").reveal()
    proven = hierarchy.auth_matches(auth, (user and user.auth_verifier) or nobodys)
    if user is None or not proven:
        raise NotAuthenticated(login.WRONG)
    if not user.active:
        raise Forbidden("Your account has been deactivated. You cannot use the DDS.")
    token = await _begin(services, user, address, agent)
    if user.second_factor is SecondFactor.MAIL:
        await login.mail_code(services, user)
    return PasswordAccepted(token, user.second_factor)


def wanted_cost(services: Services, user: User) -> KdfCost | None:
    """Return the cost a client should derive anew with; ``None`` if the account's is what is configured."""
    current = derivations.of(user)
    wanted = services.deriver.cost
    return wanted if current is not None and current.cost != wanted else None


async def follow_cost(
    services: Services, token: str, auth_before: SecretBytes, anew: Rederived
) -> None:
    """Store the same password under the configured cost, as the client derived it; key pair and sessions stay.

    That the new blob opens cannot be checked here: a client opens it before it sends it.

    Args:
        services: the process's services; attempts are counted in a transaction of their own.
        token: a session's.
        auth_before: what follows from the password under the salt and cost stored now.
        anew: what is to be stored.

    Raises:
        NotAuthenticated: the token is good for nothing, or ``auth_before`` is wrong.
        TooManyRequests: too many attempts.
        InvalidInput: another cost than the configured one, or no blob of the right form.
        Conflict: the account has the configured cost already.
    """
    async with reading(services, Nobody()) as work:
        caller = await _full(work, token)
    await login.spend_attempt(services, caller.user.username, caller.session.address)
    async with transaction(services, caller.member) as work:
        user = (await _full(work, token)).user
        await work.session.refresh(user, with_for_update=True)
        _check_rederived(services, user, auth_before, anew)
        user.wrapped_private_key = anew.wrapped_private_key
        passwords.store_proof(user, anew.auth, anew.by.salt, anew.by.cost)
        trail.record(work, "user.follow_cost", user.username)


def _check_rederived(
    services: Services, user: User, auth_before: SecretBytes, anew: Rederived
) -> None:
    if not hierarchy.auth_matches(auth_before, user.auth_verifier or b""):
        raise NotAuthenticated(login.WRONG)
    if wanted_cost(services, user) is None:
        raise Conflict("The account's password is stored at the configured cost already.")
    if anew.by.cost != services.deriver.cost:
        raise InvalidInput("Derive with the cost that this service asks for.")
    if len(anew.by.salt) < SALT_BYTES or not hierarchy.is_user_key(anew.wrapped_private_key):
        raise InvalidInput("The salt or the sealed private key is not of the form described.")


async def _full(work: Work, token: str) -> Caller:
    caller = await sessions.find(work, token)
    sessions.require_second_factor(caller)
    return caller


async def _begin(services: Services, user: User, address: str, agent: str) -> str:
    async with transaction(services, Nobody()) as work:
        await maintenance.require_open(work, user.role)
        current = await work.session.get(User, user.id)
        if current is None or current.auth_verifier != user.auth_verifier:
            raise NotAuthenticated(login.WRONG)
        return await sessions.start(work, current, None, address, agent=agent)


async def _spend_question(services: Services, username: str, address: str) -> None:
    security, hour = services.settings.security, timedelta(hours=1)
    network = limits.network_of(address)
    await limits.spend(
        services,
        limits.Budget(
            ("login-start", username, network), security.logins_per_hour, hour, _TOO_MANY
        ),
        limits.Budget(
            ("login-start-address", network), security.logins_per_hour_per_address, hour, _TOO_MANY
        ),
    )
