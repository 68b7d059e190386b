"""Second factors: the code that is mailed (RFC 4226, 8 digits, once) and the authenticator app (RFC 6238).

The mailed code follows from the instance key, the account and a counter: nothing in the database leads to it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Final

import pyotp
from sqlalchemy import update

from ddsd.db.statements import affected, insert_into
from ddsd.errors import NotAuthenticated
from ddsd.mail import outbox
from ddsd.mail.tables import Mail
from ddsd.secret import SecretBytes
from ddsd.users.tables import OneTimeCode, User
from ddsd.work import Services, Work

CODE_DIGITS: Final = 8
APP_DIGITS: Final = 6
_APP_SECONDS: Final = 30
_APP_REST: Final = timedelta(seconds=90)
_TOO_SOON: Final = "Authentications with time-based token need to be at least 90 seconds apart."


async def issue_mailed(work: Work, user: User, recipient: str) -> Mail | None:
    """Write the mail with a fresh code, unless the last one is still good; return it for sending at once.

    A code lives ``security.code_minutes`` and is used once. A new one replaces the old one.
    """
    last = await work.session.get(OneTimeCode, user.id, with_for_update=True)
    lifetime = timedelta(minutes=work.services.settings.security.code_minutes)
    if last is not None and not last.used and work.now - last.issued_at < lifetime:
        return None
    counter = 1 if last is None else last.counter + 1
    statement = insert_into(work.session, OneTimeCode).values(
        user_id=user.id, counter=counter, issued_at=work.now, used=False
    )
    await work.session.execute(
        statement.on_conflict_do_update(
            index_elements=[OneTimeCode.columns().user_id],
            set_={"counter": counter, "issued_at": work.now, "used": False},
        )
    )
    return await outbox.write(
        work,
        "one_time_code",
        recipient,
        secret=True,
        at_once=True,
        username=user.username,
        code=_mailed_code(work.services, user, counter),
        minutes=str(work.services.settings.security.code_minutes),
    )


async def is_waiting(work: Work, user_id: int) -> bool:
    """Say whether a code was mailed to the account that is still good."""
    last = await work.session.get(OneTimeCode, user_id)
    lifetime = timedelta(minutes=work.services.settings.security.code_minutes)
    return last is not None and not last.used and work.now - last.issued_at < lifetime


async def withdraw_mailed(work: Work, user_id: int) -> None:
    """Make the code that could not be mailed worthless, so that the next login mails a new one."""
    last = await work.session.get(OneTimeCode, user_id)
    if last is not None:
        last.used = True


async def check_mailed(work: Work, user: User, code: str) -> None:
    """Use up the mailed code.

    Raises:
        NotAuthenticated: it is wrong, used, too old, or none was issued.
    """
    last = await work.session.get(OneTimeCode, user.id, with_for_update=True)
    if last is None or last.used:
        raise NotAuthenticated("No one-time authentication code currently issued.")
    if not hmac.compare_digest(_mailed_code(work.services, user, last.counter), code):
        raise NotAuthenticated("Invalid one-time authentication code.")
    if work.now - last.issued_at >= timedelta(minutes=work.services.settings.security.code_minutes):
        raise NotAuthenticated("One-time authentication code has expired.")
    last.used = True


async def check_app(work: Work, user: User, code: str) -> None:
    """Check the authenticator app's code; each time step is good once.

    Raises:
        NotAuthenticated: it is wrong, or the last login was less than 90 seconds ago.
    """
    if user.totp_secret is None:
        raise NotAuthenticated("Invalid time-based token.")
    step = app_step(work.now)
    if (step - user.totp_last_step) * _APP_SECONDS < _APP_REST.total_seconds():
        raise NotAuthenticated(_TOO_SOON)
    secret = work.services.instance_key.open(user.totp_secret, app_purpose(user))
    if not app_shows(secret, code, work.now):
        raise NotAuthenticated("Invalid time-based token.")
    await _use_step(work, user, step)


def app_purpose(user: User) -> str:
    """Return what an app's secret is sealed for under the instance key."""
    return f"totp secret of {user.uid}"


def app_step(now: datetime) -> int:
    """Return the number of the time step, of 30 seconds since 1970."""
    return int(now.timestamp()) // _APP_SECONDS


def app_shows(secret: SecretBytes, code: str, now: datetime) -> bool:
    """Say whether an app with this secret (20 bytes) shows ``code`` now, or did or will within one step."""
    app = pyotp.TOTP(base64.b32encode(secret.reveal()).decode(), digits=APP_DIGITS)
    return app.verify(code, for_time=now, valid_window=1)


async def _use_step(work: Work, user: User, step: int) -> None:
    """Note the step, unless another login has done so since ``user`` was read."""
    table = User.columns()
    noted = await work.session.execute(
        update(User)
        .where(table.id == user.id, table.totp_last_step == user.totp_last_step)
        .values(totp_last_step=step)
    )
    if not affected(noted):
        raise NotAuthenticated(_TOO_SOON)


def _mailed_code(services: Services, user: User, counter: int) -> str:
    secret = services.instance_key.derive(f"one-time code of {user.uid}")
    generator = pyotp.HOTP(
        base64.b32encode(secret.reveal()).decode(), digits=CODE_DIGITS, digest=hashlib.sha512
    )
    return generator.at(counter)
