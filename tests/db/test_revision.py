"""The migrations: they make what the models say, from any state, once, and lose nothing on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from ddsd.db import revision
from ddsd.db.autogenerate import ColumnCannotBeFilled, write_next
from ddsd.db.engine import Database, ForeignKeysBroken
from ddsd.errors import ConfigurationError
from ddsd.tables import METADATA

FIRST = """
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.create_table(
        "shelves", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(40))
    )
    op.create_table(
        "books",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "shelf_id", sa.Integer, sa.ForeignKey("shelves.id", ondelete="CASCADE"), nullable=False
        ),
    )
"""

WIDER = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    with op.batch_alter_table("shelves") as shelves:
        shelves.alter_column("name", type_=sa.String(80), existing_type=sa.String(40))
        shelves.add_column(sa.Column("floor", sa.Integer, server_default="3", nullable=False))
"""

FAILS_HALFWAY = """
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.execute("DELETE FROM books")
    op.drop_table("books")
    op.execute("SELECT nothing FROM nowhere")
"""

IS_KILLED_HALFWAY = """
import os, signal
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.execute("DELETE FROM books")
    op.drop_table("books")
    os.kill(os.getpid(), signal.SIGKILL)
"""

ORPHANS = """
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.execute("DELETE FROM shelves")
"""

UPGRADE = """
import asyncio, pathlib, sys
from ddsd.db.engine import Database
from ddsd.db.revision import upgrade
async def main():
    database = Database(sys.argv[1])
    await upgrade(database, pathlib.Path(sys.argv[2]))
    await database.close()
asyncio.run(main())
"""


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """A directory of revisions with the first in it."""
    directory = tmp_path / "versions"
    directory.mkdir()
    (directory / "0001_first.py").write_text(FIRST)
    return directory


@pytest.fixture
async def library(empty_database: Database, versions: Path) -> Database:
    """A database at the first revision, with a shelf and two books on it."""
    await revision.upgrade(empty_database, versions)
    async with empty_database.writing() as session:
        await session.execute(text("INSERT INTO shelves (id, name) VALUES (7, 'poetry')"))
        await session.execute(text("INSERT INTO books (id, shelf_id) VALUES (1, 7), (2, 7)"))
    return empty_database


