"""The metadata every slice's tables register with, and how constraints are named: for migrations."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData
from sqlmodel import SQLModel

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Table(SQLModel):
    """Base of every table. Rows are made with keyword arguments, unchecked: parse at the rim."""

    metadata = METADATA

    @classmethod
    def columns(cls) -> Any:
        """Return the table's columns, for statements that need them by name."""
        return cls.__table__.c  # type: ignore[attr-defined]  # SQLAlchemy adds it to every mapped class
