"""Files are registered after their object is stored: one row, its folder chain, the counters, a version.

The cost does not depend on how many files the project has. The project's row is updated first: that is both the
proof that it is In Progress and the lock that makes the counters and folders of one project change in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ddsd.access import Action, Member, require_member
from ddsd.db.statements import affected
from ddsd.errors import AlreadyExists, NotFound, WrongStatus
from ddsd.files.names import ROOT, folder_of, with_ancestors
from ddsd.files.tables import FileVersion, Folder, StoredFile
from ddsd.projects.gate import require_in_progress
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.work import Work

_MATCH_BATCH = 500


@dataclass(frozen=True)
class NewFile:
    """What a client says of a file it has stored. Checked before: see :mod:`ddsd.files.names`.

    ``salt`` is 32 hex digits, ``public_key`` and ``checksum`` (SHA-256 of the original) 64.
    """

    name: str
    name_in_bucket: str
    size_original: int
    size_stored: int
    compressed: bool
    salt: str
    public_key: str
    checksum: str

    def columns(self) -> dict[str, object]:
        """Return the values of the row that may be replaced."""
        return {
            "size_original": self.size_original,
            "size_stored": self.size_stored,
            "compressed": self.compressed,
            "salt": self.salt,
            "public_key": self.public_key,
            "checksum": self.checksum,
        }


async def add(work: Work, project: Project, new: NewFile) -> None:
    """Register a file.

    Raises:
        Forbidden: the caller may not upload.
        WrongStatus: the project is not In Progress.
        AlreadyExists: it has a file of that name, or one stored under that key.
    """
    member = require_member(work.actor, Action.UPLOAD)
    require_in_progress(project)
    await _count(work, project.id, 1, new.size_stored, new.size_original)
    folder_id = await _count_in_folders(work, project.id, folder_of(new.name), 1, new.size_original)
    try:
        row = await work.session.execute(
            insert(StoredFile)
            .values(
                project_id=project.id,
                folder_id=folder_id,
                name=new.name,
                name_in_bucket=new.name_in_bucket,
                uploaded_at=work.now,
                **new.columns(),
            )
            .returning(StoredFile.columns().id)
        )
    except IntegrityError:
        raise AlreadyExists(
            f"File '{new.name}' is already in the project. Use --overwrite to replace it."
        ) from None
    await _add_version(work, project.id, row.scalar_one(), new.size_stored, member)


async def replace(work: Work, project: Project, new: NewFile) -> None:
    """Register new content of a file; its name and its key in the bucket stay.

    Raises:
        Forbidden: the caller may not upload.
        WrongStatus: the project is not In Progress.
        NotFound: there is no such file.
    """
    member = require_member(work.actor, Action.UPLOAD)
    require_in_progress(project)
    await _count(work, project.id, 0, 0, 0)
    file = await find(work, project.id, new.name)
    if file is None:
        raise NotFound(f"Cannot update non-existent file '{new.name}' in the database!")
    original = new.size_original - file.size_original
    await _count(work, project.id, 0, new.size_stored - file.size_stored, original)
    await _count_in_folders(work, project.id, folder_of(new.name), 0, original)
    versions = FileVersion.columns()
    await work.session.execute(
        update(FileVersion)
        .where(versions.file_id == file.id, versions.removed_at.is_(None))
        .values(removed_at=work.now)
    )
    await work.session.execute(
        update(StoredFile)
        .where(StoredFile.columns().id == file.id)
        .values(uploaded_at=work.now, **new.columns())
    )
    await _add_version(work, project.id, file.id, new.size_stored, member)


async def find(work: Work, project_id: int, name: str) -> StoredFile | None:
    """Return the file of that name."""
    table = StoredFile.columns()
    found = await work.session.execute(
        select(StoredFile).where(table.project_id == project_id, table.name == name)
    )
    return found.scalar_one_or_none()


async def match(work: Work, project: Project, names: Iterable[str]) -> Mapping[str, str]:
    """Return, of the names that exist, the key in the bucket of each.

    Raises:
        Forbidden: the caller may not upload.
        WrongStatus: the project is not In Progress.
    """
    require_member(work.actor, Action.UPLOAD)
    require_in_progress(project)
    table = StoredFile.columns()
    wanted, found = list(dict.fromkeys(names)), {}
    for start in range(0, len(wanted), _MATCH_BATCH):
        rows = await work.session.execute(
            select(table.name, table.name_in_bucket).where(
                table.project_id == project.id, table.name.in_(wanted[start : start + _MATCH_BATCH])
            )
        )
        found.update({str(name): str(key) for name, key in rows})
    return found


async def note_download(work: Work, project: Project, name: str) -> None:
    """Note that somebody has fetched the file now.

    Raises:
        Forbidden: the caller may not download.
        NotFound: there is no such file.
    """
    require_member(work.actor, Action.DOWNLOAD)
    table = StoredFile.columns()
    changed = await work.session.execute(
        update(StoredFile)
        .where(table.project_id == project.id, table.name == name)
        .values(downloaded_at=work.now)
    )
    if not affected(changed):
        raise NotFound("Specified file does not exist.")


async def remove_all(work: Work, project: Project) -> int:
    """Remove every file's row; versions stay, ended now. Return how many files there were."""
    files, versions = StoredFile.columns(), FileVersion.columns()
    count = project.file_count
    await work.session.execute(
        update(FileVersion)
        .where(versions.project_id == project.id, versions.removed_at.is_(None))
        .values(removed_at=work.now)
    )
    await work.session.execute(delete(StoredFile).where(files.project_id == project.id))
    await work.session.execute(delete(Folder).where(Folder.columns().project_id == project.id))
    await work.session.execute(
        update(Project)
        .where(Project.columns().id == project.id)
        .values(file_count=0, bytes_stored=0, bytes_original=0)
    )
    return count


