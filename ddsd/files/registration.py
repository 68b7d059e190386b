"""Files are registered after their object is stored: one row, its folder chain, the counters, a version.

The cost does not depend on how many files the project has. The project's row is locked first: that is both the
proof that it is In Progress and what makes the files, folders and counters of one project change in turn. So what
is read after it stays true until the commit, and no two places are taken by one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sqlalchemy import bindparam, insert, literal, select, union_all, update

from ddsd.access import Action, Member, require_member
from ddsd.db.base import METADATA
from ddsd.db.statements import affected
from ddsd.errors import (
    AlreadyExists,
    Conflict,
    DdsError,
    InvalidInput,
    NotFound,
    WrongStatus,
)
from ddsd.files import downloads
from ddsd.files.names import ROOT, folder_of, with_ancestors
from ddsd.files.tables import FileVersion, Folder, StoredFile
from ddsd.projects import quota
from ddsd.projects.gate import require_in_progress
from ddsd.projects.quota import Room
from ddsd.projects.status import Status
from ddsd.projects.tables import Project
from ddsd.work import Work

_MATCH_BATCH: Final = 500
_MOST_BYTES: Final = 2**62
_TOO_MUCH: Final = "The sizes of the project's files add up to more than can be counted."
_FILES: Final = METADATA.tables["files"]
_FOLDERS: Final = METADATA.tables["folders"]
_VERSIONS: Final = METADATA.tables["file_versions"]
_PROJECTS: Final = METADATA.tables["projects"]


class _Kind(IntEnum):
    """What a row of ``_IN_THE_WAY`` is."""

    FILE = 1
    KEY = 2
    FOLDER = 3


# Made once: making them takes longer than running them.
_LOCK: Final = (
    select(_PROJECTS.c.unit_id, _PROJECTS.c.bytes_stored, _PROJECTS.c.bytes_original)
    .where(
        _PROJECTS.c.id == bindparam("project"),
        _PROJECTS.c.status == Status.IN_PROGRESS,
        _PROJECTS.c.ending.is_(None),
    )
    .with_for_update()
)
_COUNT: Final = (
    update(_PROJECTS)
    .where(
        _PROJECTS.c.id == bindparam("project"),
        _PROJECTS.c.status == Status.IN_PROGRESS,
        _PROJECTS.c.ending.is_(None),
    )
    .values(
        file_count=_PROJECTS.c.file_count + bindparam("files"),
        bytes_stored=_PROJECTS.c.bytes_stored + bindparam("stored"),
        bytes_original=_PROJECTS.c.bytes_original + bindparam("original"),
        usage_closed_at=None,  # what has files is counted, whatever it was before
    )
)
_CHANGE_FOLDER: Final = (
    update(_FOLDERS)
    .where(_FOLDERS.c.id == bindparam("folder"))
    .values(
        file_count=_FOLDERS.c.file_count + bindparam("files"),
        bytes_original=_FOLDERS.c.bytes_original + bindparam("original"),
    )
)
_IN_THE_WAY: Final = union_all(
    select(literal(_Kind.FILE.value), _FILES.c.name, _FILES.c.id, literal(1)).where(
        _FILES.c.project_id == bindparam("project"),
        _FILES.c.name.in_(bindparam("names", expanding=True)),
    ),
    select(literal(_Kind.KEY.value), _FILES.c.name_in_bucket, _FILES.c.id, literal(1)).where(
        _FILES.c.project_id == bindparam("project"),
        _FILES.c.name_in_bucket.in_(bindparam("keys", expanding=True)),
    ),
    select(
        literal(_Kind.FOLDER.value), _FOLDERS.c.path, _FOLDERS.c.id, _FOLDERS.c.file_count
    ).where(
        _FOLDERS.c.project_id == bindparam("project"),
        _FOLDERS.c.path.in_(bindparam("names", expanding=True)),
    ),
)
_ADD_FILES: Final = insert(_FILES).returning(_FILES.c.name, _FILES.c.id)
_ADD_VERSIONS: Final = insert(_VERSIONS)


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


@dataclass(frozen=True)
class Upload:
    """A file to be registered in a project, and who has stored it; ``None``: an operator registers it for them."""

    project_id: int
    new: NewFile
    member: Member | None


async def add(work: Work, project: Project, new: NewFile) -> None:
    """Register a file.

    Raises:
        Forbidden: the caller may not upload.
        WrongStatus: the project is not In Progress.
        AlreadyExists: it has a file of that name.
        Conflict: a folder has that name, a file the name of one of its folders, or another file its key.
        QuotaExceeded: the unit's quota is enforced, and the file does not fit.
        InvalidInput: the project's sizes would add up to more than can be counted.
    """
    member = require_member(work.actor, Action.UPLOAD)
    require_in_progress(project)
    await quota.hold(work, [project.unit_id])
    [refusal] = await add_all(work, project.id, [Upload(project.id, new, member)])
    if refusal is not None:
        raise refusal


async def add_all(
    work: Work, project_id: int, uploads: Sequence[Upload]
) -> Sequence[DdsError | None]:
    """Register files of one project together; return for each why it was refused, or ``None``.

    A refusal concerns that file alone. Whether the members may upload is not checked here. The project's unit is to
    be held already: see :func:`ddsd.projects.quota.hold`.
    """
    totals = await _lock(work, project_id)
    if totals is None:
        no = WrongStatus("Project not in right status to upload/modify files.")
        return [no] * len(uploads)
    room = await quota.room(work, totals.unit_id)
    places = await _places(work, project_id, [upload.new for upload in uploads], totals, room)
    refusals = [places.refuse(upload.new) for upload in uploads]
    accepted = [
        upload for upload, refusal in zip(uploads, refusals, strict=True) if refusal is None
    ]
    if accepted:
        await _insert(work, project_id, accepted, places)
        stored = sum(upload.new.size_stored for upload in accepted)
        original = sum(upload.new.size_original for upload in accepted)
        await _count(work, project_id, len(accepted), stored, original)
    return refusals


async def replace(work: Work, project: Project, new: NewFile) -> None:
    """Register new content of a file; its name and its key in the bucket stay.

    No quota refuses it: the new content is in the old one's place already, and the old facts would not decrypt it.

    Raises:
        Forbidden: the caller may not upload.
        WrongStatus: the project is not In Progress.
        NotFound: there is no such file.
        InvalidInput: it is stored under another key, or sizes add up to more than can be counted.
    """
    member = require_member(work.actor, Action.UPLOAD)
    require_in_progress(project)
    await replace_as(work, Upload(project.id, new, member))


async def replace_as(work: Work, upload: Upload) -> None:
    """Register new content of a file like :func:`replace`; who may is checked by the caller.

    Raises:
        WrongStatus, NotFound, InvalidInput: see :func:`replace`.
    """
    project_id, new = upload.project_id, upload.new
    totals = await _lock(work, project_id)
    if totals is None:
        raise WrongStatus("Project not in right status to upload/modify files.")
    file = await find(work, project_id, new.name)
    if file is None:
        raise NotFound(f"Cannot update non-existent file '{new.name}' in the database!")
    if file.name_in_bucket != new.name_in_bucket:
        raise InvalidInput(
            f"File '{new.name}' is stored as '{file.name_in_bucket}': "
            "store its new content there, too."
        )
    if totals.overflow(new):
        raise InvalidInput(_TOO_MUCH)
    original = new.size_original - file.size_original
    await _count(work, project_id, 0, new.size_stored - file.size_stored, original)
    chain = dict.fromkeys(with_ancestors(folder_of(new.name)), (0, original))
    await _count_in_folders(work, await _folder_ids(work, project_id, chain), chain)
    versions = FileVersion.columns()
    await work.session.execute(
        update(FileVersion)
        .where(versions.file_id == file.id, versions.removed_at.is_(None))
        .values(removed_at=work.now)
    )
    await work.session.execute(
        update(StoredFile)
        .where(StoredFile.columns().id == file.id)
        .values(uploaded_at=work.now, downloaded_at=None, **new.columns())
    )
    await downloads.forget(work, file.id)
    await work.session.execute(_ADD_VERSIONS, [_version(work, file.id, upload)])


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


async def _count(work: Work, project_id: int, files: int, stored: int, original: int) -> None:
    """Change the project's counters; refuse if it left In Progress since it was read."""
    changes = {"files": files, "stored": stored, "original": original}
    connection = await work.session.connection()
    changed = await connection.execute(_COUNT, {"project": project_id} | changes)
    if not affected(changed):
        raise WrongStatus("Project not in right status to upload/modify files.")


