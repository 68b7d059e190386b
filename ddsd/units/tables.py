"""The unit's row (its names, its defaults, the counter its projects are numbered with), and its accounts at stores."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Index, LargeBinary, text
from sqlmodel import Field

from ddsd.db.base import Table
from ddsd.db.types import EnumText, UtcDateTime


class Unit(Table, table=True):
    """A facility that delivers.

    ``quota_bytes`` 0 means none; ``warning_level`` is a fraction of it. With ``quota_enforced`` what goes
    over the quota is refused, else there are only warnings. ``quota_warned_at`` is when the unit was told that it
    had come over the level; empty again once it is below.
    ``undo_days`` is how long a project archived by its deadline can be restored; 0: not at all. ``reminder_days`` is
    such as ``14,7,1``, empty: nobody is reminded, null: as the settings say.
    """

    __tablename__ = "units"

    id: int = Field(default=None, primary_key=True)
    public_id: str = Field(max_length=50, unique=True)
    name: str = Field(max_length=255, unique=True)
    external_display_name: str = Field(max_length=255)
    contact_email: str = Field(max_length=255)
    internal_ref: str = Field(max_length=50, unique=True)
    project_counter: int = Field(default=0)
    days_in_available: int = Field(default=90)
    days_in_expired: int = Field(default=30)
    undo_days: int = Field(default=7)
    quota_bytes: int = Field(default=0, sa_type=BigInteger)
    warning_level: float = Field(default=0.8)
    quota_enforced: bool = Field(default=True)
    quota_warned_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reminder_days: str | None = Field(default=None, max_length=255)
    created_at: datetime = Field(sa_type=UtcDateTime)


class StoreState(StrEnum):
    """What a unit's account at a store is to it."""

    CURRENT = "current"
    """New projects go there."""
    FORMER = "former"
    """Projects are moved away from there, or have been, and their old copies are still there."""
    REPLACED = "replaced"
    """Another key to the current store was given; this one only withdraws what was made with it."""


class UnitStore(Table, table=True):
    """A unit's own account at an object store. Secrets are sealed under the instance key.

    ``endpoint`` empty: the configured store, which was at ``configured_as``; only as a former one. ``buckets`` is
    the pattern of the unit's bucket names. ``next_secret`` is set while the secret is being changed at the store: it is
    one of the two then.
    """

    __tablename__ = "unit_stores"
    __table_args__ = (
        Index(
            "uq_unit_stores_state",
            "unit_id",
            "state",
            unique=True,
            sqlite_where=text("state <> 'replaced'"),
            postgresql_where=text("state <> 'replaced'"),
        ),
    )

    id: int = Field(default=None, primary_key=True)
    unit_id: int = Field(foreign_key="units.id", ondelete="CASCADE", index=True)
    state: StoreState = Field(sa_type=EnumText(StoreState))
    endpoint: str = Field(default="", max_length=255)
    public_endpoint: str = Field(default="", max_length=255)
    region: str = Field(default="", max_length=64)
    iam_endpoint: str = Field(default="", max_length=255)
    buckets: str = Field(default="", max_length=63)
    access_key: str = Field(default="", max_length=128)
    secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    next_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    wide_upload_keys: bool = Field(default=False)
    read_only_access_key: str = Field(default="", max_length=128)
    read_only_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    configured_as: str = Field(default="", max_length=500)
    created_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)
