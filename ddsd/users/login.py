"""Logging in: password, then second factor. One Argon2id run, whether or not the account exists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import select

from ddsd.access import Nobody
from ddsd.audit import trail
from ddsd.errors import Forbidden, InvalidFields, InvalidInput, MailUnavailable, NotAuthenticated
from ddsd.keys import hierarchy
from ddsd.keys.hierarchy import KdfCost, MasterSplit
from ddsd.keys.unlocked import Unlocked, unlock_by_kek
from ddsd.mail import outbox
from ddsd.notices import maintenance
from ddsd.secret import SecretText
from ddsd.users import ceremonies, codes, derivations, limits, passwords, sessions
from ddsd.users.sessions import Caller
from ddsd.users.tables import Passkey, SecondFactor, SessionKind, User, UserEmail
from ddsd.work import Services, Work, reading, transaction

WRONG: Final = "Missing or incorrect credentials"
_LONGEST_PASSWORD: Final = 1024
# An account may be stored anew while Argon2id runs: by a new password, or by a new cost at a login beside this one.
_LOOKS: Final = 2
Check = Callable[[Work, Caller], Awaitable[None]]
"""What a second factor is held against: refuses with ``NotAuthenticated`` what is not right, uses up what is."""
_Begin = Callable[[Work, User, Unlocked], Awaitable[str]]


@dataclass(frozen=True)
class PasswordAccepted:
    """The password was right: a token for the second factor, and which one it is."""

    token: str
    second_factor: SecondFactor


async def check_password(
    services: Services,
    username: str,
    password: SecretText,
    address: str,
    *,
    kind: SessionKind = SessionKind.API,
    agent: str = "",
) -> PasswordAccepted:
    """Take the first step of a login; mail a code where that is the second factor.

    In a browser, somebody with a passkey is not mailed a code before they ask for one: :func:`mail_code`.

    Args:
        services: the process's services; this step opens its own transactions, as Argon2id must not hold one.
        username: compared exactly.
        password: as typed.
        address: the client's, for limits and for the list of sessions.
        kind: where the session's token will be kept.
        agent: what the client calls itself, for the list of sessions.

    Raises:
        TooManyRequests: too many attempts on this account from this address, or from this address.
        NotAuthenticated: unknown account, wrong password, or no password set yet; they take equally long.
        Forbidden: the account is deactivated.
        UnderMaintenance: only super admins may log in now.
        MailUnavailable: the code could not be mailed.
    """
    await spend_attempt(services, username, address)

    async def begin(work: Work, user: User, unlocked: Unlocked) -> str:
        return await sessions.start(work, user, unlocked, address, kind=kind, agent=agent)

    for _ in range(_LOOKS):
        user, split = await _proven(services, username, password)
        token = await _accept(services, user, password, split, begin)
        if token is not None:
            if await _mails_unasked(services, user, kind):
                await mail_code(services, user)
            return PasswordAccepted(token, user.second_factor)
    raise NotAuthenticated(WRONG)


async def prove_password(
    services: Services, username: str, password: SecretText, address: str
) -> tuple[User, MasterSplit]:
    """Check a password without logging in: for what asks for it once more, on the same budget as a login.

    Whoever uses the split must see in their own transaction that the account's ``auth_verifier`` is still the same.

    Raises:
        TooManyRequests: too many attempts on this account from this address, or from this address.
        NotAuthenticated: unknown account, wrong password, or no password set yet; they take equally long.
        Forbidden: the account is deactivated.
        UnderMaintenance: only super admins are served now.
    """
    await spend_attempt(services, username, address)
    user, split = await _proven(services, username, password)
    async with reading(services, Nobody()) as work:
        await maintenance.require_open(work, user.role)
    return user, split


async def prove_again(
    services: Services, caller: Caller, password: SecretText, address: str
) -> tuple[User, MasterSplit]:
    """Ask somebody who is logged in for their password once more: see :func:`prove_password`.

    Raises:
        InvalidFields: it is another one (field ``current``).
        TooManyRequests, Forbidden, UnderMaintenance: see :func:`prove_password`.
    """
    try:
        return await prove_password(services, caller.user.username, password, address)
    except NotAuthenticated:
        raise InvalidFields({"current": ["This is not your password."]}) from None


async def check_token(services: Services, token: str) -> None:
    """Refuse a token that is good for nothing, before anything else of the request is looked at.

    Raises:
        NotAuthenticated, Forbidden, UnderMaintenance: see :func:`ddsd.users.sessions.find`.
    """
    async with reading(services, Nobody()) as work:
        await sessions.find(work, token)


async def check_second_factor(
    services: Services, token: str, *, mailed: str | None, app: str | None
) -> str:
    """Take the second step; return the session token.

    Args:
        services: the process's services; attempts are counted in a transaction of their own.
        token: the partial token.
        mailed: the 8 digits that were mailed, or
        app: the 6 digits the authenticator app shows.

    Raises:
        InvalidInput: neither was given, or not the one this account uses.
        NotAuthenticated: the token or the code is wrong, used, or too old.
        TooManyRequests: too many codes were tried.
    """
    async with reading(services, Nobody()) as work:
        caller = await sessions.find(work, token)
    method = _method(caller.user, mailed=mailed, app=app)

    async def check(work: Work, again: Caller) -> None:
        if method is SecondFactor.MAIL:
            await codes.check_mailed(work, again.user, mailed or "")
        else:
            await codes.check_app(work, again.user, app or "")

    return await _finish(services, caller, token, method.value, check)


async def pass_second_factor(services: Services, token: str, factor: str, check: Check) -> str:
    """Take the second step with another factor than a code; return the session token.

    Args:
        services: the process's services; attempts are counted in a transaction of their own.
        token: the partial token.
        factor: its name, for the audit log.
        check: what it is held against, in the transaction that opens the session.

    Raises:
        NotAuthenticated: the token is wrong or too old, or ``check`` refused.
        TooManyRequests: too many were tried; they are counted together with codes.
    """
    async with reading(services, Nobody()) as work:
        caller = await sessions.find(work, token)
    return await _finish(services, caller, token, factor, check)


async def mail_code(services: Services, user: User) -> None:
    """Mail the account a fresh one-time code, at once, unless the last one is still good.

    Raises:
        MailUnavailable: the mail server did not take it; the next attempt makes a new code.
    """
    async with transaction(services, Nobody()) as work:
        mail = await codes.issue_mailed(work, user, await primary_email(work, user.id))
    if mail is None:
        return
    try:
        await outbox.send_now(services, mail.id)
    except MailUnavailable:
        async with transaction(services, Nobody()) as work:
            await codes.withdraw_mailed(work, user.id)
        raise MailUnavailable(
            "We could not send your one-time code right now. Please try again in a moment."
        ) from None


async def primary_email(work: Work, user_id: int) -> str:
    """Return the address an account is written to."""
    table = UserEmail.columns()
    found = await work.session.execute(
        select(table.email).where(table.user_id == user_id, table.is_primary)
    )
    return str(found.scalar_one())


async def _finish(services: Services, caller: Caller, token: str, factor: str, check: Check) -> str:
    await _spend_code(services, caller)
    async with transaction(services, caller.member) as work:
        again = await sessions.find(work, token)
        await check(work, again)
        trail.record(
            work,
            "session.start",
            again.user.username,
            address=again.session.address,
            factor=factor,
        )
        return await sessions.complete(work, again)


async def _proven(
    services: Services, username: str, password: SecretText
) -> tuple[User, MasterSplit]:
    """Return the account and what follows from its password. One Argon2id run, whatever is wrong.

    For a name without a password it has the cost of a real account, as it has in :mod:`ddsd.users.proof`.
    """
    async with reading(services, Nobody()) as work:
        user, derivation = await derivations.find(work, username)
    if len(password) > _LONGEST_PASSWORD:
        raise NotAuthenticated(WRONG)
    split = await services.deriver.derive(password, derivation.salt, derivation.cost)
    if (
        user is None
        or user.auth_verifier is None
        or not hierarchy.auth_matches(split.auth, user.auth_verifier)
    ):
        raise NotAuthenticated(WRONG)
    if not user.active:
        raise Forbidden("Your account has been deactivated. You cannot use the DDS.")
    return user, split


async def _accept(
    services: Services, user: User, password: SecretText, split: MasterSplit, begin: _Begin
) -> str | None:
    """Open a session; ``None`` if the account was stored anew since ``user`` was read."""
    dearer = await _derive_dearer(services, user, password)
    async with transaction(services, Nobody()) as work:
        await maintenance.require_open(work, user.role)
        current = await work.session.get_one(
            User, user.id, populate_existing=True, with_for_update={"key_share": True}
        )
        if current.auth_verifier != user.auth_verifier:
            return None
        unlocked = unlock(current, split)
        if dearer is not None:
            passwords.follow_cost(current, unlocked, *dearer)
        return await begin(work, current, unlocked)


def unlock(user: User, split: MasterSplit) -> Unlocked:
    """Open the account's private key with what follows from the password.

    Raises:
        SealBroken: the row was tampered with.
    """
    return unlock_by_kek(user.wrapped_private_key or b"", kek=split.kek, user_uid=user.uid)


async def _mails_unasked(services: Services, user: User, kind: SessionKind) -> bool:
    if user.second_factor is not SecondFactor.MAIL:
        return False
    if kind is SessionKind.API or ceremonies.relying_party(services.settings.instance) is None:
        return True
    async with reading(services, Nobody()) as work:
        found = await work.session.execute(
            select(Passkey.columns().id).where(Passkey.columns().user_id == user.id).limit(1)
        )
    return found.first() is None


async def _derive_dearer(
    services: Services, user: User, password: SecretText
) -> tuple[MasterSplit, bytes, KdfCost] | None:
    """Derive anew when the configured cost is no longer the account's."""
    current = derivations.of(user)
    if current is not None and current.cost == services.deriver.cost:
        return None
    return await passwords.derive_new(services, password)