async def count(database: Database, table: str) -> int:
    async with database.reading() as session:
        return int((await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


def described(connection: Connection) -> dict[str, dict[str, object]]:
    """Read all there is to know of the schema back from the database."""
    found = inspect(connection)

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return sorted((key, plain(one)) for key, one in value.items())
        return str(value)

    def ordered(rows: Sequence[object]) -> list[str]:
        return sorted(str(plain(row)) for row in rows)

    return {
        table: {
            "columns": ordered(found.get_columns(table)),
            "primary key": str(found.get_pk_constraint(table)),
            "foreign keys": ordered(found.get_foreign_keys(table)),
            "unique": ordered(found.get_unique_constraints(table)),
            "checks": ordered(found.get_check_constraints(table)),
            "indexes": ordered(found.get_indexes(table)),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


async def test_the_migrations_leave_nothing_for_autogenerate_to_do(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(
            compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
        )

    async with database.reading() as session:
        assert await (await session.connection()).run_sync(differences) == []


async def test_the_migrations_make_the_schema_that_the_models_describe(
    database: Database, empty_database: Database
) -> None:
    async with empty_database.reshaping() as connection:
        await connection.run_sync(METADATA.create_all)
        by_models = await connection.run_sync(described)
    async with database.reading() as session:
        by_migrations = await (await session.connection()).run_sync(described)
    assert by_migrations == by_models
    assert len(by_models) == len(METADATA.tables)


async def test_an_empty_database_is_refused_and_the_command_named(
    empty_database: Database,
) -> None:
    assert await revision.current(empty_database) is None
    with pytest.raises(ConfigurationError, match=r"empty.*ddsd migrate"):
        await revision.require_head(empty_database)


async def test_a_migrated_database_is_accepted(database: Database) -> None:
    await revision.require_head(database)
    assert await revision.current(database) == revision.head()


async def test_an_older_database_is_refused_and_the_command_named(
    library: Database, versions: Path
) -> None:
    (versions / "0002_wider.py").write_text(WIDER)
    with pytest.raises(ConfigurationError, match=r"at revision 0001.*needs 0002.*ddsd migrate"):
        await revision.require_head(library, versions)


async def test_a_newer_database_is_refused_and_not_touched(
    library: Database, versions: Path
) -> None:
    later = versions / "0002_wider.py"
    later.write_text(WIDER)
    await revision.upgrade(library, versions)
    later.unlink()
    with pytest.raises(ConfigurationError, match="older than the database"):
        await revision.require_head(library, versions)
    with pytest.raises(ConfigurationError, match="older than the database"):
        await revision.upgrade(library, versions)
    assert await revision.current(library) == "0002"


async def test_somebody_elses_database_is_refused_and_not_touched(
    empty_database: Database,
) -> None:
    async with empty_database.reshaping() as connection:
        await connection.execute(text("CREATE TABLE wiki (page TEXT)"))
    with pytest.raises(ConfigurationError, match="'wiki'"):
        await revision.upgrade(empty_database)
    async with empty_database.reading() as session:
        tables = await (await session.connection()).run_sync(
            lambda connection: inspect(connection).get_table_names()
        )
    assert tables == ["wiki"]


async def test_a_user_who_may_not_make_tables_is_told_what_to_do(postgres_url: str) -> None:
    guest = f"guest_{uuid.uuid4().hex}"
    owner, visitor = Database(postgres_url), Database(postgres_url.replace("ddsd@", f"{guest}@"))
    async with owner.writing() as session:
        await session.execute(text(f"CREATE ROLE {guest} LOGIN"))
    try:
        with pytest.raises(ConfigurationError, match="owner of the database"):
            await revision.upgrade(visitor)
    finally:
        await visitor.close()
        async with owner.writing() as session:
            await session.execute(text(f"DROP ROLE {guest}"))
        await owner.close()


async def test_upgrading_twice_changes_nothing(database: Database) -> None:
    await revision.upgrade(database)
    await revision.require_head(database)


async def test_rows_survive_a_table_that_is_made_anew(library: Database, versions: Path) -> None:
    (versions / "0002_wider.py").write_text(WIDER)
    await revision.upgrade(library, versions)
    async with library.reading() as session:
        shelves = (await session.execute(text("SELECT id, name, floor FROM shelves"))).all()
    assert shelves == [(7, "poetry", 3)]
    assert await count(library, "books") == 2


async def test_foreign_keys_are_enforced_again_after_an_upgrade(
    library: Database, versions: Path
) -> None:
    (versions / "0002_wider.py").write_text(WIDER)
    await revision.upgrade(library, versions)
    async with library.writing() as session:
        await session.execute(text("DELETE FROM shelves"))
    assert await count(library, "books") == 0


async def test_a_revision_that_fails_halfway_has_not_happened(
    library: Database, versions: Path
) -> None:
    bad = versions / "0002_bad.py"
    bad.write_text(FAILS_HALFWAY)
    with pytest.raises(
        ConfigurationError, match=r"step after 0001 failed and was undone: .*no(thing|where)"
    ):
        await revision.upgrade(library, versions)
    assert await revision.current(library) == "0001"
    assert await count(library, "books") == 2
    bad.write_text(WIDER)
    await revision.upgrade(library, versions)
    assert await revision.current(library) == "0002"


async def test_a_killed_upgrade_can_be_run_again(
    library: Database, versions: Path, empty_database_url: str
) -> None:
    bad = versions / "0002_bad.py"
    bad.write_text(IS_KILLED_HALFWAY)
    command = [sys.executable, "-c", UPGRADE, empty_database_url, str(versions)]
    killed = await asyncio.create_subprocess_exec(*command)
    assert await killed.wait() == -signal.SIGKILL
    assert await count(library, "books") == 2
    bad.write_text(WIDER)
    await revision.upgrade(library, versions)
    assert await revision.current(library) == "0002"


async def test_a_revision_that_orphans_rows_is_not_committed_on_sqlite(
    library: Database, versions: Path
) -> None:
    if not library.is_sqlite:
        pytest.skip("PostgreSQL follows its foreign keys in a migration")
    (versions / "0002_orphans.py").write_text(ORPHANS)
    with pytest.raises(ForeignKeysBroken, match=r"2 rows.*books"):
        await revision.upgrade(library, versions)
    assert await revision.current(library) == "0001"
    assert await count(library, "shelves") == 1


async def test_processes_that_migrate_at_once_all_succeed(
    empty_database: Database, empty_database_url: str, versions: Path
) -> None:
    (versions / "0002_wider.py").write_text(WIDER)
    command = [sys.executable, "-c", UPGRADE, empty_database_url, str(versions)]
    started = [await asyncio.create_subprocess_exec(*command) for _ in range(3)]
    assert [await one.wait() for one in started] == [0, 0, 0]
    assert await revision.current(empty_database) == "0002"


async def test_autogenerate_writes_the_first_revision_into_an_empty_directory(
    tmp_path: Path, empty_database: Database
) -> None:
    written = await write_next("all tables", tmp_path)
    assert written == tmp_path / "0001_all_tables.py"
    await revision.upgrade(empty_database, tmp_path)
    assert await revision.current(empty_database) == "0001"


async def test_autogenerate_refuses_a_column_that_old_rows_could_not_fill(tmp_path: Path) -> None:
    first = await write_next("all tables", tmp_path)
    assert first is not None
    lines = first.read_text().splitlines(keepends=True)
    without = [line for line in lines if "quota_bytes" not in line]
    assert len(without) == len(lines) - 1
    first.write_text("".join(without))
    with pytest.raises(ColumnCannotBeFilled, match=r"units\.quota_bytes.*server_default"):
        await write_next("quotas", tmp_path)
    assert list(tmp_path.glob("0002*")) == []


async def test_autogenerate_writes_nothing_when_nothing_changed() -> None:
    before = set(revision.VERSIONS.iterdir())
    assert await write_next("nothing") is None
    assert set(revision.VERSIONS.iterdir()) - before <= {revision.VERSIONS / "__pycache__"}


def test_the_tool_prints_the_path_and_refuses_when_there_is_nothing_to_do() -> None:
    command = [sys.executable, "-m", "ddsd.db.autogenerate", "nothing"]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": "."}
    )
    assert ran.returncode == 1
    assert "nothing to do" in ran.stderr


def test_revisions_import_nothing_of_the_application() -> None:
    for path in revision.VERSIONS.glob("*.py"):
        assert "ddsd" not in path.read_text(), path.name


def test_revisions_are_numbered_without_gaps() -> None:
    revisions = revision.known()
    assert revisions == [f"{number:04d}" for number in range(1, len(revisions) + 1)]