async def _count_in_folders(
    work: Work, ids: Mapping[str, int], changes: Mapping[str, tuple[int, int]]
) -> None:
    """Add files and original bytes to folders that are there, by path."""
    connection = await work.session.connection()
    await connection.execute(
        _CHANGE_FOLDER,
        [
            {"folder": ids[path], "files": files, "original": original}
            for path, (files, original) in changes.items()
        ],
    )


async def _folder_ids(work: Work, project_id: int, paths: Iterable[str]) -> dict[str, int]:
    table = Folder.columns()
    rows = await work.session.execute(
        select(table.path, table.id).where(
            table.project_id == project_id, table.path.in_(list(paths))
        )
    )
    return {str(path): int(identity) for path, identity in rows}


async def _lock(work: Work, project_id: int) -> _Totals | None:
    """Let no other transaction change the project's files; return its sizes if it is In Progress."""
    connection = await work.session.connection()
    row = (await connection.execute(_LOCK, {"project": project_id})).one_or_none()
    return None if row is None else _Totals(int(row[0]), int(row[1]), int(row[2]))


@dataclass
class _Totals:
    """A project's sizes, and the sizes of what is accepted on top of them."""

    unit_id: int
    stored: int
    original: int

    def overflow(self, new: NewFile) -> bool:
        """Say whether the sizes with this file would not fit into a counter (63 bits)."""
        return max(self.stored + new.size_stored, self.original + new.size_original) > _MOST_BYTES


