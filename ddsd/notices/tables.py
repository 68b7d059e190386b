"""Messages of the day, and the switches of this instance."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from ddsd.db.base import Table
from ddsd.db.types import UtcDateTime


class Motd(Table, table=True):
    """A message of the day."""

    __tablename__ = "motds"

    id: int = Field(default=None, primary_key=True)
    message: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    active: bool = Field(default=True)


class Switch(Table, table=True):
    """A named yes or no of this instance, such as ``maintenance``. Absent means no."""

    __tablename__ = "switches"

    name: str = Field(primary_key=True, max_length=40)
    on: bool = Field(default=False)
