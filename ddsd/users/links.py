"""One-time links: the code they carry, and those with which a person sets the password of an account that has none.

The code travels in the URL's fragment, which no server or proxy logs; the database keeps its hash
(docs/decisions/0005-secrets-in-fragments.md). A link works once, and until it expires.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select

from ddsd.access import Nobody
from ddsd.audit import trail
from ddsd.db.statements import affected
from ddsd.errors import NotFound
from ddsd.keys.hierarchy import new_secret
from ddsd.notices import maintenance
from ddsd.secret import SecretBytes, SecretText
from ddsd.users import limits, passwords
from ddsd.users.tables import PasswordLink, User
from ddsd.work import Services, Work, reading, transaction

GONE: Final = (
    "This link was used already, has expired, or is not complete. "
    "Ask whoever sent it to you for a new one."
)
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_AROUND: Final = "<>()[]\"'.,;"
_LONGEST_TYPED: Final = 2048


def address_of(public_url: str, page: str, secret: SecretBytes) -> str:
    """Return the whole link: ``secret`` (32 bytes) as 43 characters of base64url in the fragment."""
    code = base64.urlsafe_b64encode(secret.reveal()).decode().rstrip("=")
    return f"{public_url}/{page}#{code}"


def secret_of(typed: SecretText) -> SecretBytes:
    """Return the 32 bytes that a link, or only its code, carries.

    White space is passed over, for mail programs that break lines, and so is punctuation around it.

    Raises:
        NotFound: it is neither, or not all of it.
    """
    text = typed.text()
    code = "".join(text[-_LONGEST_TYPED:].rpartition("#")[2].split()).strip(_AROUND)
    if not _CODE.fullmatch(code):
        raise NotFound(GONE)
    return SecretBytes(base64.urlsafe_b64decode(code + "="))


def hash_of(secret: SecretBytes) -> bytes:
    """Return what the database keeps of a link's secret: SHA-256, 32 bytes; the secret is random."""
    return hashlib.sha256(secret.reveal()).digest()


def spending(services: Services, kind: str, address: str) -> limits.Budget:
    """Return what using a link of this kind from this address is charged to: each costs an Argon2id run."""
    return limits.Budget(
        (kind, limits.network_of(address)),
        services.settings.security.logins_per_hour_per_address,
        timedelta(hours=1),
        "Too many attempts from your network. Please try again later; your link stays good until it expires.",
    )


async def issue(work: Work, user: User) -> str:
    """Make a new link for the account and end its earlier ones; return the whole address."""
    secret = new_secret()
    await work.session.execute(
        delete(PasswordLink).where(PasswordLink.columns().user_id == user.id)
    )
    settings = work.services.settings
    work.session.add(
        PasswordLink(
            user_id=user.id,
            secret_hash=hash_of(secret),
            created_at=work.now,
            expires_at=work.now + timedelta(hours=settings.security.set_password_hours),
        )
    )
    return address_of(settings.instance.public_url, "set-password", secret)


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
    secret = secret_of(code)
    await limits.spend(services, spending(services, "set-password", address))
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


async def forget_old(work: Work) -> int:
    """Remove links that have expired."""
    gone = await work.session.execute(
        delete(PasswordLink).where(PasswordLink.columns().expires_at < work.now)
    )
    return affected(gone)


async def _find(
    work: Work, secret: SecretBytes, *, for_change: bool = False
) -> tuple[PasswordLink, User]:
    links = PasswordLink.columns()
    query = (
        select(PasswordLink, User)
        .join(User, User.columns().id == links.user_id)
        .where(links.secret_hash == hash_of(secret), links.expires_at > work.now)
    )
    # Locked, so that of two who use it at once the second finds it gone.
    row = (
        await work.session.execute(query.with_for_update() if for_change else query)
    ).one_or_none()
    if row is None or row[1].auth_verifier is not None or not row[1].active:
        raise NotFound(GONE)
    return row[0], row[1]
