"""Passkeys: WebAuthn credentials as the second factor of a web login (W3C Web Authentication, Level 2).

Invariant: what an authenticator signs is a challenge of ours, made within the last minutes for this very session and
good once; and a passkey's signature counter never goes back.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar
from urllib.parse import urlsplit

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

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
from ddsd.settings import Instance
from ddsd.users import alerts, login, sessions
from ddsd.users.sessions import Caller
from ddsd.users.tables import Passkey, Session
from ddsd.work import Services, Work, transaction

MOST: Final = 20
LONGEST_NAME: Final = 100
_LIFETIME: Final = timedelta(minutes=5)
_TIME_BYTES: Final = 8
_RANDOM_BYTES: Final = 32
_FAILED: Final = "The passkey's answer is not good. Try again, or log in with a code."
_TOO_LATE: Final = "That took too long. Try again."
_COPIED: Final = (
    "This passkey was used elsewhere in the meantime, so it may have been copied. Log in with a code, remove it from "
    "your account, and add it again."
)
_log = structlog.get_logger()
_Verified = TypeVar("_Verified")


@dataclass(frozen=True)
class RelyingParty:
    """Who asks for passkeys: they are good for the host ``id`` alone, on pages of ``origin``."""

    id: str
    origin: str
    name: str


def relying_party(instance: Instance) -> RelyingParty | None:
    """Return who this service is to an authenticator; ``None`` where browsers offer no passkeys.

    They do so on HTTPS at a host with a name, and on localhost. A service on a loopback address is asked at localhost.
    """
    url = urlsplit(instance.public_url)
    host = url.hostname or ""
    if _is_loopback(host):
        port = f":{url.port}" if url.port else ""
        return RelyingParty("localhost", f"{url.scheme}://localhost{port}", instance.facility)
    if url.scheme != "https" or _is_address(host):
        return None
    return RelyingParty(host, f"https://{url.netloc}", instance.facility)


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
    party = _require_party(work.services)
    passkeys = await listing(work, caller.user.id)
    if len(passkeys) >= MOST:
        raise Conflict(f"You have {MOST} passkeys. Remove one before you add another.")
    options = generate_registration_options(
        rp_id=party.id,
        rp_name=party.name,
        user_id=bytes.fromhex(caller.user.uid),
        user_name=caller.user.username,
        user_display_name=caller.user.name,
        challenge=_challenge(work, caller),
        timeout=_milliseconds(_LIFETIME),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=_descriptors(passkeys),
    )
    return options_to_json(options)


async def add(work: Work, caller: Caller, answer: str, name: str) -> Passkey:
    """Keep the passkey that an authenticator has made, and tell the person by mail.

    Args:
        work: the transaction.
        caller: whose; their session has the challenge.
        answer: the browser's credential as JSON.
        name: what the person calls it, 1 to 100 characters.

    Raises:
        InvalidFields: the name cannot be used.
        InvalidInput: the answer is not one to our challenge, or came too late.
        AlreadyExists: this very passkey is registered, here or with another account.
        Conflict: the account has as many as it may.
    """
    party, name = _require_party(work.services), _checked_name(name)
    await _require_room(work, caller)
    challenge = await _use_challenge(work, caller, InvalidInput)
    made = _verified(
        lambda: verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
        ),
        InvalidInput("The passkey could not be added: its answer is not good. Try again."),
    )
    passkey = Passkey(
        user_id=caller.user.id,
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
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
    await alerts.factor_changed(work, caller.user, f"The passkey “{name}” was added.")
    return passkey


async def remove(work: Work, caller: Caller, passkey_id: int) -> Passkey:
    """Forget one of the caller's passkeys, and tell them by mail.

    Raises:
        NotFound: they have none of that number.
    """
    table = Passkey.columns()
    gone = await work.session.execute(
        delete(Passkey)
        .where(table.id == passkey_id, table.user_id == caller.user.id)
        .returning(Passkey)
    )
    passkey = gone.scalar_one_or_none()
    if passkey is None:
        raise NotFound("You have no such passkey.")
    trail.record(work, "passkey.remove", caller.user.username, name=passkey.name)
    await alerts.factor_changed(work, caller.user, f"The passkey “{passkey.name}” was removed.")
    return passkey


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
        passkeys = await listing(work, caller.user.id)
        if not passkeys:
            raise NotFound("Your account has no passkey. Log in with a code.")
        options = generate_authentication_options(
            rp_id=party.id,
            challenge=_challenge(work, caller),
            timeout=_milliseconds(_LIFETIME),
            allow_credentials=_descriptors(passkeys),
            user_verification=UserVerificationRequirement.PREFERRED,
        )
    return options_to_json(options)


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
        credential = _verified(
            lambda: parse_authentication_credential_json(answer), NotAuthenticated(_FAILED)
        )
        passkey = await _find(work, caller, credential)
        challenge = await _use_challenge(work, caller, NotAuthenticated)
        await _hold_against(work, passkey, credential, challenge, party)

    return await login.pass_second_factor(services, token, "passkey", check)


async def _hold_against(
    work: Work,
    passkey: Passkey,
    credential: AuthenticationCredential,
    challenge: bytes,
    party: RelyingParty,
) -> None:
    shown = _verified(
        lambda: verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=0,  # the counter has a refusal of its own, below
        ),
        NotAuthenticated(_FAILED),
    )
    await _count(work, passkey, shown.new_sign_count)


async def _count(work: Work, passkey: Passkey, count: int) -> None:
    """Note a use. A counter that stays at nought counts nothing: many authenticators keep none."""
    table, known = Passkey.columns(), passkey.sign_count
    noted = await work.session.execute(
        update(Passkey)
        .where(table.id == passkey.id, table.sign_count == known)
        .values(sign_count=count, used_at=work.now)
    )
    if (count or known) and (count <= known or not affected(noted)):
        _log.warning("passkey.counter_went_back", passkey=passkey.id, known=known, shown=count)
        raise NotAuthenticated(_COPIED)


async def _find(work: Work, caller: Caller, credential: AuthenticationCredential) -> Passkey:
    table = Passkey.columns()
    found = await work.session.execute(
        select(Passkey).where(
            table.credential_id == credential.raw_id, table.user_id == caller.user.id
        )
    )
    passkey = found.scalar_one_or_none()
    handle = credential.response.user_handle
    if passkey is None or (handle and handle != bytes.fromhex(caller.user.uid)):
        raise NotAuthenticated(_FAILED)
    return passkey


async def _require_room(work: Work, caller: Caller) -> None:
    if len(await listing(work, caller.user.id)) >= MOST:
        raise Conflict(f"You have {MOST} passkeys. Remove one before you add another.")


def _challenge(work: Work, caller: Caller) -> bytes:
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
    if work.now.timestamp() - made > _LIFETIME.total_seconds():
        raise refusal(_TOO_LATE)
    return challenge


def _verified(
    verify: Callable[[], _Verified], refusal: InvalidInput | NotAuthenticated
) -> _Verified:
    """Return what ``verify`` returns; whatever it stumbles over in the browser's answer is ``refusal``."""
    try:
        return verify()
    except (WebAuthnException, ValueError, TypeError, LookupError, RecursionError) as wrong:
        _log.info("passkey.refused", why=str(wrong))
        raise refusal from wrong


def _require_party(services: Services) -> RelyingParty:
    party = relying_party(services.settings.instance)
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


def _descriptors(passkeys: Sequence[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=one.credential_id) for one in passkeys]


def _milliseconds(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
