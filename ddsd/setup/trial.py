"""The delivery that proves an installation: a test file to itself and back, over HTTP, through the real store.

It runs with the settings in effect, but for what must not be left behind: a database, accounts and letters of its own,
on a free port of this machine. Invariant: what it put into the store is removed, and the keys it made are revoked.
"""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console
from sqlalchemy import select

from ddsctl.delivery import DeliveryError
from ddsd import bootstrap, daemon, log
from ddsd.access import Role, System
from ddsd.clock import SystemClock
from ddsd.db import revision
from ddsd.demo import seed
from ddsd.demo.delivery import Credentials, DeliveryFacts, DemoFailed, deliver
from ddsd.demo.seed import Person
from ddsd.demo.story import Story
from ddsd.errors import DdsError
from ddsd.files.tables import StoreKey
from ddsd.listeners import DaemonFailed
from ddsd.mail import outbox
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.settings import LogLevel, Settings, StoreKind, read_secrets
from ddsd.storage.stores import StoreAccount, StoreAddress
from ddsd.storage.trust import trusting
from ddsd.units.tables import Unit
from ddsd.users import passwords
from ddsd.work import Services, reading, transaction

TEST_FILE_BYTES: Final = 1_000_000
_SCRATCH: Final = "setup-"
_UNIT: Final = "setup"
_SENDER: Final = Person("setup_sender", "Sender", Role.UNIT_PERSONNEL, _UNIT)
_READER: Final = Person("setup_reader", "Reader", Role.RESEARCHER, None)
_ADMINS: Final = tuple(
    Person(f"setup_admin_{one}", "Admin", Role.UNIT_ADMIN, _UNIT) for one in ("a", "b", "c")
)
_READY_S: Final = 30


class TrialFailed(Exception):
    """The delivery did not come back as it was sent; the message says at which step."""


def run(settings: Settings) -> DeliveryFacts:
    """Make the delivery; to be run as the daemon's user.

    Raises:
        TrialFailed: it failed.
        ConfigurationError: a secret cannot be read.
    """
    try:
        with _scratch(settings.instance.state_dir) as scratch:
            own = _own(settings, scratch)
            log.configure(own.log.level, own.log.format)
            return asyncio.run(_run(own, scratch))
    except (
        DemoFailed,
        DeliveryError,
        DaemonFailed,
        DdsError,
        httpx.HTTPError,
        OSError,
        TimeoutError,
    ) as wrong:
        raise TrialFailed(
            f"the test delivery failed: {str(wrong) or 'nothing answered in time'}"
        ) from wrong


@contextmanager
def _scratch(state_dir: Path) -> Iterator[Path]:
    """Make a directory for this trial; those that killed trials have left are removed. One trial at a time."""
    lock = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in state_dir.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=state_dir))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os.close(lock)


def _own(settings: Settings, scratch: Path) -> Settings:
    """Return the settings with another place for whatever would stay."""
    tree = settings.model_dump()
    port = _free_port()
    tree["instance"] |= {"state_dir": scratch, "public_url": f"http://127.0.0.1:{port}"}
    tree["listen"] |= {"address": "127.0.0.1", "port": port, "admin_socket": scratch / "s"}
    tree["listen"] |= {"tls_certificate_file": None, "tls_key_file": None}
    tree["database"] |= {"url": "", "password_file": None}
    tree["mail"] |= {"kind": "outbox"}
    tree["log"] |= {"level": LogLevel.ERROR}
    if settings.store.kind is StoreKind.EMBEDDED:
        tree["store"] |= {"directory": None}
        if not _is_free(settings.store.port):  # the daemon runs, and has it
            tree["store"] |= {"port": 0, "public_endpoint": ""}
    return Settings.model_validate(tree)


