"""The configuration: one frozen, typed object read from TOML and the environment.

Order: the defaults below, then the file, then ``DDSD_SECTION__KEY`` variables. A key nobody knows is refused by
name. Secrets are never in the file: a ``*_file`` key names where each one is, and a systemd credential of the name
given in :data:`CREDENTIALS` is used when the key is empty.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ddsd.errors import ConfigurationError
from ddsd.secret import SecretText

DEFAULT_PATH: Final = Path("/etc/ddsd/ddsd.toml")
ENVIRONMENT_PREFIX: Final = "DDSD_"
CREDENTIALS: Final = {
    "instance.key_file": "instance-key",
    "database.password_file": "database-password",
    "store.secret_key_file": "store-secret-key",
    "mail.password_file": "mail-password",
}


class StoreKind(StrEnum):
    """Where the objects are."""

    EMBEDDED = "embedded"
    S3 = "s3"


class MailKind(StrEnum):
    """What happens to mail: sent, or only kept for ``ddsctl mail show``."""

    SMTP = "smtp"
    OUTBOX = "outbox"


class MailSecurity(StrEnum):
    """How the connection to the mail server is protected."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    CONSOLE = "console"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Port = Annotated[int, Field(ge=0, le=65535)]


class Instance(_Section):
    """Who runs this service, and where it keeps its things."""

    facility: str = "Data Delivery System"
    contact: str = "root@localhost"
    public_url: str = "http://127.0.0.1:5000"
    state_dir: Path = Path("/var/lib/ddsd")
    key_file: Path | None = None
    demo: bool = False


class Listen(_Section):
    """The two planes: TCP for everybody, a Unix socket for the operator."""

    address: str = "127.0.0.1"
    port: Port = 5000
    admin_socket: Path = Path("/run/ddsd/admin.sock")
    admin_group: str = ""
    max_body_mib: Annotated[int, Field(ge=1, le=1024)] = 64
    trusted_proxies: tuple[str, ...] = ()
    drain_s: Annotated[int, Field(ge=1, le=600)] = 30


class DatabaseSection(_Section):
    """``sqlite:///path`` or ``postgresql://user@host/name``; empty: SQLite in the state directory."""

    url: str = ""
    password_file: Path | None = None
    pool_size: Annotated[int, Field(ge=1, le=100)] = 10


class Store(_Section):
    """The object store."""

    kind: StoreKind = StoreKind.EMBEDDED
    endpoint: str = ""
    public_endpoint: str = ""
    region: str = "us-east-1"
    access_key: str = ""
    secret_key_file: Path | None = None
    directory: Path | None = None
    port: Port = 0
    allow_wide_upload_keys: bool = False
    upload_key_hours: Annotated[int, Field(ge=1, le=720)] = 72
    download_url_hours: Annotated[int, Field(ge=1, le=168)] = 168


class MailSection(_Section):
    """How mail leaves."""

    kind: MailKind = MailKind.OUTBOX
    host: str = "127.0.0.1"
    port: Port = 25
    security: MailSecurity = MailSecurity.STARTTLS
    username: str = ""
    password_file: Path | None = None
    sender: str = ""
    timeout_s: Annotated[int, Field(ge=1, le=300)] = 20
    attempts: Annotated[int, Field(ge=1, le=100)] = 12


class Security(_Section):
    """Costs and limits. Argon2id defaults: the second recommendation of RFC 9106, section 4."""

    argon2_memory_kib: Annotated[int, Field(ge=8192, le=4_194_304)] = 65536
    argon2_iterations: Annotated[int, Field(ge=1, le=100)] = 3
    argon2_lanes: Annotated[int, Field(ge=1, le=64)] = 4
    argon2_parallel: Annotated[int, Field(ge=1, le=64)] = 2
    session_hours: Annotated[int, Field(ge=1, le=24 * 90)] = 168
    code_minutes: Annotated[int, Field(ge=1, le=60)] = 15
    logins_per_hour: Annotated[int, Field(ge=1, le=100_000)] = 10
    logins_per_hour_per_address: Annotated[int, Field(ge=1, le=100_000)] = 100
    codes_per_window: Annotated[int, Field(ge=3, le=1000)] = 10
    set_password_hours: Annotated[int, Field(ge=1, le=24 * 30)] = 72
    invite_days: Annotated[int, Field(ge=1, le=90)] = 7


