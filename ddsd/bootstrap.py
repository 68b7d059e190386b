"""The composition: the only place that names concrete adapters.

Invariant: what comes out of :func:`build` is complete, and nothing has been started yet.
"""

from __future__ import annotations

import grp
import os
import pwd
import ssl
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from ddsd import tls
from ddsd.clock import Clock, SystemClock
from ddsd.db.engine import Database
from ddsd.db.remedies import remedy
from ddsd.errors import ConfigurationError, DatabaseUnavailable
from ddsd.files import grants, leaving, moving, reconciliation, removal, rotation, store_check
from ddsd.jobs import housekeeping
from ddsd.jobs.runner import Handler, JobRunner, Pace
from ddsd.jobs.schedule import Cron, Schedule, ScheduledJob
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import KdfCost
from ddsd.keys.instance import InstanceKey
from ddsd.lifecycle import deadlines, endings
from ddsd.lifecycle import housekeeping as forgetting
from ddsd.mail import handlers as mail_jobs
from ddsd.mail.kept import KeptTransport
from ddsd.mail.port import MailTransport
from ddsd.mail.smtp import SmtpTransport
from ddsd.notices import mailing, reminders
from ddsd.secret import SecretText
from ddsd.settings import (
    MailKind,
    Secrets,
    Security,
    Settings,
    Store,
    StoreKind,
    read_secret,
    read_secrets,
)
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.iam import IamStore
from ddsd.storage.minio import S3Store, make_user
from ddsd.storage.port import May, ObjectStore, ScopedKey
from ddsd.storage.stores import StoreAccount, Stores
from ddsd.usage import handlers as usage_jobs
from ddsd.users import password_reset
from ddsd.work import Services

DEMO_KEY_FILE: Final = "instance.key"
_NO_DIRECTORY: Final = "is there and no directory; move it away, or name another place"
HANDLERS: Final[Mapping[str, Handler]] = {
    **mail_jobs.HANDLERS,
    housekeeping.FORGET_OLD_JOBS: housekeeping.forget_old_jobs,
    forgetting.FORGET_OLD_LOGINS: forgetting.forget_old_logins,
    endings.END_PROJECT: endings.end_project,
    deadlines.FOLLOW_DEADLINES: deadlines.follow_deadlines,
    **grants.HANDLERS,
    **password_reset.HANDLERS,
    **mailing.HANDLERS,
    **reminders.HANDLERS,
    **removal.HANDLERS,
    **rotation.HANDLERS,
    **moving.HANDLERS,
    **leaving.HANDLERS,
    **reconciliation.HANDLERS,
    **store_check.HANDLERS,
    **usage_jobs.HANDLERS,
}
_SCHEDULED: Final = (
    ScheduledJob(deadlines.FOLLOW_DEADLINES, Cron("1 0 * * *")),
    ScheduledJob(mail_jobs.FORGET_OLD_MAILS, Cron("20 2 * * *")),
    # Not at a start: by the jobs of former nights it is seen whether the clock has leapt (lifecycle.deadlines).
    ScheduledJob(housekeeping.FORGET_OLD_JOBS, Cron("40 2 * * *"), at_start=False),
    ScheduledJob(forgetting.FORGET_OLD_LOGINS, Cron("50 2 * * *")),
    ScheduledJob(reconciliation.ABORT_STALE_UPLOADS, Cron("10 3 * * *")),
    # What a missed night would have found, the next one finds: no need to list a whole store at every start.
    ScheduledJob(reconciliation.COMPARE_STORE, Cron("30 3 * * *"), at_start=False),
    *usage_jobs.SCHEDULED,
)


class JobBell:
    """Wakes the job runner, once there is one. Until then a ring is lost: the runner looks by itself."""

    def __init__(self) -> None:
        self._answer: Callable[[], None] | None = None

    def __call__(self) -> None:
        """Ring."""
        if self._answer is not None:
            self._answer()

    def connect(self, answer: Callable[[], None]) -> None:
        """Let ``answer`` be called at every ring from now on."""
        self._answer = answer


def build(settings: Settings, **replacements: Any) -> Services:
    """Put together what the settings ask for.

    Args:
        settings: what is configured.
        replacements: fields of :class:`~ddsd.work.Services` to use as they are: the seam of tests.

    Raises:
        ConfigurationError: a secret is missing, cannot be read or has the wrong form, or an address
            cannot be used; all secrets' problems are named at once.
    """
    secrets = read_secrets(settings)
    clock: Clock = replacements.pop("clock", None) or SystemClock()
    parts: dict[str, Callable[[], object]] = {
        "database": lambda: database(settings, secrets.database_password),
        "store": lambda: _store(settings, secrets, clock),
        "stores": lambda: _stores(settings, clock),
        "post": lambda: _post(settings, secrets),
        "instance_key": lambda: _instance_key(settings, secrets.instance_key),
        "deriver": lambda: _deriver(settings.security),
        "wake_jobs": JobBell,
    }
    made: dict[str, Any] = {
        name: replacements.pop(name) if name in replacements else make()
        for name, make in parts.items()
    }
    return Services(settings=settings, clock=clock, **made, **replacements)


