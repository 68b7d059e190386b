"""The unit's row: its names, its defaults, and the counter its projects are numbered with."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger
from sqlmodel import Field

from ddsd.db.base import Table
from ddsd.db.types import UtcDateTime


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
