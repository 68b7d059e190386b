"""Researchers in a project: who they are, and the wrap that comes with being one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from ddsd.access import Action, Member, Role, require_member
from ddsd.audit import trail
from ddsd.errors import AlreadyExists, Conflict, Forbidden, NotFound
from ddsd.keys import service as keys
from ddsd.keys.service import Holder
from ddsd.keys.unlocked import Unlocked
from ddsd.projects import gate
from ddsd.projects.tables import Membership, Project
from ddsd.secret import SecretBytes
from ddsd.users import invites
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
    require_researcher(person)
    holder = holder_of(person)
    present = await find(work, project, person)
    if present is not None:
        change_capacity(present, person, project, owner=owner)
    else:
        associate(work, project, person, owner=owner)
        keys.wrap_for(work, project.id, project.public_id, private, [holder])
    _record(work, project, person, owner=owner)


async def grant(
    work: Work, unlocked: Unlocked, project: Project, person: User | Invite, *, owner: bool
) -> bool:
    """Let somebody in with the key the caller holds, or change their capacity; say whether they came in now.

    Args:
        work: the transaction, in which the project and the person are locked.
        unlocked: the caller's opened key.
        project: the project.
        person: who comes in.
        owner: whether they may invite others.

    Raises:
        Forbidden: the caller may not let people in; the person works for a unit, or has no key pair yet.
        AccessLost: the caller does not hold the project's key.
        AlreadyExists: they are in it, in that capacity.
    """
    member = require_member(work.actor, Action.ADD_PEOPLE)
    if member.role is not Role.SUPER_ADMIN:
        gate.require_sharer(member, project)
    require_researcher(person)
    present = await find(work, project, person)
    if present is not None:
        change_capacity(present, person, project, owner=owner)
    else:
        holder = holder_of(person)
        await keys.share(work, unlocked, member.user_id, project, [holder])
        associate(work, project, person, owner=owner)
    _record(work, project, person, owner=owner)
    return present is None


async def remove(work: Work, project: Project, person: User | Invite) -> None:
    """Take a researcher, or somebody invited, out of the project, with the key; an invite to nothing else goes too.

    Args:
        work: the transaction, in which the project and the person are locked.
        project: the project.
        person: who leaves; not the caller.

    Raises:
        Forbidden: the caller may not, it is the caller, or nobody else holds the project's key.
        Conflict: they were invited to work for a unit.
        NotFound: they are not in it.
    """
    member = gate.require_sharer(work.actor, project)
    _require_removable(member, person)
    user_id, invite_id = _numbers(person)
    present = await find(work, project, person)
    if present is None:
        raise NotFound(f"{name_of(person)} is not in the project {project.public_id}.")
    if user_id is not None:
        await keys.require_another_holder(work, [project.id], user_id)
    await work.session.delete(present)
    await keys.forget_holder(work, [project.id], user_id=user_id, invite_id=invite_id)
    trail.record(work, "project.revoke", project.public_id, person=_identity(person))
    if isinstance(person, Invite) and not await _is_in_any(work, person):
        await invites.withdraw(work, person)


def holder_of(person: User | Invite) -> Holder:
    """Return the person as somebody a key can be wrapped for.

    Raises:
        Forbidden: they have no key pair yet, because they have no password yet.
    """
    if isinstance(person, Invite):
        return Holder(public=person.public_key, invite_id=person.id)
    if person.public_key is None:
        raise Forbidden(
            f"User {person.username} has not set a password yet and can therefore not be given a key. "
            "Ask them to use the link in their mail first."
        )
    return Holder(public=person.public_key, user_id=person.id)


def name_of(person: User | Invite) -> str:
    """Return how a person is spoken of."""
    return (
        f"User {person.username}"
        if isinstance(person, User)
        else f"Pending invite for {person.email}"
    )


def require_researcher(person: User | Invite) -> None:
    """Refuse somebody who works for a unit or runs the service: they are in no project of their own.

    Raises:
        Forbidden: so it is.
    """
    if person.role is not Role.RESEARCHER:
        raise Forbidden("Users affiliated with units can not be added to projects individually.")


def change_capacity(
    present: Membership, person: User | Invite, project: Project, *, owner: bool
) -> None:
    """Make somebody in the project its owner, or owner no more.

    Raises:
        AlreadyExists: that is what they are.
    """
    if present.owner == owner:
        raise AlreadyExists(
            f"{name_of(person)} is already associated with the Project {project.public_id} in this capacity. "
        )
    present.owner = owner


def associate(work: Work, project: Project, person: User | Invite, *, owner: bool) -> None:
    """Note that somebody is in the project; the key is another matter."""
    user_id, invite_id = _numbers(person)
    work.session.add(
        Membership(project_id=project.id, user_id=user_id, invite_id=invite_id, owner=owner)
    )


def _record(work: Work, project: Project, person: User | Invite, *, owner: bool) -> None:
    trail.record(work, "project.grant", project.public_id, person=_identity(person), owner=owner)


def _identity(person: User | Invite) -> str:
    return person.username if isinstance(person, User) else person.email


async def find(work: Work, project: Project, person: User | Invite) -> Membership | None:
    """Return somebody's place in the project, if they have one."""
    table = Membership.columns()
    user_id, invite_id = _numbers(person)
    theirs = table.user_id == user_id if user_id is not None else table.invite_id == invite_id
    found = await work.session.execute(
        select(Membership).where(table.project_id == project.id, theirs)
    )
    return found.scalar_one_or_none()


def _require_removable(member: Member, person: User | Invite) -> None:
    if isinstance(person, Invite) and person.unit_id is not None:
        raise Conflict("Cannot remove a Unit Admin / Unit Personnel from individual projects.")
    if isinstance(person, User) and person.id == member.user_id:
        raise Forbidden("You cannot revoke your own access.")


async def _is_in_any(work: Work, invite: Invite) -> bool:
    await work.session.flush()
    table = Membership.columns()
    found = await work.session.execute(select(table.id).where(table.invite_id == invite.id))
    return found.first() is not None


def _numbers(person: User | Invite) -> tuple[int | None, int | None]:
    return (person.id, None) if isinstance(person, User) else (None, person.id)


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