def check(settings: Settings) -> list[str]:
    """Look at what the daemon needs of this machine, without making anything; return what will be wrong soon.

    Raises:
        ConfigurationError: a secret is missing, cannot be read, or has the wrong form; the state
            directory cannot be used; there is no such admin group. All problems are named at once.
    """
    problems = []
    for look in (
        _check_secrets,
        _check_certificate,
        _check_state_directory,
        _check_admin_group,
        _check_ca_file,
    ):
        try:
            look(settings)
        except ConfigurationError as wrong:
            problems.append(wrong.message)
    if problems:
        raise ConfigurationError("\n".join(problems))
    warning = tls.check(settings.listen, SystemClock().now())
    return [f"listen.tls_certificate_file: {warning}"] if warning else []


def admin_group_id(name: str) -> int | None:
    """Return the number of ``listen.admin_group``; ``None`` when there is none.

    Raises:
        ConfigurationError: this machine has no such group.
    """
    try:
        return grp.getgrnam(name).gr_gid if name else None
    except KeyError:
        raise ConfigurationError(
            f"listen.admin_group: there is no group {name}; run: groupadd --system {name}"
        ) from None


def _check_secrets(settings: Settings) -> None:
    text = read_secrets(settings).instance_key
    if text is not None:
        _parsed(text)


def _check_certificate(settings: Settings) -> None:
    tls.check(settings.listen, SystemClock().now())


