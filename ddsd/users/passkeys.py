"""Passkeys: WebAuthn credentials as the second factor of a web login.

Invariant: what an authenticator answers is a challenge of ours, made within the last minutes for this very session and
good once; and a passkey's signature counter never goes back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from ddsd.access import Nobody
from ddsd.audit import trail
from ddsd.db.statements import affected
from ddsd.errors import (
    AlreadyExists,
    Conflict,
    InvalidFields,
    InvalidInput,
    NotAuthenticated,
    NotFound,
)
from ddsd.mail.render import one_line
from ddsd.users import alerts, ceremonies, login, sessions
from ddsd.users.ceremonies import NotGood, Person, RelyingParty, Signed
from ddsd.users.sessions import Caller
from ddsd.users.tables import Passkey, Session, User
from ddsd.work import Services, Work, transaction

MOST: Final = 20
LONGEST_NAME: Final = 100
_TIME_BYTES: Final = 8
_RANDOM_BYTES: Final = 32
_NOT_ADDED: Final = "The passkey could not be added: its answer is not good. Try again."
_FAILED: Final = "The passkey's answer is not good. Try again, or log in with a code."
_TOO_LATE: Final = "That took too long. Try again."
_COPIED: Final = (
    "This passkey was used elsewhere in the meantime, so it may have been copied. Log in with a code, remove it from "
    "your account, and add it again."
)
_log = structlog.get_logger()


async def listing(work: Work, user_id: int) -> Sequence[Passkey]:
    """Return the account's passkeys, oldest first."""
    table = Passkey.columns()
    found = await work.session.execute(
        select(Passkey).where(table.user_id == user_id).order_by(table.id)
    )
    return found.scalars().all()


async def begin_adding(work: Work, caller: Caller) -> str:
    """Return what the browser is to ask an authenticator for, as JSON; good for five minutes in this session.

    Raises:
        InvalidInput: browsers offer no passkeys at this service's address.
        Conflict: the account has as many as it may.
    """
    party, user = _require_party(work.services), caller.user
    have = await _require_room(work, user)
    person = Person(bytes.fromhex(user.uid), user.username, user.name)
    return ceremonies.creation_options(party, person, _new_challenge(work, caller), _ids(have))


async def add(work: Work, caller: Caller, answer: str, name: str) -> Passkey:
    """Keep the passkey that an authenticator has made, and tell the person by mail.

    Args:
        work: the transaction.
        caller: whose; their session has the challenge.
        answer: the browser's credential as JSON.
        name: what the person calls it, 1 to 100 characters.

    Raises:
        InvalidFields: the name cannot be used; the answer stays good.
        InvalidInput: the answer is not one to our challenge, or came too late.
        AlreadyExists: this very passkey is registered, here or with another account.
        Conflict: the account has as many as it may.
    """
    party, name = _require_party(work.services), _checked_name(name)
    await _require_room(work, caller.user)
    challenge = await _use_challenge(work, caller, InvalidInput)
    try:
        made = ceremonies.check_made(party, challenge, answer)
    except NotGood:
        raise InvalidInput(_NOT_ADDED) from None
    passkey = Passkey(
        user_id=caller.user.id,
        credential_id=made.credential_id,
        public_key=made.public_key,
        sign_count=made.sign_count,
        name=name,
        created_at=work.now,
    )
    work.session.add(passkey)
    try:
        await work.session.flush()
    except IntegrityError:
        raise AlreadyExists("This passkey is registered already.") from None
    trail.record(work, "passkey.add", caller.user.username, name=name)
    await alerts.security_notice(work, caller.user, f"The passkey “{name}” was added.")
    return passkey


async def remove(work: Work, caller: Caller, passkey_id: int) -> str:
    """Forget one of the caller's passkeys, and tell them by mail; return what it was called.

    Raises:
        NotFound: they have none of that number.
    """
    table = Passkey.columns()
    gone = await work.session.execute(
        delete(Passkey)
        .where(table.id == passkey_id, table.user_id == caller.user.id)
        .returning(table.name)
    )
    name = gone.scalar_one_or_none()
    if name is None:
        raise NotFound("You have no such passkey.")
    trail.record(work, "passkey.remove", caller.user.username, name=name)
    await alerts.security_notice(work, caller.user, f"The passkey “{name}” was removed.")
    return str(name)


