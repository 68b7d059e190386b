"""The audit log's rows."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from ddsd.db.base import Table
from ddsd.db.types import UtcDateTime


class AuditEntry(Table, table=True):
    """Who did what to what, when; ``facts`` is a JSON object."""

    __tablename__ = "audit_entries"

    id: int = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    actor: str = Field(max_length=120)
    action: str = Field(max_length=60)
    subject: str = Field(max_length=255, index=True)
    facts: str = Field(default="{}")
