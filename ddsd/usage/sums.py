"""Usage as the database adds it up: one statement, whatever the number of versions.

The definition is :mod:`ddsd.usage.bytehours`. Projects that are closed (everything removed, every month collected) are
never looked at.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Double, Select, case, cast, func, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from ddsd.files.tables import FileVersion
from ddsd.projects.tables import Project
from ddsd.usage.bytehours import MICROSECONDS_IN_HOUR

THE_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class _Microseconds(FunctionElement[int]):
    """A column's moment in microseconds since 1970, exactly."""

    type = BigInteger()
    inherit_cache = True


@compiles(_Microseconds, "sqlite")
def _on_sqlite(element: _Microseconds, compiler: SQLCompiler, **options: Any) -> str:
    # Not julianday() nor strftime('%f'): they round to milliseconds.
    moment = compiler.process(element.clauses, **options)
    seconds = f"CAST(strftime('%s', substr({moment}, 1, 19)) AS INTEGER)"
    return f"({seconds} * 1000000 + CAST(substr({moment}, 21, 6) AS INTEGER))"


@compiles(_Microseconds, "postgresql")
def _on_postgresql(element: _Microseconds, compiler: SQLCompiler, **options: Any) -> str:
    moment = compiler.process(element.clauses, **options)
    return f"CAST(EXTRACT(EPOCH FROM {moment}) * 1000000 AS BIGINT)"


def stored_between(since: datetime, until: datetime) -> Select[Any]:
    """Return the query for what each open project used from ``since`` up to ``until``.

    Columns: ``project_id``; ``byte_hours``; ``bytes_uploaded``, the stored bytes of what was registered meanwhile.
    Projects that used nothing are left out. ``since`` may not lie in a month that has been collected: what has been
    closed by then is not found. Add conditions on ``projects`` for a part of it.
    """
    versions, projects = FileVersion.columns(), Project.columns()
    return (
        select(
            versions.project_id,
            func.sum(_byte_hours(since, until)).label("byte_hours"),
            cast(
                func.sum(case((versions.uploaded_at >= since, versions.size_stored), else_=0)),
                BigInteger,
            ).label("bytes_uploaded"),
        )
        .join(Project, projects.id == versions.project_id)
        .where(
            projects.usage_closed_at.is_(None),
            versions.uploaded_at < until,
            or_(
                versions.removed_at.is_(None),
                (versions.removed_at >= since) & (versions.removed_at >= versions.uploaded_at),
            ),
        )
        .group_by(versions.project_id)
    )


def _byte_hours(since: datetime, until: datetime) -> ColumnElement[float]:
    versions = FileVersion.columns()
    start = case(
        (versions.uploaded_at > since, _Microseconds(versions.uploaded_at)),
        else_=_microseconds(since),
    )
    end = case(
        (versions.removed_at < until, _Microseconds(versions.removed_at)),
        else_=_microseconds(until),
    )
    return cast(versions.size_stored, Double) * (cast(end - start, Double) / MICROSECONDS_IN_HOUR)


def _microseconds(moment: datetime) -> int:
    return (moment - THE_BEGINNING) // _MICROSECOND
