"""``python -m ddsd.db.autogenerate NAME``: write the next revision from what the tables say.

A developer's tool; the file is a proposal: read it. A new column that old rows could not fill is
refused. Two things it gets wrong. A rename looks like one column dropped and another added. And where
SQLite makes a table anew, its CHECK constraints must be named in ``table_args`` of
``batch_alter_table``, or they are lost (a test compares them).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AddColumnOp, MigrationScript, ModifyTableOps
from alembic.script import Script
from sqlalchemy.engine import Connection
from sqlalchemy.types import TypeDecorator

from ddsd.db.engine import Database
from ddsd.db.revision import VERSIONS, alembic_config, known, upgrade
from ddsd.tables import METADATA


class ColumnCannotBeFilled(Exception):
    """A table that may hold rows gets a column that may not be null and has no value for them."""


async def write_next(name: str, versions: Path = VERSIONS) -> Path | None:
    """Write a revision that turns the newest known schema into that of the tables.

    Returns:
        The new file; ``None`` when the tables say nothing new.

    Raises:
        ColumnCannotBeFilled: a new column of an old table needs a ``server_default``.
    """
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite:///{directory}/scratch.sqlite3")
        try:
            if known(versions):
                await upgrade(database, versions)
            async with database.reshaping() as connection:
                return await connection.run_sync(_write, name, versions)
        finally:
            await database.close()


def render_plainly(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Render our column types as what they are in the database: revisions import none of our code."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


def _write(connection: Connection, name: str, versions: Path) -> Path | None:
    config = alembic_config(versions)
    config.attributes.update(connection=connection, metadata=METADATA, render_item=render_plainly)
    script = command.revision(
        config,
        name,
        autogenerate=True,
        rev_id=f"{len(known(versions)) + 1:04d}",
        process_revision_directives=_check_and_drop_empty,
    )
    return Path(script.path) if isinstance(script, Script) else None


def _check_and_drop_empty(
    _context: object, _revision: object, scripts: list[MigrationScript]
) -> None:
    changes = scripts[0].upgrade_ops
    if changes is None or changes.is_empty():
        scripts.clear()
        return
    for table in changes.ops:
        for change in table.ops if isinstance(table, ModifyTableOps) else ():
            if isinstance(change, AddColumnOp):
                _require_fillable(change)


def _require_fillable(added: AddColumnOp) -> None:
    if not added.column.nullable and added.column.server_default is None:
        raise ColumnCannotBeFilled(
            f"{added.table_name}.{added.column.name} may not be null, and the rows that are there"
            " have no value for it: give the column a server_default, or let it be null"
        )


def _tidy(path: Path) -> None:
    for arguments in (["check", "--fix-only", "--quiet"], ["format", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *arguments, path], check=True)


def main() -> int:
    """Write the revision and print its path; 1 when there is nothing to write."""
    if len(sys.argv) != 2:
        print("usage: python -m ddsd.db.autogenerate NAME", file=sys.stderr)  # noqa: T201 - a command's output
        return 2
    try:
        path = asyncio.run(write_next(sys.argv[1]))
    except ColumnCannotBeFilled as wrong:
        print(wrong, file=sys.stderr)  # noqa: T201
        return 1
    if path is None:
        print("nothing to do: the newest revision says all that the tables say", file=sys.stderr)  # noqa: T201
        return 1
    _tidy(path)
    print(path)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
