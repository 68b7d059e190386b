"""One-time links with which a person sets the password of an account that has none yet.

The secret travels in the URL's fragment, which no server or proxy logs; the database keeps its hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import timedelta

from sqlalchemy import delete, select

from ddsd.access import Nobody
from ddsd.audit import trail
from ddsd.db.statements import affected
from ddsd.errors import NotFound
from ddsd.keys.hierarchy import new_secret
from ddsd.secret import SecretText
from ddsd.users import passwords
from ddsd.users.tables import PasswordLink, User
from ddsd.work import Services, Work, reading, transaction

_GONE = (
    "This link was used already, has expired, or is not complete. "
    "Ask whoever sent it to you for a new one."
)


async def issue(work: Work, user: User) -> str:
    """Make a new link for the account and end its earlier ones; return the whole address."""
    secret = new_secret()
    await work.session.execute(
        delete(PasswordLink).where(PasswordLink.columns().user_id == user.id)
    )
    hours = work.services.settings.security.set_password_hours
    work.session.add(
        PasswordLink(
            user_id=user.id,
            secret_hash=hashlib.sha256(secret.reveal()).digest(),
            created_at=work.now,
            expires_at=work.now + timedelta(hours=hours),
        )
    )
    text = base64.urlsafe_b64encode(secret.reveal()).decode().rstrip("=")
    return f"{work.services.settings.instance.public_url}/set-password#{text}"


async def use(services: Services, secret: SecretText, password: SecretText) -> User:
    """Set the account's first password with the link's secret; the link is gone afterwards.

    Raises:
        NotFound: no such link, or it is too old.
        InvalidFields: the password does not meet the rules; the link stays good.
    """
    passwords.check_strength(password)
    async with reading(services, Nobody()) as work:
        await _find(work, secret)
    split, salt, cost = await passwords.derive_new(services, password)
    async with transaction(services, Nobody()) as work:
        link, user = await _find(work, secret)
        passwords.set_first(work, user, split, salt, cost)
        await work.session.delete(link)
        trail.record(work, "user.set_password", user.username)
    return user


async def forget_old(work: Work) -> int:
    """Remove links that have expired."""
    gone = await work.session.execute(
        delete(PasswordLink).where(PasswordLink.columns().expires_at < work.now)
    )
    return affected(gone)


async def _find(work: Work, secret: SecretText) -> tuple[PasswordLink, User]:
    links = PasswordLink.columns()
    found = await work.session.execute(
        select(PasswordLink, User)
        .join(User, User.columns().id == links.user_id)
        .where(links.secret_hash == _hash(secret), links.expires_at > work.now)
    )
    row = found.one_or_none()
    if row is None or row[1].auth_verifier is not None:
        raise NotFound(_GONE)
    return row[0], row[1]


def _hash(secret: SecretText) -> bytes:
    text = secret.text().strip()
    try:
        return hashlib.sha256(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))).digest()
    except (binascii.Error, ValueError):
        raise NotFound(_GONE) from None