class Log(_Section):
    """What is logged."""

    level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    format: LogFormat = LogFormat.CONSOLE


class Settings(_Section):
    """Everything that can be configured."""

    instance: Instance = Instance()
    listen: Listen = Listen()
    database: DatabaseSection = DatabaseSection()
    store: Store = Store()
    mail: MailSection = MailSection()
    security: Security = Security()
    log: Log = Log()

    @property
    def database_url(self) -> str:
        """Return the configured address, or that of SQLite in the state directory."""
        return self.database.url or f"sqlite:///{self.instance.state_dir / 'ddsd.sqlite3'}"

    @property
    def store_directory(self) -> Path:
        """Return where the embedded store keeps its buckets."""
        return self.store.directory or self.instance.state_dir / "store"


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration.

    Args:
        path: the TOML file; ``None`` means :data:`DEFAULT_PATH` if it exists, else defaults and environment only.
        environment: variables to take overrides from; ``None`` means this process's own.

    Raises:
        ConfigurationError: the file is missing or no TOML, a key is unknown, a value does not fit. All problems
            are named at once.
    """
    environment = os.environ if environment is None else environment
    tree = _read_file(path)
    _apply_environment(tree, environment)
    try:
        return Settings.model_validate(tree)
    except ValidationError as wrong:
        raise ConfigurationError(_explain(wrong, path)) from wrong


def read_secret(
    key: str, path: Path | None, environment: Mapping[str, str] | None = None
) -> SecretText | None:
    """Read the secret that the configuration key ``key`` points to; ``None`` when there is none.

    Args:
        key: the dotted key, one of :data:`CREDENTIALS`.
        path: the value of that key.
        environment: where ``CREDENTIALS_DIRECTORY`` (systemd) is looked up.

    Raises:
        ConfigurationError: a file is named and cannot be read, is empty, or may be read by everybody.
    """
    environment = os.environ if environment is None else environment
    if path is None:
        directory = environment.get("CREDENTIALS_DIRECTORY")
        path = Path(directory) / CREDENTIALS[key] if directory else None
        if path is None or not path.exists():
            return None
    try:
        readable_by_all = path.stat().st_mode & 0o004
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigurationError(f"{key}: cannot read {path}: {wrong}") from wrong
    if readable_by_all:
        raise ConfigurationError(f"{key}: {path} can be read by everybody; run: chmod 0600 {path}")
    if not text:
        raise ConfigurationError(f"{key}: {path} is empty")
    return SecretText(text)


def _read_file(path: Path | None) -> dict[str, dict[str, object]]:
    if path is None:
        if not DEFAULT_PATH.exists():
            return {}
        path = DEFAULT_PATH
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as wrong:
        raise ConfigurationError(
            f"there is no configuration file {path}; copy config/ddsd.toml there, or name one with --config"
        ) from wrong
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as wrong:
        raise ConfigurationError(f"{path}: {wrong}") from wrong
    stray = [name for name, value in tree.items() if not isinstance(value, dict)]
    if stray:
        raise ConfigurationError(
            f"{path}: unknown key {', '.join(stray)}: every key is in a [section]"
        )
    return tree


def _apply_environment(tree: dict[str, dict[str, object]], environment: Mapping[str, str]) -> None:
    for variable, value in environment.items():
        if variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable:
            section, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
            fits: object = value.split(",") if key == "trusted_proxies" else value
            tree.setdefault(section, {})[key] = fits


def _explain(wrong: ValidationError, path: Path | None) -> str:
    where = f"{path}: " if path else ""
    return "\n".join(
        f"{where}unknown key {'.'.join(map(str, one['loc']))}"
        if one["type"] == "extra_forbidden"
        else f"{where}{'.'.join(map(str, one['loc']))}: {one['msg']} (got {one['input']!r})"
        for one in wrong.errors()
    )
