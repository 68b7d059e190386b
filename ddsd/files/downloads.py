"""Who has fetched what: a row per file and person, so that who lacks something is one statement per project.

Invariant: a row stands for the file's present content. It is as good as what clients report: the stock client reports
a file after it has arrived and before it is decrypted (wire contract, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, delete, func, insert, literal, select, update

from ddsd.access import Action, require_member
from ddsd.db.statements import insert_into
from ddsd.db.types import UtcDateTime
from ddsd.errors import NotFound
from ddsd.files.tables import Download, DownloadSum, StoredFile
from ddsd.projects.status import Status
from ddsd.projects.tables import Membership, Project
from ddsd.users.tables import User, UserEmail
from ddsd.work import Work

KEEP_SUMS: Final = timedelta(days=366)


@dataclass(frozen=True)
class Fetched:
    """How much of a project somebody has reported as fetched; sizes are of the originals."""

    files: int = 0
    size_bytes: int = 0
    last_at: datetime | None = None


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


async def keep_sums(work: Work, project: Project) -> None:
    """Write down what each has fetched by now, as the project's files are about to go; that is kept for a year."""
    counts = _counts(project.id).add_columns(
        func.min(Download.columns().at), literal(project.id), literal(work.now, UtcDateTime)
    )
    columns = ("user_id", "files", "size_bytes", "last_at", "first_at", "project_id", "kept_at")
    await work.session.execute(insert(DownloadSum).from_select(columns, counts))


async def fetched(work: Work, project_id: int) -> Mapping[int, Fetched]:
    """Return what each has fetched of a project's files, by the account's number; once they go, what was kept of it."""
    sums = DownloadSum.columns()
    now = await work.session.execute(_counts(project_id))
    kept = await work.session.execute(
        select(sums.user_id, sums.files, sums.size_bytes, sums.last_at).where(
            sums.project_id == project_id
        )
    )
    return {
        int(who): Fetched(int(files), int(size), last) for who, files, size, last in (*now, *kept)
    }


async def forget_old(work: Work) -> None:
    """Forget what was kept of projects that ended more than :data:`KEEP_SUMS` ago."""
    await work.session.execute(
        delete(DownloadSum).where(DownloadSum.columns().kept_at < work.now - KEEP_SUMS)
    )


def _counts(project_id: int) -> Select[int, int, int, datetime]:
    files, downloads = StoredFile.columns(), Download.columns()
    return (
        select(
            downloads.user_id,
            func.count(),
            func.sum(files.size_original),
            func.max(downloads.at),
        )
        .join(StoredFile, files.id == downloads.file_id)
        .where(files.project_id == project_id)
        .group_by(downloads.user_id)
    )


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
