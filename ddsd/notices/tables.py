"""Messages of the day, the switches of this instance, and who was told what already."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
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


class MotdLetter(Table, table=True):
    """Somebody is mailed a message of the day: once. ``mail_id`` is null once the outbox has forgotten the letter."""

    __tablename__ = "motd_letters"

    motd_id: int = Field(primary_key=True, foreign_key="motds.id")
    user_id: int = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE", index=True)
    mail_id: int | None = Field(
        default=None, foreign_key="mails.id", ondelete="SET NULL", index=True
    )


class Reminder(Table, table=True):
    """A researcher was reminded of a deadline, ``step`` days before it."""

    __tablename__ = "reminders"
    __table_args__ = (UniqueConstraint("project_id", "user_id", "deadline", "step"),)

    id: int = Field(default=None, primary_key=True)
    project_id: int = Field(foreign_key="projects.id", ondelete="CASCADE")
    user_id: int = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    deadline: datetime = Field(sa_type=UtcDateTime)
    step: int
    at: datetime = Field(sa_type=UtcDateTime)
    mail_id: int | None = Field(
        default=None, foreign_key="mails.id", ondelete="SET NULL", index=True
    )


class DeadlineSummary(Table, table=True):
    """A unit was told of a project's deadline, ``step`` days before it; several may share one letter."""

    __tablename__ = "deadline_summaries"
    __table_args__ = (UniqueConstraint("project_id", "deadline", "step"),)

    id: int = Field(default=None, primary_key=True)
    project_id: int = Field(foreign_key="projects.id", ondelete="CASCADE")
    deadline: datetime = Field(sa_type=UtcDateTime)
    step: int
    at: datetime = Field(sa_type=UtcDateTime)
    mail_id: int | None = Field(
        default=None, foreign_key="mails.id", ondelete="SET NULL", index=True
    )


class Switch(Table, table=True):
    """A named yes or no of this instance, such as ``maintenance``. Absent means no."""

    __tablename__ = "switches"

    name: str = Field(primary_key=True, max_length=40)
    on: bool = Field(default=False)
