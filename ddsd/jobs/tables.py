"""The queue."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Index, text
from sqlmodel import Field

from ddsd.db.base import Table
from ddsd.db.types import EnumText, UtcDateTime


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Job(Table, table=True):
    """One thing to do. At most one of a kind is active per subject: the partial index *is* "busy".

    ``done`` of ``total`` is how far it is, in whatever it counts; a ``total`` of 0: it does not tell.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "uq_jobs_active",
            "kind",
            "subject",
            unique=True,
            sqlite_where=text("state IN ('queued', 'running')"),
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
        Index(None, "state", "run_after"),
        Index(None, "kind", "subject"),
    )

    id: int = Field(default=None, primary_key=True)
    kind: str = Field(max_length=40)
    subject: str = Field(max_length=254)
    state: JobState = Field(sa_type=EnumText(JobState))
    attempts: int = Field(default=0)
    run_after: datetime = Field(sa_type=UtcDateTime)
    claimed_by: str = Field(default="", max_length=64)
    alive_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error: str = Field(default="")
    done: int = Field(default=0, sa_type=BigInteger)
    total: int = Field(default=0, sa_type=BigInteger)