@dataclass
class _Places:
    """What is where in a project, as far as some new files are concerned."""

    files: set[str]
    keys: set[str]
    folders: set[str]
    folder_ids: dict[str, int]
    totals: _Totals
    room: Room | None

    def refuse(self, new: NewFile) -> DdsError | None:
        """Return why the file cannot be placed; if it can, take its place."""
        folders = with_ancestors(folder_of(new.name))
        if new.name in self.files:
            return AlreadyExists(
                f"File '{new.name}' is already in the project. Use --overwrite to replace it."
            )
        if new.name_in_bucket in self.keys:
            return Conflict(f"Another file of the project is stored as '{new.name_in_bucket}'.")
        if new.name in self.folders:
            return Conflict(
                f"There is a folder '{new.name}' in the project already. A download could not "
                "place a file and a folder of one name."
            )
        for folder in folders:
            if folder in self.files:
                return Conflict(f"'{folder}' is a file in the project, so it cannot be a folder.")
        if self.totals.overflow(new):
            return InvalidInput(_TOO_MUCH)
        if self.room and (refusal := self.room.take(new.size_stored)):
            return refusal
        self.files.add(new.name)
        self.keys.add(new.name_in_bucket)
        self.folders.update(folders)
        self.totals.stored += new.size_stored
        self.totals.original += new.size_original
        return None


async def _places(
    work: Work, project_id: int, news: Sequence[NewFile], totals: _Totals, room: Room | None
) -> _Places:
    """Find what could be in the way of these files, and their folders: one statement."""
    names = {new.name for new in news}
    folders = {path for new in news for path in with_ancestors(folder_of(new.name))}
    connection = await work.session.connection()
    rows = await connection.execute(
        _IN_THE_WAY,
        {
            "project": project_id,
            "names": list(names | folders),
            "keys": [new.name_in_bucket for new in news],
        },
    )
    places = _Places(set(), set(), set(), {}, totals, room)
    for kind, what, identity, count in rows:
        match _Kind(kind):
            case _Kind.FILE:
                places.files.add(what)
            case _Kind.KEY:
                places.keys.add(what)
            case _Kind.FOLDER:
                places.folder_ids[what] = identity
                if count:
                    places.folders.add(what)
    return places


async def _insert(work: Work, project_id: int, accepted: Sequence[Upload], places: _Places) -> None:
    """Add the rows of files that have been accepted, of their folders and of their versions."""
    changes: dict[str, tuple[int, int]] = {}
    for upload in accepted:
        for path in with_ancestors(folder_of(upload.new.name)):
            files, original = changes.get(path, (0, 0))
            changes[path] = (files + 1, original + upload.new.size_original)
    await _make_folders(work, project_id, changes, places.folder_ids)
    await _count_in_folders(work, places.folder_ids, changes)
    connection = await work.session.connection()
    made = await connection.execute(
        _ADD_FILES,
        [_row(work, upload, places.folder_ids) for upload in accepted],
    )
    ids = {str(name): int(identity) for name, identity in made}
    await connection.execute(
        _ADD_VERSIONS, [_version(work, ids[upload.new.name], upload) for upload in accepted]
    )


async def _make_folders(
    work: Work, project_id: int, paths: Iterable[str], ids: dict[str, int]
) -> None:
    """Make those folders that are not there, empty, from the root downwards."""
    connection = await work.session.connection()
    for path in sorted(set(paths) - ids.keys(), key=_depth):
        made = await connection.execute(
            insert(_FOLDERS)
            .values(
                project_id=project_id,
                parent_id=None if path == ROOT else ids[folder_of(path)],
                path=path,
                file_count=0,
                bytes_original=0,
            )
            .returning(_FOLDERS.c.id)
        )
        ids[path] = int(made.scalar_one())


def _depth(path: str) -> int:
    return len(with_ancestors(path))


def _row(work: Work, upload: Upload, folder_ids: Mapping[str, int]) -> dict[str, object]:
    return {
        "project_id": upload.project_id,
        "folder_id": folder_ids[folder_of(upload.new.name)],
        "name": upload.new.name,
        "name_in_bucket": upload.new.name_in_bucket,
        "uploaded_at": work.now,
        **upload.new.columns(),
    }


def _version(work: Work, file_id: int, upload: Upload) -> dict[str, object]:
    return {
        "project_id": upload.project_id,
        "file_id": file_id,
        "size_stored": upload.new.size_stored,
        "uploaded_at": work.now,
        "uploaded_by": upload.member.user_id if upload.member else None,
    }
