"""The authenticator app as second factor (RFC 6238): begun, confirmed with a code, given up for mailed codes.

Invariant: an app's secret becomes the second factor only after a code that follows from it was typed. Both are kept
sealed under the instance key, for the purpose that :mod:`ddsd.users.codes` opens them with.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import pyotp

from ddsd.access import Nobody
from ddsd.audit import trail
from ddsd.errors import Conflict, InvalidFields
from ddsd.mail import outbox
from ddsd.notices import maintenance
from ddsd.secret import SecretText
from ddsd.users import codes, limits, links, login
from ddsd.users.tables import LinkKind, SecondFactor, User
from ddsd.work import Services, Work, transaction

LIFETIME: Final = timedelta(hours=1)
_SECRET_BYTES: Final = 20
_NOTHING_BEGUN: Final = "Nothing waits to be confirmed. Please begin once more."


@dataclass(frozen=True)
class Enrolment:
    """What an app is told once: the secret as 32 characters of base32, and the same as an ``otpauth:`` address."""

    secret: SecretText
    address: SecretText


async def mail_app_link(work: Work, user: User) -> bool:
    """Mail the link that begins with an app; return whether there was anything to do."""
    if user.second_factor is SecondFactor.APP:
        return False
    await _mail_link(work, user, LinkKind.ACTIVATE_APP, "activate_app")
    return True


async def mail_mail_link(work: Work, user: User) -> bool:
    """Mail the link that goes back to mailed codes; return whether there was anything to do."""
    if user.second_factor is SecondFactor.MAIL:
        return False
    await _mail_link(work, user, LinkKind.ACTIVATE_MAIL, "activate_mail")
    return True


async def begin(work: Work, user: User) -> Enrolment:
    """Make a secret for an app; it counts for nothing until :func:`confirm`.

    Raises:
        Conflict: an app is the second factor already.
    """
    if user.second_factor is SecondFactor.APP:
        raise Conflict("Your second factor is an authenticator app already.")
    secret = secrets.token_bytes(_SECRET_BYTES)
    user.totp_pending = work.services.instance_key.seal(secret, codes.app_purpose(user))
    trail.record(work, "user.begin_authenticator", user.username)
    spelled = base64.b32encode(secret).decode()
    address = pyotp.TOTP(spelled).provisioning_uri(
        name=user.username, issuer_name=work.services.settings.instance.facility
    )
    return Enrolment(SecretText(spelled), SecretText(address))


async def begin_by_link(work: Work, user: User, code: SecretText) -> Enrolment:
    """Begin with the link that was mailed to this very account; the link is gone afterwards.

    Raises:
        NotFound: no such link, another account's, it was used, or it is too old.
        Conflict: an app is the second factor already.
    """
    link, owner = await links.find(
        work, LinkKind.ACTIVATE_APP, links.secret_of(code), for_change=True
    )
    links.require_owner(owner, user)
    await work.session.delete(link)
    return await begin(work, owner)


async def confirm(work: Work, user: User, code: str) -> None:
    """Make the app that shows ``code`` (6 digits) the second factor.

    The code is used up: the next login needs the next one.

    Raises:
        InvalidFields: the code does not follow from the secret, or no app was begun with.
    """
    await work.session.refresh(user, with_for_update=True)
    if user.totp_pending is None:
        raise InvalidFields({"otp": [_NOTHING_BEGUN]})
    secret = work.services.instance_key.open(user.totp_pending, codes.app_purpose(user))
    if not codes.app_shows(secret, code, work.now):
        raise InvalidFields(
            {
                "otp": [
                    "This is not what your app should show now. Type the newest code, "
                    "and check that your device's clock is right."
                ]
            }
        )
    user.totp_secret, user.totp_pending = user.totp_pending, None
    user.totp_last_step = codes.app_step(work.now)
    await _switched(work, user, SecondFactor.APP)


async def back_to_mail(work: Work, user: User) -> None:
    """Make mailed codes the second factor again, and forget the app's secret; nothing happens if they are."""
    await work.session.refresh(user, with_for_update=True)
    if user.second_factor is SecondFactor.MAIL:
        return
    user.totp_secret = user.totp_pending = None
    await _switched(work, user, SecondFactor.MAIL)


async def back_to_mail_by_link(services: Services, code: SecretText, *, address: str) -> User:
    """Go back to mailed codes with a mailed link; the link is gone afterwards.

    Args:
        services: the process's services.
        code: the link, or the code in it, as typed or clicked.
        address: the client's, for limits.

    Raises:
        NotFound: no such link, it was used, or it is too old.
        TooManyRequests: too many from this address.
        UnderMaintenance: the service is closed for this role.
    """
    secret = links.secret_of(code)
    await limits.spend(services, links.spending(services, "activate-mail", address))
    async with transaction(services, Nobody()) as work:
        link, user = await links.find(work, LinkKind.ACTIVATE_MAIL, secret, for_change=True)
        await maintenance.require_open(work, user.role)
        await work.session.delete(link)
        await back_to_mail(work, user)
    return user


async def _mail_link(work: Work, user: User, kind: LinkKind, letter: str) -> None:
    await outbox.write(
        work,
        letter,
        await login.primary_email(work, user.id),
        secret=True,
        username=user.username,
        link=await links.issue(work, user, kind, LIFETIME),
        hours=str(int(LIFETIME.total_seconds()) // 3600),
    )
    trail.record(work, "user.request_second_factor", user.username, link=kind.value)


async def _switched(work: Work, user: User, to: SecondFactor) -> None:
    user.second_factor = to
    await links.forget(work, user.id, LinkKind.ACTIVATE_APP, LinkKind.ACTIVATE_MAIL)
    await outbox.write(
        work,
        "second_factor_changed",
        await login.primary_email(work, user.id),
        username=user.username,
        now="an authenticator app" if to is SecondFactor.APP else "codes sent by e-mail",
    )
    trail.record(work, "user.change_second_factor", user.username, to=to.value)
