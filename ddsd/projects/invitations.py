"""Letting people into a project by their address, whether or not they have an account yet."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import IntegrityError

from ddsd.access import Role
from ddsd.errors import Forbidden, InvalidFields, InvalidInput
from ddsd.projects import membership
from ddsd.projects.projects import Created
from ddsd.users import accounts, invites
from ddsd.users.tables import Invite
from ddsd.work import Work

OWNER: Final = "Project Owner"
_ROLES: Final = frozenset({OWNER, *(role.value for role in Role)})


async def add_or_invite(work: Work, made: Created, email: object, role: object) -> str:
    """Let somebody into a new project; return what was done, as a sentence.

    Args:
        work: the transaction.
        made: the project and its private key.
        email: whom to let in.
        role: ``Researcher`` or ``Project Owner``.

    Raises:
        InvalidFields: it is no e-mail address.
        InvalidInput: there is no such role.
        Forbidden: the role belongs to a unit, they work for one, or they cannot hold a key yet.
        AlreadyExists: they are in it.
    """
    address, owner = _check_email(email), _check_role(role)
    user = await accounts.find_by_email(work, address)
    if user is not None:
        await membership.add(work, made.project, made.pair.private, user, owner=owner)
        return (
            f"User {user.username} was given access to the Project {made.project.public_id} as a "
            f"{role}. An e-mail notification has not been sent."
        )
    invite = await invites.find(work, address) or await _invite(work, made, address)
    await membership.add(work, made.project, made.pair.private, invite, owner=owner)
    return (
        f"Invitation sent to {invite.email}. "
        "The user should have a valid account to be added to a project"
    )


async def _invite(work: Work, made: Created, address: str) -> Invite:
    """Make an invite, or take the one somebody else has made for this address at this moment."""
    try:
        async with work.session.begin_nested():
            return await invites.create(
                work,
                email=address,
                role=Role.RESEARCHER,
                unit_id=None,
                inviter=made.unit.external_display_name,
                unit_contact=made.unit.contact_email,
            )
    except IntegrityError:
        invite = await invites.find(work, address)
        if invite is None:
            raise
        return invite


def _check_email(email: object) -> str:
    try:
        return accounts.normal_email(email if isinstance(email, str) else "")
    except InvalidInput:
        raise InvalidFields({"email": ["Not a valid email address."]}) from None


def _check_role(role: object) -> bool:
    """Say whether the role is the owner's."""
    if not isinstance(role, str) or role not in _ROLES:
        raise InvalidInput("Invalid user role.")
    if role not in {Role.RESEARCHER.value, OWNER}:
        raise Forbidden(
            "User Role should be either 'Project Owner' or 'Researcher' to be added to a project"
        )
    return role == OWNER
