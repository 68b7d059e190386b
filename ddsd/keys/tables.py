"""Who holds a project's key: one wrap per holder. Only :mod:`ddsd.keys.service` touches these tables."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field

from ddsd.db.base import Table
from ddsd.db.types import UtcDateTime


class KeyWrap(Table, table=True):
    """A project's private key, wrapped for one holder: a user, an invite, or a unit's recovery kit."""

    __tablename__ = "key_wraps"
    __table_args__ = (
        UniqueConstraint("project_id", "user_id"),
        UniqueConstraint("project_id", "invite_id", name="uq_key_wraps_project_id_invite"),
        UniqueConstraint("project_id", "kit_id", name="uq_key_wraps_project_id_kit"),
        CheckConstraint(
            "(user_id IS NOT NULL AND invite_id IS NULL AND kit_id IS NULL)"
            " OR (user_id IS NULL AND (invite_id IS NULL) <> (kit_id IS NULL))",
            name="one_holder",
        ),
    )

    id: int = Field(default=None, primary_key=True)
    project_id: int = Field(foreign_key="projects.id", ondelete="CASCADE")
    user_id: int | None = Field(
        default=None, foreign_key="users.id", ondelete="CASCADE", index=True
    )
    invite_id: int | None = Field(
        default=None, foreign_key="invites.id", ondelete="CASCADE", index=True
    )
    kit_id: int | None = Field(
        default=None, foreign_key="recovery_kits.id", ondelete="CASCADE", index=True
    )
    blob: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)


class RecoveryKit(Table, table=True):
    """The public half of a unit's recovery key; the private half was shown once and is kept on paper.

    ``revoked_at`` is null for the one kit of a unit that new projects are wrapped for.
    """

    __tablename__ = "recovery_kits"
    __table_args__ = (
        Index(
            "uq_recovery_kits_one_active",
            "unit_id",
            unique=True,
            sqlite_where=text("revoked_at IS NULL"),
            postgresql_where=text("revoked_at IS NULL"),
        ),
    )

    id: int = Field(default=None, primary_key=True)
    uid: str = Field(max_length=32, unique=True)
    unit_id: int = Field(foreign_key="units.id", ondelete="CASCADE", index=True)
    public_key: bytes = Field(sa_type=LargeBinary)
    made_by: int | None = Field(default=None, foreign_key="users.id", ondelete="SET NULL")
    created_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class InstanceCheck(Table, table=True):
    """One row: a value sealed by the instance key this database belongs to (:mod:`ddsd.keys.instance_check`)."""

    __tablename__ = "instance_checks"

    id: int = Field(default=None, primary_key=True)
    blob: bytes = Field(sa_type=LargeBinary)
