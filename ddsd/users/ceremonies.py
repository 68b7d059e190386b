"""What a browser is to ask an authenticator for, and whether the answer is good (W3C Web Authentication, Level 2).

Nothing here touches the database. Invariant: whatever a browser sends, a check returns or raises :class:`NotGood`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar
from urllib.parse import urlsplit

import structlog
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

from ddsd.settings import Instance

LIFETIME: Final = timedelta(minutes=5)
"""How long an authenticator may take to answer."""
_TIMEOUT_MS: Final = int(LIFETIME.total_seconds() * 1000)
_log = structlog.get_logger()
_Good = TypeVar("_Good")


class NotGood(Exception):
    """What the browser sent proves nothing."""


@dataclass(frozen=True)
class RelyingParty:
    """Who asks for passkeys: they are good for the host ``id`` alone, on pages of ``origin``."""

    id: str
    origin: str
    name: str


@dataclass(frozen=True)
class Person:
    """For whom a passkey is made. ``handle``: 16 bytes that say nothing about them."""

    handle: bytes
    username: str
    name: str


@dataclass(frozen=True)
class Made:
    """A new credential; ``public_key`` is COSE, as the authenticator gave it."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


@dataclass(frozen=True)
class Signed:
    """A signature that was not checked yet: which credential claims to have made it, and for whom."""

    credential: AuthenticationCredential

    @property
    def credential_id(self) -> bytes:
        """Return which credential it is."""
        return self.credential.raw_id

    def is_for(self, handle: bytes) -> bool:
        """Say whether it names this person, or nobody."""
        return self.credential.response.user_handle in {None, b"", handle}


def relying_party(instance: Instance) -> RelyingParty | None:
    """Return who this service is to an authenticator; ``None`` where browsers offer no passkeys.

    They do so on HTTPS at a host with a name, and on localhost. A service on a loopback address is asked at localhost.
    """
    url = urlsplit(instance.public_url)
    host, port = url.hostname or "", f":{url.port}" if url.port else ""
    if _is_loopback(host):
        return RelyingParty("localhost", f"{url.scheme}://localhost{port}", instance.facility)
    if url.scheme != "https" or _address(host):
        return None
    # Browsers leave out the port that HTTPS has anyway (RFC 6454, section 6.2).
    shown = "" if url.port == 443 else port
    return RelyingParty(host, f"https://{host}{shown}", instance.facility)


def creation_options(
    party: RelyingParty, person: Person, challenge: bytes, have: Iterable[bytes]
) -> str:
    """Return the JSON for ``PublicKeyCredential.parseCreationOptionsFromJSON``.

    Args:
        party: who asks.
        person: for whom.
        challenge: what is to be answered.
        have: the ids of the credentials that the person has already.
    """
    options = generate_registration_options(
        rp_id=party.id,
        rp_name=party.name,
        user_id=person.handle,
        user_name=person.username,
        user_display_name=person.name,
        challenge=challenge,
        timeout=_TIMEOUT_MS,
        # It comes after a password, so it need not take one of the few places in a security key.
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=_descriptors(have),
    )
    return options_to_json(options)


def request_options(party: RelyingParty, challenge: bytes, have: Iterable[bytes]) -> str:
    """Return the JSON for ``PublicKeyCredential.parseRequestOptionsFromJSON``; one of ``have`` is to sign."""
    options = generate_authentication_options(
        rp_id=party.id,
        challenge=challenge,
        timeout=_TIMEOUT_MS,
        allow_credentials=_descriptors(have),
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    return options_to_json(options)


def check_made(party: RelyingParty, challenge: bytes, answer: str) -> Made:
    """Return the credential that the browser's ``answer`` (JSON) tells of.

    What kind of authenticator it is, is not asked and not checked (attestation ``none``).

    Raises:
        NotGood: it is no answer to this challenge on a page of ours.
    """
    made = _good(
        lambda: verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
        )
    )
    return Made(made.credential_id, made.credential_public_key, made.sign_count)


def read_signed(answer: str) -> Signed:
    """Read the browser's ``answer`` (JSON) without believing it.

    Raises:
        NotGood: it is none.
    """
    return Signed(_good(lambda: parse_authentication_credential_json(answer)))


def check_signed(party: RelyingParty, challenge: bytes, signed: Signed, public_key: bytes) -> int:
    """Check the signature; return the authenticator's counter, which is *not* checked.

    Raises:
        NotGood: it is no signature over this challenge, made by this key for a page of ours with somebody present.
    """
    shown = _good(
        lambda: verify_authentication_response(
            credential=signed.credential,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,
        )
    )
    return shown.new_sign_count


def _good(check: Callable[[], _Good]) -> _Good:
    try:
        return check()
    except (WebAuthnException, ValueError, TypeError, LookupError, RecursionError) as wrong:
        _log.info("passkey.not_good", why=str(wrong))
        raise NotGood from wrong


def _descriptors(credential_ids: Iterable[bytes]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=one) for one in credential_ids]


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)
