"""Which revision the schema is at, and the way to the newest.

Every revision is one transaction that first waits for its turn, then looks where the schema is, then
takes one step. So any number of daemons may migrate at once, and one that is killed leaves a revision
done or not begun. There is no way back but a backup.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from ddsd.db.engine import Database, in_the_drivers_words
from ddsd.errors import ConfigurationError

MIGRATIONS: Final = Path(__file__).parent / "migrations"
VERSIONS: Final = MIGRATIONS / "versions"


def alembic_config(versions: Path = VERSIONS) -> Config:
    """Return alembic's configuration for the revisions in ``versions``; there is no alembic.ini."""
    config = Config()
    for key, value in {
        "script_location": MIGRATIONS,
        "version_locations": versions,
        "path_separator": "newline",
        "file_template": "%(rev)s_%(slug)s",
    }.items():
        config.set_main_option(key, str(value).replace("%", "%%"))
    return config


def known(versions: Path = VERSIONS) -> list[str]:
    """Return every revision this package knows, oldest first."""
    scripts = ScriptDirectory.from_config(alembic_config(versions))
    return [script.revision for script in scripts.walk_revisions()][::-1]


def head(versions: Path = VERSIONS) -> str:
    """Return the revision this package needs."""
    return known(versions)[-1]


async def current(database: Database) -> str | None:
    """Return the revision the schema is at; ``None`` when the database was never migrated.

    Raises:
        DatabaseUnavailable: the database is away.
    """
    async with database.reading() as session:
        connection = await session.connection()
        return await connection.run_sync(_current)


async def require_head(database: Database, versions: Path = VERSIONS) -> None:
    """Refuse a database whose schema is not the one this package needs.

    Raises:
        ConfigurationError: it is empty, older, or newer; the message says what to do.
        DatabaseUnavailable: the database is away.
    """
    revisions = known(versions)
    at = await current(database)
    if at is None:
        raise ConfigurationError(
            "The database is empty. For a new installation, run: ddsd migrate."
            " If it should hold something, look at database.url, and whether the disk of instance.state_dir is mounted"
        )
    _refuse_newer(at, revisions)
    if at != revisions[-1]:
        raise ConfigurationError(
            f"The database is at revision {at}, this ddsd needs {revisions[-1]}."
            " Make a backup, then run: ddsd migrate"
        )


async def upgrade(database: Database, versions: Path = VERSIONS) -> None:
    """Bring the schema to the newest revision, one transaction per revision; no row is lost.

    Waits while another process does the same. After a failure or a kill, call it again.

    Raises:
        ConfigurationError: the database is newer than this package, holds foreign tables, its
            user may not make tables, or a step fails, which is then undone.
        DatabaseUnavailable: the database is away, full, or locked by another process.
    """
    revisions = known(versions)
    done = False
    while not done:
        with _explaining_refusal(await current(database)):
            async with database.reshaping() as connection:
                done = await connection.run_sync(_take_one_step, revisions, versions)


@contextmanager
def _explaining_refusal(at: str | None) -> Iterator[None]:
    """Say what to do when PostgreSQL (SQLSTATE 42501) does not let the user make tables, or a step fails."""
    try:
        yield
    except DBAPIError as wrong:
        if getattr(wrong.orig, "sqlstate", None) != "42501":
            raise ConfigurationError(
                f"The step after {at or 'the empty database'} failed and was undone:"
                f" {in_the_drivers_words(wrong)}. Install the ddsd of before, and report this."
            ) from wrong
        raise ConfigurationError(
            "The database's user may not make tables. Make it the owner of the database:"
            " ALTER DATABASE … OWNER TO …"
        ) from wrong


def _take_one_step(connection: Connection, revisions: list[str], versions: Path) -> bool:
    """Apply the next revision, if there is one; say whether the schema is now the newest."""
    at = _current(connection)
    if at is None:
        _refuse_foreign_tables(connection)
    else:
        _refuse_newer(at, revisions)
    missing = revisions if at is None else revisions[revisions.index(at) + 1 :]
    if missing:
        config = alembic_config(versions)
        config.attributes["connection"] = connection
        command.upgrade(config, missing[0])
    return len(missing) <= 1


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(at: str, revisions: list[str]) -> None:
    if at not in revisions:
        raise ConfigurationError(
            f"This ddsd is older than the database: it knows revisions up to {revisions[-1]}, the"
            f" database is at {at}. Install the ddsd that migrated it, or restore a backup."
        )


def _refuse_foreign_tables(connection: Connection) -> None:
    tables = set(inspect(connection).get_table_names()) - {"alembic_version"}
    if tables:
        raise ConfigurationError(
            f"The database holds tables that ddsd did not make, such as '{min(tables)}'."
            " Give ddsd a database of its own in database.url."
        )
