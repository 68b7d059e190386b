"""Invites: somebody without an account is asked to join, and their project keys wait for them.

The invite has a key pair; its private half is sealed under the secret that only the mailed link carries. When the
person registers, the pair becomes theirs, and with it everything that was wrapped for it.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from ddsd.access import Member, Role
from ddsd.audit import trail
from ddsd.db.statements import affected
from ddsd.errors import Busy
from ddsd.keys.hierarchy import new_key_pair, new_secret, seal_for_link
from ddsd.mail import outbox
from ddsd.users import limits, links
from ddsd.users.accounts import normal_email
from ddsd.users.tables import Invite
from ddsd.work import Work

_PER_ADDRESS: Final = 5
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)


async def find(work: Work, email: str, *, for_change: bool = False) -> Invite | None:
    """Return the invite that waits for this address; one that has expired does not wait any more.

    Args:
        work: the transaction.
        email: a valid address.
        for_change: lock it, so that it is not accepted before the transaction ends.

    Raises:
        InvalidInput: it is no address.
    """
    table = Invite.columns()
    query = select(Invite).where(table.email == normal_email(email), table.expires_at > work.now)
    if for_change:
        query = query.with_for_update().execution_options(populate_existing=True)
    return (await work.session.execute(query)).scalar_one_or_none()


async def create(
    work: Work,
    *,
    email: str,
    role: Role,
    unit_id: int | None,
    inviter: str,
    unit_contact: str | None,
) -> Invite:
    """Make an invite and write the mail with its link; an expired one of the same address makes way.

    Args:
        work: the transaction.
        email: whom to ask; must have neither account nor invite.
        role: what they will be.
        unit_id: the unit they will work for, for unit roles.
        inviter: who asks, as the mail's subject names them.
        unit_contact: whom to ask back, if a unit asks.

    Raises:
        InvalidInput: it is no e-mail address.
        Busy: somebody else invites the same person at this moment.
        TooManyRequests: the caller has invited too many, or this address was invited too often.
    """
    address, secret, pair = normal_email(email), new_secret(), new_key_pair()
    uid = uuid.uuid4().hex
    # The letter speaks of the unit only if there is one.
    write = partial(outbox.write, unit_contact=unit_contact) if unit_contact else outbox.write
    days = work.services.settings.security.invite_days
    invite = Invite(
        uid=uid,
        email=address,
        role=role,
        unit_id=unit_id,
        secret_hash=links.hash_of(secret),
        public_key=pair.public,
        sealed_private_key=seal_for_link(pair.private, secret=secret, owner=uid),
        created_at=work.now,
        expires_at=work.now + timedelta(days=days),
    )
    await limits.spend_with(work, *_budgets(work, address))
    await _make_way(work, address)
    await _add(work, invite)
    await write(
        work,
        "invite",
        address,
        secret=True,
        link=links.address_of(work.services.settings.instance.public_url, "register", secret),
        days=str(days),
        inviter=inviter,
    )
    trail.record(work, "user.invite", address, role=role.value)
    return invite


async def withdraw(work: Work, invite: Invite) -> None:
    """Remove an invite, with the keys and projects that wait for it; its link leads nowhere from now on."""
    await work.session.delete(invite)
    await work.session.flush()
    trail.record(work, "user.withdraw_invite", invite.email, role=invite.role.value)


async def forget_old(work: Work) -> int:
    """Remove invites that have expired, with the keys and projects that waited for them; return how many."""
    gone = await work.session.execute(delete(Invite).where(Invite.columns().expires_at <= work.now))
    return affected(gone)


def _budgets(work: Work, address: str) -> list[limits.Budget]:
    """Return what an invite costs: nobody's mailbox is filled, and no account, once taken over, writes to the world."""
    to_one = limits.Budget(
        ("invited", address),
        _PER_ADDRESS,
        _DAY,
        f"{address} was invited {_PER_ADDRESS} times today already. Ask them to look for the letter, also among spam.",
    )
    if not isinstance(work.actor, Member):
        return [to_one]
    most = work.services.settings.security.invites_per_hour
    by_one = limits.Budget(
        ("inviter", work.actor.uid),
        most,
        _HOUR,
        f"You have sent {most} invites within an hour, which is the most. Please try again later.",
    )
    return [by_one, to_one]


async def _make_way(work: Work, address: str) -> None:
    table = Invite.columns()
    await work.session.execute(
        delete(Invite).where(table.email == address, table.expires_at <= work.now)
    )


async def _add(work: Work, invite: Invite) -> None:
    work.session.add(invite)
    try:
        await work.session.flush()
    except IntegrityError:
        raise Busy(
            f"Somebody else is inviting {invite.email} at this moment. Please try again."
        ) from None