async def _run(settings: Settings, scratch: Path) -> DeliveryFacts:
    await _reach_as_users_do(settings)
    services = bootstrap.build(settings)
    await revision.upgrade(services.database)
    password = SecretText(secrets.token_urlsafe(24))
    await _make_people(services, password)
    source = scratch / "source"
    source.mkdir()
    (source / "test file.bin").write_bytes(os.urandom(TEST_FILE_BYTES))
    async with _serving(services):
        try:
            return await deliver(
                settings.instance.public_url,
                unit_user=Credentials(_SENDER.username, _SENDER.email, password),
                researcher=Credentials(_READER.username, _READER.email, password),
                read_code=lambda username: _newest_code(services, username),
                source=source,
                destination=scratch / "received",
                report=Story(Console(file=io.StringIO())),
                trust=trusting(settings.store.ca_file),
            )
        finally:
            await _leave_nothing(services)


async def _reach_as_users_do(settings: Settings) -> None:
    """Ask the store something at the address that users' machines are given.

    Raises:
        TrialFailed: it is not there, or what is there changes what was signed.
    """
    section = settings.store
    if section.kind is StoreKind.EMBEDDED or not section.public_endpoint:
        return
    address = StoreAddress(section.public_endpoint, section.public_endpoint, section.region, "")
    secret = read_secrets(settings).store_secret_key or SecretText("")
    account = StoreAccount(address, section.access_key, secret)
    store = bootstrap.opened(SystemClock(), account, ca_file=section.ca_file)
    await store.start()
    try:
        await store.probe()
    except DdsError as wrong:
        told = wrong.message.replace("store.endpoint", "store.public_endpoint")
        raise TrialFailed(
            f"the address that users' machines are given (store.public_endpoint) does not work from here: {told}"
        ) from wrong
    finally:
        await store.stop()


async def _make_people(services: Services, password: SecretText) -> None:
    derived = await passwords.derive_new(services, password)
    async with transaction(services, System()) as work:
        unit = Unit(
            public_id=_UNIT,
            name=_UNIT,
            external_display_name=_UNIT,
            contact_email=_SENDER.email,
            internal_ref=_UNIT,
            created_at=work.now,
        )
        work.session.add(unit)
        await work.session.flush()
        for person in (*_ADMINS, _SENDER, _READER):
            await seed.add_person(work, person, unit if person.unit else None, derived)


@asynccontextmanager
async def _serving(services: Services) -> AsyncIterator[None]:
    """Run the daemon beside the block. It stops as it always does, by a signal to this process."""
    serving = asyncio.create_task(daemon.serve(services))
    try:
        await _until_served(services.settings.instance.public_url, serving)
        yield
    finally:
        if not serving.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await serving


async def _until_served(url: str, serving: asyncio.Task[None]) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http, asyncio.timeout(_READY_S):
        while not serving.done():
            with suppress(httpx.TransportError):
                if (await http.get(f"{url}/status")).is_success:
                    return
            await asyncio.sleep(0.05)


async def _newest_code(services: Services, username: str) -> str:
    """Read the one-time code from the letter that was just written."""
    address = next(one.email for one in (_SENDER, _READER) if one.username == username)
    async with reading(services, System()) as work:
        letters = await outbox.listing(work, 20, address)
        newest = next(letter for letter in letters if letter.kind == "one_time_code")
        text = (await outbox.show(work, newest.id)).text
    return next(word for word in text.split() if len(word) == 8 and word.isdigit())


async def _leave_nothing(services: Services) -> None:
    async with reading(services, System()) as work:
        buckets = (await work.session.scalars(select(Project.columns().bucket))).all()
        keys = (await work.session.scalars(select(StoreKey.columns().access_key))).all()
    for bucket in buckets:
        if await services.store.bucket_exists(bucket):
            held = [one.key async for one in services.store.list_objects(bucket)]
            await services.store.remove_objects(bucket, held)
            await services.store.remove_bucket(bucket)
    for key in keys:
        await services.store.revoke_key(key)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0 if port else True
