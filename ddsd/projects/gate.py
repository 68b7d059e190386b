"""Who may come near a given project, and in which status it must be. Every way to a project leads through here."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select

from ddsd.access import Action, Actor, Member, Role, require_member
from ddsd.errors import Busy, Forbidden, NotFound, WrongStatus
from ddsd.projects.status import Status
from ddsd.projects.tables import Membership, Project
from ddsd.work import Work


async def find(work: Work, member: Member, public_id: str, *, for_change: bool = False) -> Project:
    """Return the project if ``member`` has to do with it.

    Super admins see every project's metadata (never keys or files), unit users their unit's, researchers those they
    are in.

    Args:
        work: the transaction.
        member: who asks.
        public_id: compared exactly.
        for_change: lock the row until the transaction ends, so that what is decided on it stays true.

    Raises:
        NotFound: there is no such project.
        Forbidden: it is not theirs.
    """
    query = select(Project).where(Project.columns().public_id == public_id)
    if for_change:
        query = query.with_for_update()
    project = (await work.session.execute(query)).scalar_one_or_none()
    if project is None:
        raise NotFound("The specified project does not exist.")
    if not await _concerns(work, member, project):
        raise Forbidden("Project access denied.")
    return project


async def as_owner(work: Work, member: Member, public_id: str | None) -> Member:
    """Return the member as they act in this project: a researcher may be its owner (wire contract, section 3)."""
    if member.role is not Role.RESEARCHER or not public_id:
        return member
    table, projects = Membership.columns(), Project.columns()
    found = await work.session.execute(
        select(table.id)
        .join(Project, projects.id == table.project_id)
        .where(
            projects.public_id == public_id,
            table.user_id == member.user_id,
            table.owner.is_(True),
        )
    )
    return replace(member, owns=public_id) if found.first() else member


def require_sharer(actor: Actor, project: Project) -> Member:
    """Return the member that ``actor`` is, if they decide who comes into this project: its unit's users, its owners.

    Raises:
        Forbidden: they do not.
    """
    member = require_member(actor, Action.MANAGE_ACCESS)
    if member.is_unit_user and member.unit_id == project.unit_id:
        return member
    if member.owns == project.public_id:
        return member
    raise Forbidden("Project access denied.")


def require_in_progress(project: Project) -> None:
    """Refuse unless files may be uploaded or changed now.

    Raises:
        WrongStatus: the project is not In Progress.
    """
    if project.status is not Status.IN_PROGRESS or project.ending is not None:
        raise WrongStatus("Project not in right status to upload/modify files.")


def require_removable(project: Project) -> None:
    """Refuse unless files may be removed now: In Progress, and never released (wire contract, section 6).

    Raises:
        WrongStatus: they may not.
        Busy: the project is being moved to another store.
    """
    if project.status is not Status.IN_PROGRESS or project.ending is not None:
        raise WrongStatus("Project Status prevents files from being deleted.")
    require_still(project)
    if project.ever_available:
        raise WrongStatus(
            "Existing project contents cannot be deleted since the project has been previously "
            "made available to recipients."
        )


def require_still(project: Project) -> None:
    """Refuse to change what the project has at the store while the last of it is copied to another one.

    Raises:
        Busy: it is.
    """
    if project.moving:
        raise Busy(
            f"The data of the project '{project.public_id}' is being moved to another store. "
            "Please try again in a few minutes."
        )


def require_listable(project: Project, member: Member) -> None:
    """Refuse to list files to those the project has not been released to.

    Raises:
        Forbidden: the project is In Progress, and they are no unit user.
        WrongStatus: the project was archived, and only waits for its data to be removed.
    """
    if project.purge_after is not None:
        raise WrongStatus(
            f"The project {project.public_id} has been archived. "
            "Until its data is removed, a unit admin can restore it on the page /projects."
        )
    if project.status is Status.IN_PROGRESS and not member.is_unit_user:
        raise Forbidden(
            "The project status must be 'Available'. Please wait for unit to release the data."
        )


def require_downloadable(project: Project, member: Member) -> None:
    """Refuse unless data may be downloaded now: Available for all, In Progress for unit users.

    Raises:
        WrongStatus: it may not.
    """
    in_preparation = project.status is Status.IN_PROGRESS and member.is_unit_user
    if project.ending is not None or (
        project.status is not Status.AVAILABLE and not in_preparation
    ):
        raise WrongStatus("Current Project status limits file download.")


def require_key_readable(project: Project, member: Member) -> None:
    """Refuse the project's private key to those the data has not been released to.

    Raises:
        Forbidden: the project is not Available, and they are no unit user.
    """
    if project.status is not Status.AVAILABLE and not member.is_unit_user:
        raise Forbidden(
            "The project status must be 'Available' for its data to be read. "
            "Please ask the unit that delivers it."
        )


async def _concerns(work: Work, member: Member, project: Project) -> bool:
    match member.role:
        case Role.SUPER_ADMIN:
            return True
        case Role.UNIT_ADMIN | Role.UNIT_PERSONNEL:
            return project.unit_id == member.unit_id
        case Role.RESEARCHER:
            table = Membership.columns()
            found = await work.session.execute(
                select(table.id).where(
                    table.project_id == project.id, table.user_id == member.user_id
                )
            )
            return found.first() is not None