def _method(user: User, *, mailed: str | None, app: str | None) -> SecondFactor:
    if mailed is None and app is None:
        raise InvalidInput("MFA method not supplied")
    if user.second_factor is SecondFactor.MAIL and mailed is None:
        raise InvalidInput(
            "Your account is setup to use one-time authentication code via email, "
            "you cannot authenticate with time-based one-time authentication codes."
        )
    if user.second_factor is SecondFactor.APP and app is None:
        raise InvalidInput(
            "Your account is setup to use time-based one-time authentication codes, "
            "but you entered a one-time authentication code from email."
        )
    return user.second_factor


async def spend_attempt(services: Services, username: str, address: str) -> None:
    """Count one try at an account's password from an address, in whichever way it is tried.

    Raises:
        TooManyRequests: too many on this account from this address, or from this address.
    """
    security = services.settings.security
    refusal = "Too many authentication requests in one hour"
    hour = timedelta(hours=1)
    network = limits.network_of(address)
    await limits.spend(
        services,
        limits.Budget(("login", username, network), security.logins_per_hour, hour, refusal),
        limits.Budget(("address", network), security.logins_per_hour_per_address, hour, refusal),
    )


async def _spend_code(services: Services, caller: Caller) -> None:
    security = services.settings.security
    window = timedelta(minutes=security.code_minutes)
    await limits.spend(
        services,
        limits.Budget(
            ("code", caller.user.uid),
            security.codes_per_window,
            window,
            f"Too many one-time codes were tried. Wait {security.code_minutes} minutes and log in again.",
        ),
    )