def _check_state_directory(settings: Settings) -> None:
    """Write where the directory is, or would be made, into a file without a name."""
    directory = settings.instance.state_dir
    there = next(one for one in (directory, *directory.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise ConfigurationError(f"instance.state_dir: {there} {_NO_DIRECTORY}")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as wrong:
        raise ConfigurationError(
            f"instance.state_dir: {there} may not be written to by {user_name()} ({wrong.strerror});"
            f" give it to that user, as root: chown -R {user_name()} {there}"
        ) from wrong


def user_name() -> str:
    """Return who this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container may run as a number
        return str(os.geteuid())


def _check_admin_group(settings: Settings) -> None:
    admin_group_id(settings.listen.admin_group)


def _check_ca_file(settings: Settings) -> None:
    path = settings.store.ca_file
    if path is None:
        return
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError as wrong:
        raise ConfigurationError(
            f"store.ca_file: {path} holds no certificate in PEM; give the CA's own"
        ) from wrong
    except OSError as wrong:
        raise ConfigurationError(f"store.ca_file: {path}: {wrong.strerror}") from wrong


def database(settings: Settings, password: SecretText | None = None) -> Database:
    """Make the database alone, for what needs nothing else.

    Args:
        settings: what is configured.
        password: what ``database.password_file`` holds; ``None``: it is read.

    Raises:
        ConfigurationError: the address or the password's file cannot be used.
    """
    section = settings.database
    password = password or read_secret("database.password_file", section.password_file)
    try:
        return Database(settings.database_url, password, section.pool_size)
    except OSError as wrong:
        where = "database.url" if section.url else "instance.state_dir"
        if isinstance(wrong, FileExistsError | NotADirectoryError):
            raise ConfigurationError(f"{where}: {wrong.filename} {_NO_DIRECTORY}") from wrong
        raise ConfigurationError(
            f"{where}: the directory {wrong.filename} cannot be made: {wrong.strerror}"
        ) from wrong


def why_not_opened(settings: Settings, wrong: DatabaseUnavailable) -> str:
    """Say to an operator why the database cannot be used, and what to do."""
    why = str(wrong.facts.get("why", wrong.message))
    return f"the database {settings.database_url} cannot be used: {why}. {remedy(why)}"


def job_runner(services: Services) -> JobRunner:
    """Make the runner of all jobs, and let ``services.wake_jobs`` wake it.

    To be called on the daemon's event loop.
    """
    pace = Pace(
        stop_within_s=services.settings.listen.drain_s,
        attempts_of={store_check.CHECK_STORE: 3},  # somebody waits for it
    )
    runner = JobRunner(services, HANDLERS, pace=pace)
    if isinstance(services.wake_jobs, JobBell):
        services.wake_jobs.connect(runner.wake)
    return runner


def scheduled(settings: Settings) -> tuple[ScheduledJob, ...]:
    """Return all jobs that come by themselves."""
    return (*_SCHEDULED, reminders.scheduled(settings))


def schedule(services: Services) -> Schedule:
    """Make the schedule of all jobs that come by themselves."""
    return Schedule(services, scheduled(services.settings))


def new_instance_key_text() -> str:
    """Return a new instance key as the line that a key file holds."""
    return InstanceKey.generate().to_text().text() + "\n"


def new_instance_key(path: Path) -> None:
    """Make an instance key and write it to ``path``, mode 0600, durably.

    Raises:
        ConfigurationError: the file exists already, or cannot be written.
    """
    text = new_instance_key_text()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as wrong:
        raise ConfigurationError(
            f"{path} exists already and is left as it is: what it seals is lost without it"
        ) from wrong
    except OSError as wrong:
        raise ConfigurationError(f"{path} cannot be written: {wrong.strerror}") from wrong
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _store(settings: Settings, secrets: Secrets, clock: Clock) -> ObjectStore:
    section = settings.store
    _check_ca_file(settings)
    if section.kind is StoreKind.EMBEDDED:
        return EmbeddedStore(
            directory=settings.store_directory,
            address=section.address,
            port=section.port,
            public_endpoint=section.public_endpoint or None,
            region=section.region,
            clock=clock,
        )
    if section.iam_endpoint:
        return IamStore(
            iam_endpoint=section.iam_endpoint,
            endpoint=section.endpoint,
            access_key=section.access_key,
            secret_key=secrets.store_secret_key or SecretText(""),
            public_endpoint=section.public_endpoint or None,
            region=section.region,
            ca_file=section.ca_file,
            clock=clock,
        )
    return S3Store(
        endpoint=section.endpoint,
        access_key=section.access_key,
        secret_key=secrets.store_secret_key or SecretText(""),
        public_endpoint=section.public_endpoint or None,
        region=section.region,
        ca_file=section.ca_file,
        allow_wide_upload_key=section.allow_wide_upload_keys,
        read_only_key=_read_only_key(section, secrets),
        clock=clock,
    )


def _stores(settings: Settings, clock: Clock) -> Stores:
    ca_file = settings.store.ca_file
    return Stores(partial(opened, clock, ca_file=ca_file), partial(make_user, ca_file=ca_file))


def opened(clock: Clock, account: StoreAccount, *, ca_file: Path | None = None) -> ObjectStore:
    """Return the store of a unit's account, not yet started."""
    address = account.address
    if address.iam_endpoint:
        return IamStore(
            iam_endpoint=address.iam_endpoint,
            endpoint=address.endpoint,
            access_key=account.access_key,
            secret_key=account.secret_key,
            public_endpoint=address.public_endpoint,
            region=address.region,
            buckets=account.buckets,
            ca_file=ca_file,
            clock=clock,
        )
    return S3Store(
        endpoint=address.endpoint,
        access_key=account.access_key,
        secret_key=account.secret_key,
        public_endpoint=address.public_endpoint,
        region=address.region,
        buckets=account.buckets,
        ca_file=ca_file,
        allow_wide_upload_key=account.wide_upload_keys,
        read_only_key=account.read_only,
        clock=clock,
    )


def _read_only_key(section: Store, secrets: Secrets) -> ScopedKey | None:
    secret = secrets.store_read_only_secret_key
    if not section.read_only_access_key or secret is None:
        return None
    return ScopedKey(section.read_only_access_key, secret, May.DOWNLOAD)


def _post(settings: Settings, secrets: Secrets) -> MailTransport:
    section = settings.mail
    if section.kind is MailKind.OUTBOX:
        return KeptTransport()
    return SmtpTransport(
        host=section.host,
        port=section.port,
        security=section.security,
        username=section.username,
        password=secrets.mail_password,
        sender=section.sender,
        timeout_s=section.timeout_s,
    )


def _instance_key(settings: Settings, text: SecretText | None) -> InstanceKey:
    return _parsed(text or _demo_key(settings.instance.state_dir))


def _parsed(text: SecretText) -> InstanceKey:
    try:
        return InstanceKey.from_text(text)
    except ConfigurationError as wrong:
        raise ConfigurationError(
            f"instance.key_file: {wrong.message}. Put it back from your copy: what is sealed in the database opens with"
            " no other key. Only a new installation gets a new one: `ddsd new-instance-key FILE`"
        ) from wrong


def _demo_key(state_dir: Path) -> SecretText:
    """Return the key a demo made for itself; it must outlive the process, as what it seals does."""
    path = state_dir / DEMO_KEY_FILE
    if not path.exists():
        state_dir.mkdir(parents=True, exist_ok=True)
        new_instance_key(path)
    found = read_secret("instance.key_file", path)
    if found is None:
        raise ConfigurationError(f"instance.key_file: {path} is gone again")
    return found


def _deriver(security: Security) -> Deriver:
    cost = KdfCost(
        memory_kib=security.argon2_memory_kib,
        iterations=security.argon2_iterations,
        lanes=security.argon2_lanes,
    )
    return Deriver(cost)
