"""Files, the folders they are in, their versions, and the keys handed out for them.

A folder knows how many files and bytes are anywhere below it, so that listing one folder costs what that folder
holds and nothing else.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Index, LargeBinary, UniqueConstraint
from sqlmodel import Field

from ddsd.db.base import Table
from ddsd.db.types import EnumText, UtcDateTime, exact_text
from ddsd.storage.check.outcome import Verdict


class StoredFile(Table, table=True):
    """A file as it is now. ``name`` is its POSIX path from the project's root, ``subpath`` the folder or ``.``.

    ``checksum`` is SHA-256 (hex) of the original bytes; ``salt`` and ``public_key`` are the container's, in hex.
    """

    __tablename__ = "files"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        UniqueConstraint("project_id", "name_in_bucket", name="uq_files_project_id_in_bucket"),
    )

    id: int = Field(default=None, primary_key=True)
    project_id: int = Field(foreign_key="projects.id", ondelete="CASCADE")
    folder_id: int = Field(foreign_key="folders.id", index=True)
    name: str = Field(sa_type=exact_text())
    name_in_bucket: str = Field(sa_type=exact_text())
    size_original: int = Field(sa_type=BigInteger)
    size_stored: int = Field(sa_type=BigInteger)
    compressed: bool
    salt: str = Field(max_length=32)
    public_key: str = Field(max_length=64)
    checksum: str = Field(max_length=64)
    uploaded_at: datetime = Field(sa_type=UtcDateTime)
    downloaded_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Download(Table, table=True):
    """Somebody has fetched a file as it is now; gone when the file is removed or gets new content.

    ``project_id`` repeats the file's, so that what one person has of a project is one range of an index. It is no
    foreign key: to check it would lock the project's row after the file's, and others lock them the other way round.
    """

    __tablename__ = "downloads"
    __table_args__ = (Index(None, "user_id", "project_id"),)

    file_id: int = Field(primary_key=True, foreign_key="files.id", ondelete="CASCADE")
    user_id: int = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    project_id: int
    at: datetime = Field(sa_type=UtcDateTime)


class DownloadSum(Table, table=True):
    """What somebody had fetched of a project when its end was begun: its files, and their downloads, go one by one.

    ``size_bytes`` is of the original files. Forgotten after a while: see :func:`downloads.forget_old`.
    """

    __tablename__ = "download_sums"

    project_id: int = Field(primary_key=True, foreign_key="projects.id", ondelete="CASCADE")
    user_id: int = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE", index=True)
    files: int = Field(sa_type=BigInteger)
    size_bytes: int = Field(sa_type=BigInteger)
    first_at: datetime = Field(sa_type=UtcDateTime)
    last_at: datetime = Field(sa_type=UtcDateTime)
    kept_at: datetime = Field(sa_type=UtcDateTime, index=True)


class Folder(Table, table=True):
    """A folder that holds a file somewhere below it. The root's path is ``.`` and it has no parent.

    ``file_count`` and ``bytes_original`` count everything below, at any depth.
    """

    __tablename__ = "folders"
    __table_args__ = (UniqueConstraint("project_id", "path"),)

    id: int = Field(default=None, primary_key=True)
    project_id: int = Field(foreign_key="projects.id", ondelete="CASCADE")
    parent_id: int | None = Field(default=None, foreign_key="folders.id", index=True)
    path: str = Field(sa_type=exact_text())
    file_count: int = Field(default=0, sa_type=BigInteger)
    bytes_original: int = Field(default=0, sa_type=BigInteger)


class FileVersion(Table, table=True):
    """What was stored from when to when, and by whom: the record that usage is computed from. Never removed."""

    __tablename__ = "file_versions"
    # All that usage is added up from: ten times as fast as by way of the rows.
    __table_args__ = (Index(None, "project_id", "removed_at", "uploaded_at", "size_stored"),)

    id: int = Field(default=None, primary_key=True)
    project_id: int = Field(foreign_key="projects.id")
    file_id: int | None = Field(
        default=None, foreign_key="files.id", ondelete="SET NULL", index=True
    )
    size_stored: int = Field(sa_type=BigInteger)
    uploaded_at: datetime = Field(sa_type=UtcDateTime)
    uploaded_by: int | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    removed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class FindingKind(StrEnum):
    """How store and database may disagree."""

    OBJECT_WITHOUT_FILE = "object-without-file"
    FILE_WITHOUT_OBJECT = "file-without-object"
    WRONG_SIZE = "wrong-size"
    LEFTOVER_UPLOAD = "leftover-upload"
    MISSING_BUCKET = "missing-bucket"
    BUCKET_OF_NOBODY = "bucket-of-nobody"


class Finding(Table, table=True):
    """One thing in which store and database disagreed when they were last compared.

    ``key`` is an object's, or empty where the finding is the bucket. ``bytes_registered`` is what the database says,
    ``bytes_found`` what the store does. ``found_at`` is when it was first seen, ``seen_at`` when last.
    """

    __tablename__ = "findings"
    __table_args__ = (UniqueConstraint("bucket", "kind", "key", "upload_id"),)

    id: int = Field(default=None, primary_key=True)
    kind: FindingKind = Field(sa_type=EnumText(FindingKind))
    project_id: int | None = Field(
        default=None, foreign_key="projects.id", ondelete="CASCADE", index=True
    )
    bucket: str = Field(max_length=63)
    key: str = Field(default="", sa_type=exact_text())
    upload_id: str = Field(default="", max_length=1024)
    name: str = Field(default="")
    bytes_registered: int | None = Field(default=None, sa_type=BigInteger)
    bytes_found: int | None = Field(default=None, sa_type=BigInteger)
    found_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime = Field(sa_type=UtcDateTime)


class StoreKeyUse(StrEnum):
    """What a key at the store is for."""

    UPLOAD = "upload"
    DOWNLOAD = "download"


class StoreKey(Table, table=True):
    """A key at the object store that this service made: per project for uploads, one that signs downloads.

    ``secret`` is sealed under the instance key. ``store`` names the store it was made at: it is worth nothing at
    another one, which may be configured later. ``store_id`` is the unit's account it was made with; null: the
    configured one. Once ``retired_at`` is set it is handed out no more, and still good for those who have it.
    """

    __tablename__ = "store_keys"

    id: int = Field(default=None, primary_key=True)
    use: StoreKeyUse = Field(sa_type=EnumText(StoreKeyUse))
    store: str = Field(max_length=500)
    bucket: str = Field(default="", max_length=63, index=True)
    access_key: str = Field(max_length=128, unique=True)
    secret: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    store_id: int | None = Field(default=None, foreign_key="unit_stores.id", index=True)
    retired_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ObjectCopy(Table, table=True):
    """An object that was copied to the store its project is being moved to, and read back there.

    ``size_bytes``, ``etag`` and ``stored_at`` are the original's: if they change, it is copied again.
    """

    __tablename__ = "object_copies"

    project_id: int = Field(primary_key=True, foreign_key="projects.id", ondelete="CASCADE")
    key: str = Field(primary_key=True, sa_type=exact_text())
    size_bytes: int = Field(sa_type=BigInteger)
    etag: str = Field(max_length=255)
    stored_at: datetime = Field(sa_type=UtcDateTime)
    checksum: str = Field(max_length=64)


class StoreCheckResult(Table, table=True):
    """What came of one check of a store, at its last check.

    ``subject`` is the unit's public id, or :data:`~ddsd.jobs.schedule.EVERYTHING` for the configured store.
    ``position`` is the check's place among all.
    """

    __tablename__ = "store_check_results"
    __table_args__ = (UniqueConstraint("subject", "name"),)

    id: int = Field(default=None, primary_key=True)
    subject: str = Field(max_length=254)
    name: str = Field(max_length=40)
    position: int
    verdict: Verdict = Field(sa_type=EnumText(Verdict))
    seen: str
    seconds: float
    checked_at: datetime = Field(sa_type=UtcDateTime)