async def begin_login(services: Services, token: str) -> str:
    """Return what the browser is to let an authenticator sign, as JSON; good for five minutes and this login.

    Args:
        services: the process's services.
        token: the partial token.

    Raises:
        NotAuthenticated: the token is wrong or too old.
        InvalidInput: browsers offer no passkeys at this service's address.
        NotFound: the account has none.
    """
    party = _require_party(services)
    async with transaction(services, Nobody()) as work:
        caller = await sessions.find(work, token)
        have = await listing(work, caller.user.id)
        if not have:
            raise NotFound("Your account has no passkey. Log in with a code.")
        return ceremonies.request_options(party, _new_challenge(work, caller), _ids(have))


async def log_in(services: Services, token: str, answer: str) -> str:
    """Take the second step of a login with a passkey; return the session token.

    Args:
        services: the process's services.
        token: the partial token.
        answer: the browser's credential as JSON.

    Raises:
        NotAuthenticated: the token is wrong or too old, or the answer is not one of a passkey of this account to
            our challenge, or the passkey's counter went back.
        TooManyRequests: too many second factors of any kind were tried.
    """
    party = _require_party(services)

    async def check(work: Work, caller: Caller) -> None:
        try:
            await _hold_against(work, caller, party, ceremonies.read_signed(answer))
        except NotGood:
            raise NotAuthenticated(_FAILED) from None

    return await login.pass_second_factor(services, token, "passkey", check)


async def _hold_against(work: Work, caller: Caller, party: RelyingParty, signed: Signed) -> None:
    table = Passkey.columns()
    mine = table.user_id == caller.user.id
    found = await work.session.execute(
        select(Passkey).where(table.credential_id == signed.credential_id, mine)
    )
    passkey = found.scalar_one_or_none()
    if passkey is None or not signed.is_for(bytes.fromhex(caller.user.uid)):
        raise NotGood
    challenge = await _use_challenge(work, caller, NotAuthenticated)
    count = ceremonies.check_signed(party, challenge, signed, passkey.public_key)
    await _count(work, passkey, count)


async def _count(work: Work, passkey: Passkey, count: int) -> None:
    """Note a use. A counter that stays at nought counts nothing: many authenticators keep none."""
    table, known = Passkey.columns(), passkey.sign_count
    noted = await work.session.execute(
        update(Passkey)
        .where(table.id == passkey.id, table.sign_count == known)
        .values(sign_count=count, used_at=work.now)
    )
    if not affected(noted) or (count <= known and (count or known)):
        _log.warning("passkey.counter_went_back", passkey=passkey.id, known=known, shown=count)
        raise NotAuthenticated(_COPIED)


async def _require_room(work: Work, user: User) -> Sequence[Passkey]:
    # The account's row is held, so that of two who add the last one at once only one does.
    await work.session.get_one(User, user.id, with_for_update=True)
    have = await listing(work, user.id)
    if len(have) >= MOST:
        raise Conflict(f"You have {MOST} passkeys. Remove one before you add another.")
    return have


def _new_challenge(work: Work, caller: Caller) -> bytes:
    """Give the session a new challenge: 8 bytes of Unix time, which say how old it is, and 32 random ones."""
    moment = int(work.now.timestamp()).to_bytes(_TIME_BYTES, "big")
    caller.session.challenge = moment + os.urandom(_RANDOM_BYTES)
    return caller.session.challenge


async def _use_challenge(
    work: Work, caller: Caller, refusal: type[InvalidInput] | type[NotAuthenticated]
) -> bytes:
    """Take the session's challenge away and return it: of two who answer it at once the second finds it gone."""
    table, challenge = Session.columns(), caller.session.challenge
    taken = await work.session.execute(
        update(Session)
        .where(table.id == caller.session.id, table.challenge == challenge)
        .values(challenge=None)
    )
    if challenge is None or not affected(taken):
        raise refusal(_TOO_LATE)
    made = int.from_bytes(challenge[:_TIME_BYTES], "big")
    if work.now.timestamp() - made > ceremonies.LIFETIME.total_seconds():
        raise refusal(_TOO_LATE)
    return challenge


def _require_party(services: Services) -> RelyingParty:
    party = ceremonies.relying_party(services.settings.instance)
    if party is None:
        raise InvalidInput("Browsers offer passkeys only to sites that use HTTPS and have a name.")
    return party


def _checked_name(typed: str) -> str:
    name = one_line(typed)
    if not 1 <= len(name) <= LONGEST_NAME:
        raise InvalidFields(
            {"name": [f"Give the passkey a name of 1 to {LONGEST_NAME} characters."]}
        )
    return name


def _ids(passkeys: Sequence[Passkey]) -> list[bytes]:
    return [one.credential_id for one in passkeys]
