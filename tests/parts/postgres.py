"""A real PostgreSQL cluster for the tests, run from the binaries that are installed.

One cluster per checkout, on a Unix socket in a private directory, shared by all pytest processes
that want it at the same time: each holds a shared kernel lock while it does, and who finds itself
alone stops the server. A killed pytest loses its lock, so the next run knows what it left behind.
Invariant: a server is only stopped after its process was seen to serve this very data directory.

`KEEP_DB=1` keeps the cluster's files in `.pg/` of the checkout: the next run need not make them.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import quote, urlsplit

import psutil
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.parts import absent
from tests.parts.ports import exclusive

PART = "PostgreSQL"
CHECKOUT = Path(__file__).resolve().parents[2]
KEEP_DB = os.environ.get("KEEP_DB") == "1"
OWNER = "ddsd"
"""The cluster's superuser, trusted without a password by whoever can reach the socket."""

MAINTENANCE_DATABASE = "postgres"
SERVER_ACCOUNTS = ("postgres", "nobody")
"""Whom the server runs as when the tests run as root, which PostgreSQL refuses."""

LONGEST_BASE_BYTES = 60
"""A socket's path has room for 107 bytes, of which ours needs under 45."""

COMPLETE = "complete"
"""Marks files whose making was not cut short."""

CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = 64MB
fsync = off
synchronous_commit = off
full_page_writes = off
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster: makes databases and drops them."""

    sockets: Path
    template_lock: Path

    def url(self, database: str) -> str:
        """Return a URL for ``database`` that asyncpg takes, and SQLAlchemy with its scheme."""
        return f"postgresql://{OWNER}@/{database}?host={quote(str(self.sockets), safe='/')}"

    def create_database(self, *, template: str | None = None) -> str:
        """Create a database under a name of its own and return its URL.

        ``template`` is the name of the database to copy; nobody may be connected to that one.
        """
        name = f"test_{uuid.uuid4().hex}"
        copied = f' TEMPLATE "{template}"' if template else ""
        self._query(f'CREATE DATABASE "{name}"{copied}')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop the database that ``url`` names, cutting connections to it."""
        self._query(f'DROP DATABASE IF EXISTS "{_database_in(url)}" WITH (FORCE)')

    def template(self, key: str, fill: Callable[[str], None]) -> str:
        """Return the name of the template database for ``key``, filled once for all processes.

        ``fill`` gets the new database's URL and closes its connections before it returns.
        ``key`` stands for the content (a digest of the migrations, say): `KEEP_DB` keeps templates.
        """
        name = f"template_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        with exclusive(self.template_lock):
            if not self._query(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
                unfinished = self.create_database()
                fill(unfinished)
                self._query(f'ALTER DATABASE "{_database_in(unfinished)}" RENAME TO "{name}"')
        return name

    def _query(self, statement: str) -> list[str]:
        """Run one statement outside any transaction and return its first column."""

        async def rows() -> list[str]:
            engine = create_async_engine(
                make_url(self.url(MAINTENANCE_DATABASE)).set(drivername="postgresql+asyncpg"),
                isolation_level="AUTOCOMMIT",
            )
            try:
                async with engine.connect() as connection:
                    result = await connection.execute(text(statement))
                    return [str(row[0]) for row in result] if result.returns_rows else []
            finally:
                await engine.dispose()

        # A thread of its own: the caller may be a test on a running loop.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(rows())).result()


@dataclass(frozen=True)
class Site:
    """Where one cluster lives: the binaries, the directories, and the account of its server.

    ``home`` belongs to the user of the tests and holds the locks; ``data`` and ``sockets`` belong
    to ``account``, which is None when the tests need no other user.
    """

    binaries: Path
    home: Path
    data: Path
    account: str | None

    @property
    def sockets(self) -> Path:
        """The directory of the server's socket; its length is bounded, unlike that of ``data``."""
        return self.home / "s"

    def start(self) -> None:
        """Start the server, making the cluster first unless files of the same version are there."""
        self.stop()
        self._own(self.sockets)
        if not self._has_usable_files():
            shutil.rmtree(self.data, ignore_errors=True)
            self._make_files()
        self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self.data / 'server.log'}")

    def stop(self) -> None:
        """Stop the server that runs on these files, if one does, and return when it is gone."""
        if self._is_served():
            self._run("pg_ctl", "stop", "--wait", "--silent", "--mode=fast")

    def remove(self) -> None:
        """Remove the stopped cluster's files."""
        shutil.rmtree(self.data, ignore_errors=True)

    def _is_served(self) -> bool:
        """Follow the pid file to its process, which may be another one by now."""
        try:
            number = int((self.data / "postmaster.pid").read_text().partition("\n")[0])
            command = psutil.Process(number).cmdline()
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
            return False
        return str(self.data) in command and "postgres" in command[0]

    def _has_usable_files(self) -> bool:
        made_by = self.data / "PG_VERSION"
        return (
            self.data / COMPLETE
        ).exists() and made_by.read_text().strip() == self._major_version()

    def _major_version(self) -> str:
        answer = subprocess.run(
            [self.binaries / "postgres", "--version"], check=True, capture_output=True, text=True
        )
        return answer.stdout.split()[2].partition(".")[0]

    def _make_files(self) -> None:
        self._own(self.data)
        self._run(
            "initdb",
            "--auth=trust",
            f"--username={OWNER}",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        )
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION.format(sockets=self.sockets))
        (self.data / COMPLETE).touch()

    def _own(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.account is not None:
            shutil.chown(directory, self.account, pwd.getpwnam(self.account).pw_gid)

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs on the data directory, as the account.

        Its output goes to a file: the server inherits it, and a pipe would never be at its end.
        """
        account = self.account and pwd.getpwnam(self.account)
        with tempfile.TemporaryFile() as output:
            finished = subprocess.run(
                [self.binaries / program, *arguments, f"--pgdata={self.data}"],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                start_new_session=True,
            )
            output.seek(0)
            said = output.read().decode(errors="replace")
        if finished.returncode:
            log = self.data / "server.log"
            logged = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise RuntimeError(f"{program} failed with {finished.returncode}:\n{said}{logged}")


def home_of(checkout: Path, *, keep: bool) -> Path:
    """Return the directory of the locks and the socket: a short path, the same in every process.

    It stays when the cluster is gone: who waits for a lock in it must not wait for a removed file.
    """
    digest = hashlib.sha256(f"{checkout} {keep}".encode()).hexdigest()[:8]
    return _base(by_others=os.getuid() == 0) / f"ddsd-pg-{os.getuid()}-{digest}"


@contextmanager
def running_cluster(*, checkout: Path = CHECKOUT, keep: bool = KEEP_DB) -> Iterator[Cluster]:
    """Share the cluster of ``checkout`` with every pytest process that is in here at the same time.

    Raises:
        pytest.skip.Exception: there is no PostgreSQL, or no account to run it; see `absent`.
        RuntimeError: the server does not start; the message has its log.
    """
    site = _site(checkout, keep=keep)
    with (site.home / "users").open("w") as users:
        with exclusive(site.home / "change"):
            if _is_alone(users):
                site.start()
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield Cluster(sockets=site.sockets, template_lock=site.home / "template")
        finally:
            with exclusive(site.home / "change"):
                if _is_alone(users):
                    site.stop()
                    if not keep:
                        site.remove()
                fcntl.flock(users, fcntl.LOCK_UN)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """The running cluster."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> Iterator[str]:
    """The URL of an empty database that is this test's alone."""
    url = postgres_cluster.create_database()
    yield url
    postgres_cluster.drop_database(url)


def _database_in(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _is_alone(users: TextIO) -> bool:
    """Say whether no other process holds the lock; if so, ``users`` now holds it exclusively."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _site(checkout: Path, *, keep: bool) -> Site:
    binaries = _binaries()
    account = _server_account() if os.getuid() == 0 else None
    home = home_of(checkout, keep=keep)
    _make_own_directory(home)
    if not keep:
        return Site(binaries, home, home / "data", account)
    if not _is_reachable(checkout, by_others=account is not None):
        absent(PART, f"KEEP_DB=1, but the server's user {account} may not enter {checkout}")
    _make_own_directory(checkout / ".pg")
    return Site(binaries, home, checkout / ".pg" / "data", account)


def _make_own_directory(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid != os.getuid():
        raise RuntimeError(f"{directory} belongs to somebody else")
    # Others may pass through to what is theirs in it: the server may run as another user.
    directory.chmod(0o711)


def require_postgres() -> None:
    """Skip the test that asks, unless a server can be run here; see `absent`."""
    _binaries()
    _server_account()


def _binaries() -> Path:
    """Find the newest directory with `initdb` in it: PATH first, then Debian's place."""
    on_path = shutil.which("initdb")
    if on_path:
        # Resolved: a link on PATH may stand alone, without pg_ctl beside it.
        return Path(on_path).resolve().parent
    installed = [found.parent for found in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not installed:
        absent(
            PART,
            "no initdb on PATH or in /usr/lib/postgresql/*/bin; Debian: apt-get install postgresql",
        )
    return max(installed, key=lambda found: float(found.parent.name))


def _server_account() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    found = next((account for account in SERVER_ACCOUNTS if account in known), None)
    return found or absent(PART, f"it refuses root, and there is no user {SERVER_ACCOUNTS}")


def _base(*, by_others: bool) -> Path:
    """Choose the directory for temporary files, or /tmp when the server could not use that."""
    chosen = Path(tempfile.gettempdir()).resolve()
    fits = len(os.fsencode(chosen)) <= LONGEST_BASE_BYTES
    return chosen if fits and _is_reachable(chosen, by_others=by_others) else Path("/tmp")


def _is_reachable(directory: Path, *, by_others: bool) -> bool:
    if not by_others:
        return True
    return all(step.stat().st_mode & 0o001 for step in (directory, *directory.parents))
