"""Who holds a project's key: one wrap per holder. Only :mod:`ddsd.keys.service` touches this table."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, LargeBinary, UniqueConstraint
from sqlmodel import Field

from ddsd.db.base import Table
from ddsd.db.types import UtcDateTime


class KeyWrap(Table, table=True):
    """A project's private key, wrapped for one holder: a user or an invite."""

    __tablename__ = "key_wraps"
    __table_args__ = (
        UniqueConstraint("project_id", "user_id"),
        UniqueConstraint("project_id", "invite_id", name="uq_key_wraps_project_id_invite"),
        CheckConstraint("(user_id IS NULL) <> (invite_id IS NULL)", name="one_holder"),
    )

    id: int = Field(default=None, primary_key=True)
    project_id: int = Field(foreign_key="projects.id", ondelete="CASCADE")
    user_id: int | None = Field(
        default=None, foreign_key="users.id", ondelete="CASCADE", index=True
    )
    invite_id: int | None = Field(
        default=None, foreign_key="invites.id", ondelete="CASCADE", index=True
    )
    blob: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)
