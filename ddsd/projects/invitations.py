"""Letting people into a project by their address, whether or not they have an account yet."""

from __future__ import annotations

from ddsd.access import Role
from ddsd.errors import InvalidInput
from ddsd.projects import membership
from ddsd.projects.projects import Created
from ddsd.users import accounts, invites
from ddsd.work import Work

OWNER = "Project Owner"


async def add_or_invite(work: Work, made: Created, email: object, role: object) -> str:
    """Let somebody into a new project; return what was done, as a sentence.

    Args:
        work: the transaction.
        made: the project and its private key.
        email: whom to let in.
        role: ``Researcher`` or ``Project Owner``.

    Raises:
        InvalidInput: the address or the role cannot be used.
        Forbidden: they work for a unit, or cannot hold a key yet.
        AlreadyExists: they are in it.
    """
    if not isinstance(email, str) or not email:
        raise InvalidInput("Email address required to add or invite.")
    if role not in {Role.RESEARCHER.value, OWNER}:
        raise InvalidInput(
            "User Role should be either 'Project Owner' or 'Researcher' to be added to a project"
        )
    owner = role == OWNER
    user = await accounts.find_by_email(work, email)
    if user is not None:
        await membership.add(work, made.project, made.pair.private, user, owner=owner)
        return (
            f"User {user.username} was given access to the Project {made.project.public_id} as a "
            f"{role}. An e-mail notification has not been sent."
        )
    invite = await invites.find(work, email) or await invites.create(
        work,
        email=email,
        role=Role.RESEARCHER,
        unit_id=None,
        inviter=made.unit.external_display_name,
        unit_contact=made.unit.contact_email,
    )
    await membership.add(work, made.project, made.pair.private, invite, owner=owner)
    return (
        f"Invitation sent to {invite.email}. "
        "The user should have a valid account to be added to a project"
    )
