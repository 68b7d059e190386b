"""Who has fetched what: a row per file and person, so that who lacks something is one statement per project.

Invariant: a row stands for the file's present content. It is as good as what clients report: the stock client reports
a file after it has arrived and before it is decrypted (wire contract, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from ddsd.access import Action, require_member
from ddsd.db.statements import insert_into
from ddsd.errors import NotFound
from ddsd.files.tables import Download, StoredFile
from ddsd.projects.status import Status
from ddsd.projects.tables import Membership, Project
from ddsd.users.tables import User, UserEmail
from ddsd.work import Work


@dataclass(frozen=True)
class Researcher:
    """Somebody in a project, by their primary address, and how many of its files they have fetched as they are now."""

    user_id: int
    email: str
    fetched: int


async def note(work: Work, project: Project, name: str) -> None:
    """Note that the caller has fetched the file now.

    What a researcher reports while the project is In Progress says nothing of them: they began before it was
    retracted, and the file may be another one since.

    Raises:
        Forbidden: the caller may not download.
        NotFound: there is no such file.
    """
    member = require_member(work.actor, Action.DOWNLOAD)
    files = StoredFile.columns()
    changed = await work.session.execute(
        update(StoredFile)
        .where(files.project_id == project.id, files.name == name)
        .values(downloaded_at=work.now)
        .returning(files.id)
        .execution_options(synchronize_session=False)
    )
    file_id = changed.scalar_one_or_none()
    if file_id is None:
        raise NotFound("Specified file does not exist.")
    if project.status is Status.IN_PROGRESS and not member.is_unit_user:
        return
    await work.session.execute(
        insert_into(work.session, Download)
        .values(file_id=file_id, user_id=member.user_id, project_id=project.id, at=work.now)
        .on_conflict_do_update(index_elements=["file_id", "user_id"], set_={"at": work.now})
    )


async def forget(work: Work, file_id: int) -> None:
    """Count a file as fetched by nobody: it has new content."""
    await work.session.execute(delete(Download).where(Download.columns().file_id == file_id))


async def researchers(work: Work, project_id: int) -> Sequence[Researcher]:
    """Return the researchers in a project whose accounts are not deactivated, and what each has fetched."""
    members, users, emails = Membership.columns(), User.columns(), UserEmail.columns()
    downloads = Download.columns()
    found = await work.session.execute(
        select(users.id, emails.email, func.count(downloads.file_id))
        .select_from(Membership)
        .join(User, users.id == members.user_id)
        .join(UserEmail, (emails.user_id == users.id) & emails.is_primary)
        .outerjoin(Download, (downloads.user_id == users.id) & (downloads.project_id == project_id))
        .where(members.project_id == project_id, users.active)
        .group_by(users.id, emails.email)
        .order_by(users.id)
    )
    return [Researcher(int(user_id), str(email), int(count)) for user_id, email, count in found]
