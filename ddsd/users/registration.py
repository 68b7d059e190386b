"""Accepting an invite: it becomes an account, and all that was wrapped for it becomes the account's.

Invariant: an invite is either there whole or has become an account, in one transaction. The private key is opened
with the link's code and sealed again under the password; nothing is wrapped anew, as wraps are bound to the pair.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from ddsd.access import Nobody, Role
from ddsd.audit import trail
from ddsd.db.base import METADATA
from ddsd.errors import AlreadyExists, InvalidFields, NotFound
from ddsd.keys.hierarchy import KdfCost, MasterSplit
from ddsd.keys.unlocked import unlock_by_link
from ddsd.notices import maintenance
from ddsd.secret import SecretBytes, SecretText
from ddsd.users import limits, links, names, passwords
from ddsd.users.tables import Invite, User, UserEmail
from ddsd.work import Services, Work, reading, transaction

_TAKEN: Final = "This username is taken, or looks like one that is. Choose another one."


@dataclass(frozen=True)
class Invitation:
    """What somebody with the link may know of their invite."""

    email: str
    role: Role
    expires_at: datetime


@dataclass(frozen=True)
class Applicant:
    """What a person says of themselves. Any text; :func:`misfits` judges it."""

    username: str
    name: str
    password: SecretText

    @property
    def shown_name(self) -> str:
        """Return the name as it is kept."""
        return names.shown(self.name)


async def look_up(services: Services, code: SecretText) -> Invitation:
    """Return the invite that the link belongs to; nothing is changed.

    Raises:
        NotFound: no such invite, it was accepted, or it is too old.
    """
    secret = links.secret_of(code)
    async with reading(services, Nobody()) as work:
        invite = await _find(work, secret)
    return Invitation(invite.email, invite.role, invite.expires_at)


def misfits(applicant: Applicant) -> dict[str, list[str]]:
    """Return what cannot be used of an application, by field: nothing if all can.

    Whether the username is free is not looked up.
    """
    wrong = {
        "name": names.name_misfits(applicant.name),
        "username": names.username_misfits(applicant.username),
    }
    try:
        passwords.check_strength(applicant.password)
    except InvalidFields as weak:
        wrong |= weak.fields
    return {field: why for field, why in wrong.items() if why}


async def register(
    services: Services, code: SecretText, applicant: Applicant, *, address: str
) -> User:
    """Turn the invite into an account, with its key pair, its role and unit, its projects and their keys.

    Args:
        services: the process's services; Argon2id runs between two transactions.
        code: the invite's link, or the code in it.
        applicant: the account to make.
        address: the client's, for limits.

    Raises:
        InvalidFields: something cannot be used, or the username is taken; the link stays good.
        NotFound: no such invite, it was accepted (by somebody a moment ago, too), or it is too old.
        AlreadyExists: the invite's address belongs to an account by now.
        TooManyRequests: too many from this address.
        UnderMaintenance: the service is closed for this role.
        SealBroken: the invite's row was tampered with.
    """
    wrong = misfits(applicant)
    if wrong:
        raise InvalidFields(wrong)
    secret = links.secret_of(code)
    await limits.spend(services, links.spending(services, "register", address))
    async with reading(services, Nobody()) as work:
        invite = await _find(work, secret)
        await maintenance.require_open(work, invite.role)
        await _require_free(work, applicant.username, invite.email)
    derived = await passwords.derive_new(services, applicant.password)
    async with transaction(services, Nobody()) as work:
        # Locked, so that of two who register at once the second finds it gone.
        invite = await _find(work, secret, for_change=True)
        await _require_free(work, applicant.username, invite.email)
        user = await _open_account(work, invite, applicant, secret, derived)
        await _hand_over(work, invite.id, user.id)
        await work.session.execute(delete(Invite).where(Invite.columns().id == invite.id))
        trail.record(
            work, "user.register", user.username, email=invite.email, role=invite.role.value
        )
    return user


async def _find(work: Work, secret: SecretBytes, *, for_change: bool = False) -> Invite:
    table = Invite.columns()
    query = select(Invite).where(
        table.secret_hash == links.hash_of(secret), table.expires_at > work.now
    )
    if for_change:
        query = query.with_for_update()
    invite = (await work.session.execute(query)).scalar_one_or_none()
    if invite is None:
        raise NotFound(links.GONE)
    return invite


async def _require_free(work: Work, username: str, email: str) -> None:
    users, emails = User.columns(), UserEmail.columns()
    taken = select(users.id).where(users.username_folded == names.fold(username))
    if (await work.session.execute(taken)).first():
        raise InvalidFields({"username": [_TAKEN]})
    used = select(emails.id).where(emails.email == email)
    if (await work.session.execute(used)).first():
        raise AlreadyExists(_has_account(email))


async def _open_account(
    work: Work,
    invite: Invite,
    applicant: Applicant,
    secret: SecretBytes,
    derived: tuple[MasterSplit, bytes, KdfCost],
) -> User:
    user = User(
        uid=uuid.uuid4().hex,
        username=applicant.username,
        username_folded=names.fold(applicant.username),
        name=applicant.shown_name,
        role=invite.role,
        unit_id=invite.unit_id,
        created_at=work.now,
        password_set_at=work.now,
    )
    unlocked = unlock_by_link(
        invite.sealed_private_key, secret=secret, owner=invite.uid, user_uid=user.uid
    )
    user.public_key = unlocked.public
    passwords.follow_cost(user, unlocked, *derived)
    await _add(work, user, InvalidFields({"username": [_TAKEN]}))
    email = UserEmail(user_id=user.id, email=invite.email, is_primary=True)
    await _add(work, email, AlreadyExists(_has_account(invite.email)))
    return user


async def _add(work: Work, row: User | UserEmail, if_taken: Exception) -> None:
    """Add a row that somebody may have added since we looked."""
    work.session.add(row)
    try:
        await work.session.flush()
    except IntegrityError:
        raise if_taken from None


async def _hand_over(work: Work, invite_id: int, user_id: int) -> None:
    """Let every row that an invite holds be held by the user, whichever slice it belongs to.

    What was left behind would be removed with the invite, so no table is named here and none can be forgotten.
    The daemon has imported them all: :mod:`ddsd.tables`.
    """
    for table in METADATA.sorted_tables:
        if {"invite_id", "user_id"} <= set(table.columns.keys()):
            await work.session.execute(
                update(table)
                .where(table.c.invite_id == invite_id)
                .values(user_id=user_id, invite_id=None)
            )


def _has_account(email: str) -> str:
    return f"The address {email} belongs to an account already. Log in with that one."
