"""One-time links: the code they carry, how one is issued, found and used up.

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

from ddsd.db.statements import affected
from ddsd.errors import NotFound
from ddsd.keys.hierarchy import new_secret
from ddsd.secret import SecretBytes, SecretText
from ddsd.users import limits
from ddsd.users.tables import LinkKind, OneTimeLink, User
from ddsd.work import Services, Work

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


async def issue(
    work: Work, user: User, kind: LinkKind, lifetime: timedelta, *, email: str = ""
) -> str:
    """Make a new link of this kind for the account and end the earlier one; return the whole address.

    The page it leads to has the kind's name. ``email`` is the address that using the link proves, if that is its sense.
    """
    secret, table = new_secret(), OneTimeLink.columns()
    await work.session.execute(
        delete(OneTimeLink).where(table.user_id == user.id, table.kind == kind)
    )
    work.session.add(
        OneTimeLink(
            user_id=user.id,
            kind=kind,
            secret_hash=hash_of(secret),
            email=email,
            created_at=work.now,
            expires_at=work.now + lifetime,
        )
    )
    return address_of(work.services.settings.instance.public_url, kind.value, secret)


async def find(
    work: Work, kind: LinkKind, secret: SecretBytes, *, for_change: bool = False
) -> tuple[OneTimeLink, User]:
    """Return the link and whose it is; delete the link in the transaction that does what it is for.

    Args:
        work: the transaction.
        kind: a link of another kind is not found.
        secret: from :func:`secret_of`.
        for_change: lock it, so that of two who use it at once the second finds it gone.

    Raises:
        NotFound: no such link, it was used, it is too old, or the account is deactivated.
    """
    table = OneTimeLink.columns()
    query = (
        select(OneTimeLink, User)
        .join(User, User.columns().id == table.user_id)
        .where(
            table.secret_hash == hash_of(secret),
            table.kind == kind,
            table.expires_at > work.now,
        )
    )
    row = (
        await work.session.execute(query.with_for_update() if for_change else query)
    ).one_or_none()
    if row is None or not row[1].active:
        raise NotFound(GONE)
    return row[0], row[1]


def require_owner(owner: User, user: User) -> None:
    """Refuse a link that was mailed to somebody else than the one who is logged in.

    Raises:
        NotFound: so it is.
    """
    if owner.id != user.id:
        raise NotFound(GONE)


async def forget(work: Work, user_id: int, *kinds: LinkKind) -> None:
    """Make an account's links of these kinds worthless."""
    table = OneTimeLink.columns()
    await work.session.execute(
        delete(OneTimeLink).where(table.user_id == user_id, table.kind.in_(kinds))
    )


async def forget_old(work: Work) -> int:
    """Remove links that have expired."""
    gone = await work.session.execute(
        delete(OneTimeLink).where(OneTimeLink.columns().expires_at < work.now)
    )
    return affected(gone)
