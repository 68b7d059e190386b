"""Researchers in a project: who they are, and the wrap that comes with being one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from ddsd.audit import trail
from ddsd.errors import AlreadyExists, Forbidden
from ddsd.keys import service as keys
from ddsd.keys.service import Holder
from ddsd.projects.tables import Membership, Project
from ddsd.secret import SecretBytes
from ddsd.users.tables import Invite, User, UserEmail
from ddsd.work import Work


@dataclass(frozen=True)
class Participant:
    """Somebody in a project; ``username`` is ``None`` while they are only invited."""

    username: str | None
    email: str
    owner: bool


async def participants(work: Work, project: Project) -> Sequence[Participant]:
    """Return the researchers in the project, then those who are invited."""
    members, emails = Membership.columns(), UserEmail.columns()
    users = await work.session.execute(
        select(User.columns().username, emails.email, members.owner)
        .join(User, User.columns().id == members.user_id)
        .join(UserEmail, (emails.user_id == members.user_id) & emails.is_primary)
        .where(members.project_id == project.id)
        .order_by(members.id)
    )
    invites = await work.session.execute(
        select(Invite.columns().email, members.owner)
        .join(Invite, Invite.columns().id == members.invite_id)
        .where(members.project_id == project.id)
        .order_by(members.id)
    )
    return [Participant(name, email, owner) for name, email, owner in users] + [
        Participant(None, email, owner) for email, owner in invites
    ]


async def add(
    work: Work, project: Project, private: SecretBytes, person: User | Invite, *, owner: bool
) -> None:
    """Let a researcher, or somebody invited, into the project, with the key.

    Args:
        work: the transaction.
        project: the project.
        private: the project's private key, opened by the caller.
        person: who comes in; an account that has no password yet has no key to wrap for.
        owner: whether they may invite others.

    Raises:
        Forbidden: they work for a unit, or have no key pair yet.
        AlreadyExists: they are in it, in that capacity.
    """
    name = person.username if isinstance(person, User) else person.email
    holder = _holder(person)
    present = await _find(work, project, holder)
    if present is not None:
        _change_capacity(present, person, project, owner=owner)
    else:
        work.session.add(
            Membership(
                project_id=project.id,
                user_id=holder.user_id,
                invite_id=holder.invite_id,
                owner=owner,
            )
        )
        keys.wrap_for(work, project.id, project.public_id, private, [holder])
    trail.record(work, "project.grant", project.public_id, person=name, owner=owner)


def _holder(person: User | Invite) -> Holder:
    if isinstance(person, Invite):
        return Holder(public=person.public_key, invite_id=person.id)
    if person.unit_id is not None:
        raise Forbidden("Users affiliated with units can not be added to projects individually.")
    if person.public_key is None:
        raise Forbidden(
            f"User {person.username} has not set a password yet and can therefore not be given a key. "
            "Ask them to use the link in their mail first."
        )
    return Holder(public=person.public_key, user_id=person.id)


def _change_capacity(
    present: Membership, person: User | Invite, project: Project, *, owner: bool
) -> None:
    if present.owner == owner:
        who = (
            f"User {person.username}"
            if isinstance(person, User)
            else f"Pending invite for {person.email}"
        )
        raise AlreadyExists(
            f"{who} is already associated with the Project {project.public_id} in this capacity. "
        )
    present.owner = owner


async def _find(work: Work, project: Project, holder: Holder) -> Membership | None:
    table = Membership.columns()
    found = await work.session.execute(
        select(Membership).where(
            table.project_id == project.id,
            table.user_id == holder.user_id
            if holder.user_id is not None
            else table.invite_id == holder.invite_id,
        )
    )
    return found.scalar_one_or_none()


async def addresses(work: Work, project: Project) -> list[str]:
    """Return every address of every researcher in the project whose account is not deactivated."""
    members, emails, users = Membership.columns(), UserEmail.columns(), User.columns()
    found = await work.session.execute(
        select(emails.email)
        .join(Membership, members.user_id == emails.user_id)
        .join(User, users.id == emails.user_id)
        .where(members.project_id == project.id, users.active.is_(True))
        .order_by(emails.id)
    )
    return [str(email) for (email,) in found]
