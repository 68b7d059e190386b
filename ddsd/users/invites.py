"""Invites: somebody without an account is asked to join, and their project keys wait for them.

The invite has a key pair; its private half is sealed under the secret that only the mailed link carries. When the
person registers, the pair becomes theirs, and with it everything that was wrapped for it.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from datetime import timedelta

from sqlalchemy import select

from ddsd.access import Role
from ddsd.audit import trail
from ddsd.keys.hierarchy import new_key_pair, new_secret, seal_for_link
from ddsd.mail import outbox
from ddsd.users.accounts import normal_email
from ddsd.users.tables import Invite
from ddsd.work import Work


async def find(work: Work, email: str) -> Invite | None:
    """Return the invite that waits for this address."""
    found = await work.session.execute(
        select(Invite).where(Invite.columns().email == normal_email(email))
    )
    return found.scalar_one_or_none()


async def create(
    work: Work, *, email: str, role: Role, unit_id: int | None, inviter: str, unit_contact: str
) -> Invite:
    """Make an invite and write the mail with its link.

    Args:
        work: the transaction.
        email: whom to ask; must have neither account nor invite.
        role: what they will be.
        unit_id: the unit they will work for, for unit roles.
        inviter: who asks, as the mail's subject names them.
        unit_contact: whom to ask back.

    Raises:
        InvalidInput: it is no e-mail address.
    """
    address, secret, pair = normal_email(email), new_secret(), new_key_pair()
    uid = uuid.uuid4().hex
    days = work.services.settings.security.invite_days
    invite = Invite(
        uid=uid,
        email=address,
        role=role,
        unit_id=unit_id,
        secret_hash=hashlib.sha256(secret.reveal()).digest(),
        public_key=pair.public,
        sealed_private_key=seal_for_link(pair.private, secret=secret, owner=uid),
        created_at=work.now,
        expires_at=work.now + timedelta(days=days),
    )
    work.session.add(invite)
    await work.session.flush()
    text = base64.urlsafe_b64encode(secret.reveal()).decode().rstrip("=")
    await outbox.write(
        work,
        "invite",
        address,
        secret=True,
        inviter=inviter,
        unit_contact=unit_contact,
        link=f"{work.services.settings.instance.public_url}/register#{text}",
        days=str(days),
    )
    trail.record(work, "user.invite", address, role=role.value)
    return invite
