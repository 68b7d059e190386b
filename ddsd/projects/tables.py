"""A project, its history of statuses, and the researchers in it.

``file_count``, ``bytes_stored`` and ``bytes_original`` are kept by the transactions that add or remove files, so
that nothing that lists projects ever sums files.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field

from ddsd.db.base import Table
from ddsd.db.types import EnumText, UtcDateTime
from ddsd.projects.status import Status, Verb


class Project(Table, table=True):
    """A delivery. ``status`` repeats the newest :class:`StatusEntry`, in the same transaction.

    ``ending`` is the verb whose slow part is not over: the data is being removed. ``purge_after`` is set while an
    archived project still has its data: until then it can be restored.
    ``store_id`` is the account at the store where its data is; null: the configured one. ``moving`` while the last of
    it is copied to another store: nothing is uploaded or removed then.
    ``usage_closed_at`` is when nothing more was left to be counted of it: see :mod:`ddsd.usage.monthly`.
    """

    __tablename__ = "projects"
    __table_args__ = (
        # What the night looks for: it must not cost more with every project that ever was.
        Index(None, "status", "deadline"),
        Index(
            "ix_projects_ending",
            "ending",
            sqlite_where=text("ending IS NOT NULL"),
            postgresql_where=text("ending IS NOT NULL"),
        ),
        Index(
            "ix_projects_purge_after",
            "purge_after",
            sqlite_where=text("purge_after IS NOT NULL"),
            postgresql_where=text("purge_after IS NOT NULL"),
        ),
        Index(
            "ix_projects_usage_open",
            "unit_id",
            sqlite_where=text("usage_closed_at IS NULL"),
            postgresql_where=text("usage_closed_at IS NULL"),
        ),
    )

    id: int = Field(default=None, primary_key=True)
    public_id: str = Field(max_length=60, unique=True)
    unit_id: int = Field(foreign_key="units.id", index=True)
    title: str | None = Field(default=None)
    description: str | None = Field(default=None)
    pi: str | None = Field(default=None, max_length=255)
    non_sensitive: bool = Field(default=False)
    bucket: str = Field(max_length=63, unique=True)
    status: Status = Field(sa_type=EnumText(Status))
    deadline: datetime | None = Field(default=None, sa_type=UtcDateTime)
    released_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    times_expired: int = Field(default=0)
    ending: Verb | None = Field(default=None, sa_type=EnumText(Verb))
    purge_after: datetime | None = Field(default=None, sa_type=UtcDateTime)
    active: bool = Field(default=True)
    public_key: bytes | None = Field(default=None, sa_type=LargeBinary)
    file_count: int = Field(default=0, sa_type=BigInteger)
    bytes_stored: int = Field(default=0, sa_type=BigInteger)
    bytes_original: int = Field(default=0, sa_type=BigInteger)
    store_id: int | None = Field(default=None, foreign_key="unit_stores.id", index=True)
    moving: bool = Field(default=False)
    usage_closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_by: int | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    updated_by: int | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)

    @property
    def ever_available(self) -> bool:
        """Say whether it was released at least once."""
        return self.released_at is not None


class StatusEntry(Table, table=True):
    """One status the project has had. ``id`` is the order: two in one second are two."""

    __tablename__ = "project_statuses"
    __table_args__ = (Index(None, "project_id", "id"),)

    id: int = Field(default=None, primary_key=True)
    project_id: int = Field(foreign_key="projects.id", ondelete="CASCADE")
    status: Status = Field(sa_type=EnumText(Status))
    deadline: datetime | None = Field(default=None, sa_type=UtcDateTime)
    at: datetime = Field(sa_type=UtcDateTime)


class Membership(Table, table=True):
    """A researcher, or somebody invited to be one, in a project; ``owner`` may invite others."""

    __tablename__ = "memberships"
    __table_args__ = (
        UniqueConstraint("project_id", "user_id"),
        UniqueConstraint("project_id", "invite_id", name="uq_memberships_project_id_invite"),
        CheckConstraint("(user_id IS NULL) <> (invite_id IS NULL)", name="one_person"),
    )

    id: int = Field(default=None, primary_key=True)
    project_id: int = Field(foreign_key="projects.id", ondelete="CASCADE")
    user_id: int | None = Field(
        default=None, foreign_key="users.id", ondelete="CASCADE", index=True
    )
    invite_id: int | None = Field(
        default=None, foreign_key="invites.id", ondelete="CASCADE", index=True
    )
    owner: bool = Field(default=False)
