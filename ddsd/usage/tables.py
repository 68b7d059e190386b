"""What each project has used in each month, and how the service was on the days it was counted."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Double, UniqueConstraint
from sqlmodel import Field

from ddsd.db.base import Table
from ddsd.db.types import UtcDateTime


class MonthlyUsage(Table, table=True):
    """What a project used in a month (``2026-03``, UTC); no row if that is nothing. Never changed: it is invoiced."""

    __tablename__ = "usage_months"
    __table_args__ = (UniqueConstraint("project_id", "month"),)

    id: int = Field(default=None, primary_key=True)
    project_id: int = Field(foreign_key="projects.id")
    month: str = Field(max_length=7, index=True)
    byte_hours: float = Field(sa_type=Double)
    bytes_uploaded: int = Field(sa_type=BigInteger)
    collected_at: datetime = Field(sa_type=UtcDateTime)


class Collection(Table, table=True):
    """A month whose usage is in :class:`MonthlyUsage`, and the sums over all projects. A month is collected once."""

    __tablename__ = "usage_collections"

    month: str = Field(max_length=7, primary_key=True)
    byte_hours: float = Field(sa_type=Double)
    bytes_uploaded: int = Field(sa_type=BigInteger)
    collected_at: datetime = Field(sa_type=UtcDateTime)


class Statistics(Table, table=True):
    """How the service was on one day (wire contract, section 4, ``GET /stats``). Usage is in byte-hours."""

    __tablename__ = "statistics"

    day: date = Field(primary_key=True)
    units: int
    researchers: int
    project_owners: int
    unit_personnel: int
    unit_admins: int
    super_admins: int
    active_projects: int
    inactive_projects: int
    bytes_stored: int = Field(sa_type=BigInteger)
    bytes_uploaded: int = Field(sa_type=BigInteger)
    byte_hours_last_month: float = Field(sa_type=Double)
    byte_hours_total: float = Field(sa_type=Double)
    collected_at: datetime = Field(sa_type=UtcDateTime)