async def _count(work: Work, project_id: int, files: int, stored: int, original: int) -> None:
    """Change the project's counters; refuse if it left In Progress since it was read."""
    table = Project.columns()
    changed = await work.session.execute(
        update(Project)
        .where(table.id == project_id, table.status == Status.IN_PROGRESS)
        .values(
            file_count=table.file_count + files,
            bytes_stored=table.bytes_stored + stored,
            bytes_original=table.bytes_original + original,
        )
        .execution_options(synchronize_session=False)
    )
    if not affected(changed):
        raise WrongStatus("Project not in right status to upload/modify files.")


async def _count_in_folders(
    work: Work, project_id: int, folder: str, files: int, original: int
) -> int:
    """Change the counters of a folder and all above it, making those that are not there; return its id."""
    chain = with_ancestors(folder)
    table = Folder.columns()
    rows = await work.session.execute(
        update(Folder)
        .where(table.project_id == project_id, table.path.in_(chain))
        .values(file_count=table.file_count + files, bytes_original=table.bytes_original + original)
        .returning(table.path, table.id)
        .execution_options(synchronize_session=False)
    )
    ids = {str(path): int(identity) for path, identity in rows}
    for path in chain:
        if path not in ids:
            parent = None if path == ROOT else ids[folder_of(path)]
            made = await work.session.execute(
                insert(Folder)
                .values(
                    project_id=project_id,
                    parent_id=parent,
                    path=path,
                    file_count=files,
                    bytes_original=original,
                )
                .returning(table.id)
            )
            ids[path] = made.scalar_one()
    return ids[folder]


async def _add_version(
    work: Work, project_id: int, file_id: int, size_stored: int, member: Member
) -> None:
    await work.session.execute(
        insert(FileVersion).values(
            project_id=project_id,
            file_id=file_id,
            size_stored=size_stored,
            uploaded_at=work.now,
            uploaded_by=member.user_id,
        )
    )
