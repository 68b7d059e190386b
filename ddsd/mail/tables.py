"""The outbox."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import LargeBinary
from sqlmodel import Field

from ddsd.db.base import Table
from ddsd.db.types import EnumText, UtcDateTime


class MailState(StrEnum):
    """Where a letter is on its way."""

    QUEUED = "queued"
    SENT = "sent"
    KEPT = "kept"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"


class Mail(Table, table=True):
    """A letter. ``body`` is sealed under the instance key and, if ``secret``, gone once the letter has left.

    ``about`` is the public id of the project it tells of, if it tells of one. ``holds``: while it is not delivered,
    that project's data is not removed by a deadline: see :func:`outbox.undelivered`. ``sent_by`` is the kind of the
    job that sends it; empty: none, it left at once or never.
    """

    __tablename__ = "mails"

    id: int = Field(default=None, primary_key=True)
    kind: str = Field(max_length=40)
    recipient: str = Field(max_length=254, index=True)
    about: str = Field(default="", max_length=60, index=True)
    holds: bool = Field(default=False)
    subject: str
    body: bytes | None = Field(default=None, sa_type=LargeBinary)
    secret: bool = Field(default=False)
    message_id: str = Field(max_length=120)
    sent_by: str = Field(default="", max_length=40)
    state: MailState = Field(sa_type=EnumText(MailState), index=True)
    attempts: int = Field(default=0)
    created_at: datetime = Field(sa_type=UtcDateTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error: str = Field(default="")
