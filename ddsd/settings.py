"""The configuration: one frozen, typed object read from TOML and the environment.

Order: the defaults below, then the file, then ``DDSD_SECTION__KEY`` variables. A key nobody knows
is refused by name. Secrets are never in the file: a ``*_file`` key names where each one is, and a
systemd credential of the name given in :data:`CREDENTIALS` is used when the key is empty. What is
wrong is named all at once, and never by showing a secret. ``config/ddsd.toml`` is the commented
reference.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from email.utils import parseaddr
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from ddsd import toml_file
from ddsd.errors import ConfigurationError
from ddsd.secret import SecretText

DEFAULT_PATH: Final = Path("/etc/ddsd/ddsd.toml")
ENVIRONMENT_PREFIX: Final = "DDSD_"
CREDENTIALS: Final = {
    "instance.key_file": "instance-key",
    "listen.tls_key_file": "tls-key",
    "database.password_file": "database-password",
    "store.secret_key_file": "store-secret-key",
    "store.read_only_secret_key_file": "store-read-only-secret-key",
    "mail.password_file": "mail-password",
}
OTHERS_VARIABLES: Final = ("DDSD_TEST_", "DDSD_REQUIRE_PARTS", "DDSD_STOCK_")
"""Variables that begin as ours do and are for the tests alone (CONTRIBUTING.md)."""
LONGEST_SOCKET_PATH_BYTES: Final = 107
"""Linux, unix(7): ``sun_path`` has 108 bytes, the last one is zero."""


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


class LogLevel(StrEnum):
    """The least important lines that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    CONSOLE = "console"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _service_address(value: str) -> str:
    """Accept ``scheme://host[:port]`` and nothing more: paths are added to it."""
    if not value:
        return value
    parts = urlsplit(value)
    try:
        parts.port  # noqa: B018  # reading it is the check
    except ValueError as wrong:
        raise ValueError(f"{value} has no usable port") from wrong
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{value} is no http:// or https:// address")
    if value != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise ValueError(
            f"give only {parts.scheme}://{parts.netloc.rpartition('@')[2]}, without a slash"
        )
    return value


def is_loopback(host: str) -> bool:
    """Say whether a host of an address is this machine itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _guarded_address(value: str) -> str:
    """Accept an address over which secrets are told: with TLS, or without leaving this machine."""
    parts = urlsplit(_service_address(value))
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(
            f"{value}: the secrets of new keys are told over it; use https://, or http:// on this machine"
        )
    return value


def _mail_address(value: str) -> str:
    if value and "@" not in parseaddr(value)[1]:
        raise ValueError(f"{value} is no mail address")
    return value


def _ip_address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f"{value} is no IP address; use 127.0.0.1, 0.0.0.0, :: …") from None


def _ip_network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError(f"{value} is neither an IP address nor a network") from None


def _absolute_path(value: Path | None) -> Path | None:
    if value and (not value.is_absolute() or "\0" in str(value)):
        raise ValueError(f"{value!s:.200} must be an absolute path")
    return value


def _socket_path(value: Path) -> Path:
    _absolute_path(value)
    if len(os.fsencode(value)) > LONGEST_SOCKET_PATH_BYTES:
        raise ValueError(
            f"{value} is longer than the {LONGEST_SOCKET_PATH_BYTES} bytes a socket's path may have"
        )
    return value


Port = Annotated[int, Field(ge=0, le=65535)]
ReminderDays = Annotated[int, Field(ge=1, le=90)]
MaybePath = Annotated[Path | None, BeforeValidator(_empty_is_none)]
Directory = Annotated[Path, AfterValidator(_absolute_path)]
MaybeDirectory = Annotated[MaybePath, AfterValidator(_absolute_path)]
Url = Annotated[str, AfterValidator(_service_address)]
GuardedUrl = Annotated[str, AfterValidator(_guarded_address)]
RequiredUrl = Annotated[str, Field(min_length=1), AfterValidator(_service_address)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
IpAddress = Annotated[str, AfterValidator(_ip_address)]
IpNetwork = Annotated[str, AfterValidator(_ip_network)]
SocketPath = Annotated[Path, AfterValidator(_socket_path)]


class Instance(_Section):
    """Who runs this service, and where it keeps its things."""

    facility: Annotated[str, Field(min_length=1, pattern=r"^[^\r\n]*$")] = "Data Delivery System"
    contact: Annotated[MailAddress, Field(min_length=1)] = "root@localhost"
    public_url: RequiredUrl = "http://127.0.0.1:5000"
    state_dir: Directory = Path("/var/lib/ddsd")
    key_file: MaybePath = None
    demo: bool = False


class Listen(_Section):
    """The two planes: TCP for everybody, a Unix socket for the operator."""

    address: IpAddress = "127.0.0.1"
    port: Port = 5000
    tls_certificate_file: MaybePath = None
    tls_key_file: MaybePath = None
    allow_cleartext: bool = False
    admin_socket: SocketPath = Path("/run/ddsd/admin.sock")
    admin_group: str = ""
    max_body_mib: Annotated[int, Field(ge=1, le=1024)] = 64
    trusted_proxies: tuple[IpNetwork, ...] = ()
    drain_s: Annotated[int, Field(ge=1, le=600)] = 30

    @model_validator(mode="after")
    def _says_nothing_in_the_clear(self) -> Self:
        if self.tls_key_file and not self.tls_certificate_file:
            raise ValueError(
                "tls_key_file: belongs to a certificate: name that in listen.tls_certificate_file"
            )
        guarded = self.tls_certificate_file or ipaddress.ip_address(self.address).is_loopback
        if not guarded and not self.allow_cleartext:
            raise ValueError(
                f"address: passwords and tokens would pass {self.address} in the clear. Name a"
                " certificate and its key in listen.tls_certificate_file and listen.tls_key_file; or, if"
                " a reverse proxy with TLS is the only one that reaches this port, set"
                " listen.allow_cleartext = true"
            )
        return self


class DatabaseSection(_Section):
    """``sqlite:///path`` or ``postgresql://user@host/name``; empty: SQLite in ``state_dir``."""

    url: str = ""
    password_file: MaybePath = None
    pool_size: Annotated[int, Field(ge=1, le=100)] = 10

    @model_validator(mode="after")
    def _is_an_address_without_password(self) -> Self:
        if self.url and urlsplit(self.url).scheme.partition("+")[0] not in {"sqlite", "postgresql"}:
            raise ValueError("url: use sqlite:///… or postgresql://…")
        if urlsplit(self.url).password:
            raise ValueError(
                "url: take the password out of it and put it into database.password_file"
            )
        return self


class Store(_Section):
    """The object store."""

    kind: StoreKind = StoreKind.EMBEDDED
    endpoint: Url = ""
    public_endpoint: Url = ""
    region: Annotated[str, Field(min_length=1)] = "us-east-1"
    ca_file: MaybePath = None
    iam_endpoint: GuardedUrl = ""
    access_key: str = ""
    secret_key_file: MaybePath = None
    directory: MaybeDirectory = None
    address: IpAddress = "127.0.0.1"
    port: Port = 0
    allow_wide_upload_keys: bool = False
    read_only_access_key: str = ""
    read_only_secret_key_file: MaybePath = None
    upload_key_hours: Annotated[int, Field(ge=1, le=720)] = 72
    download_url_hours: Annotated[int, Field(ge=1, le=168)] = 168

    @model_validator(mode="after")
    def _names_its_server(self) -> Self:
        if self.kind is StoreKind.S3:
            _require_set(self, "endpoint", "access_key", because='kind = "s3"')
            if self.read_only_access_key == self.access_key:
                raise ValueError(
                    "read_only_access_key: name another key than access_key, one that may only get objects: everybody "
                    "who may download is shown its name"
                )
        elif strays := [key for key in ("endpoint", "iam_endpoint") if getattr(self, key)]:
            only = 'only used with kind = "s3"; set that, or leave'
            raise ValueError("\n".join(f"{key}: {only} {key} empty" for key in strays))
        return self


class MailSection(_Section):
    """How mail leaves."""

    kind: MailKind = MailKind.OUTBOX
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 25
    security: MailSecurity = MailSecurity.STARTTLS
    username: str = ""
    password_file: MaybePath = None
    sender: MailAddress = ""
    timeout_s: Annotated[int, Field(ge=1, le=300)] = 20
    attempts: Annotated[int, Field(ge=1, le=100)] = 12

    @model_validator(mode="after")
    def _names_its_server(self) -> Self:
        if self.kind is MailKind.SMTP:
            _require_set(self, "host", "sender", because='kind = "smtp"')
        return self


class Security(_Section):
    """Costs and limits. Argon2id defaults: the second recommendation of RFC 9106, section 4."""

    argon2_memory_kib: Annotated[int, Field(ge=8192, le=4_194_304)] = 65536
    argon2_iterations: Annotated[int, Field(ge=1, le=64)] = 3
    argon2_lanes: Annotated[int, Field(ge=1, le=16)] = 4
    session_hours: Annotated[int, Field(ge=1, le=24 * 90)] = 168
    code_minutes: Annotated[int, Field(ge=1, le=60)] = 15
    logins_per_hour: Annotated[int, Field(ge=1, le=100_000)] = 10
    logins_per_hour_per_address: Annotated[int, Field(ge=1, le=100_000)] = 100
    codes_per_window: Annotated[int, Field(ge=3, le=1000)] = 10
    set_password_hours: Annotated[int, Field(ge=1, le=24 * 30)] = 72
    invites_per_hour: Annotated[int, Field(ge=1, le=100_000)] = 500
    invite_days: Annotated[int, Field(ge=1, le=90)] = 7


class Usage(_Section):
    """What storage costs, for the figures in lists and reports."""

    price_gb_month: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = 0.09


class Reminders(_Section):
    """On which days before a deadline, and at what hour (UTC), people are reminded. No days: never."""

    days: tuple[ReminderDays, ...] = (14, 7, 1)
    at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "07:00"

    @property
    def time_of_day(self) -> time:
        """Return the hour as a time of day, in UTC."""
        return time.fromisoformat(self.at)


class Log(_Section):
    """What is logged."""

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.CONSOLE


class Settings(_Section):
    """Everything that can be configured."""

    instance: Instance = Instance()
    listen: Listen = Listen()
    database: DatabaseSection = DatabaseSection()
    store: Store = Store()
    mail: MailSection = MailSection()
    security: Security = Security()
    usage: Usage = Usage()
    reminders: Reminders = Reminders()
    log: Log = Log()

    @model_validator(mode="after")
    def _stores_nothing_in_the_clear(self) -> Self:
        """Hold the embedded store to what holds for the public plane; it has no TLS of its own."""
        guarded = ipaddress.ip_address(self.store.address).is_loopback
        if not guarded and not self.listen.allow_cleartext:
            raise ValueError(
                f"store.address: download links would pass {self.store.address} in the clear. If a"
                " reverse proxy with TLS is the only one that reaches this port, set"
                " listen.allow_cleartext = true; or leave store.address on loopback"
            )
        return self

    @property
    def database_url(self) -> str:
        """Return the configured address, or that of SQLite in the state directory."""
        return self.database.url or f"sqlite:///{self.instance.state_dir / 'ddsd.sqlite3'}"

    @property
    def store_identity(self) -> str:
        """Name the store that keys belong to: keys made at one are worth nothing at another."""
        if self.store.kind is StoreKind.EMBEDDED:
            return f"embedded {self.store_directory}"
        return f"s3 {self.store.endpoint} {self.store.access_key}"

    @property
    def store_place(self) -> str:
        """Name where the store's data is, with whatever key."""
        if self.store.kind is StoreKind.EMBEDDED:
            return f"embedded {self.store_directory}"
        return f"s3 {self.store.endpoint}"

    @property
    def store_directory(self) -> Path:
        """Return where the embedded store keeps its buckets."""
        return self.store.directory or self.instance.state_dir / "store"


@dataclass(frozen=True)
class Secrets:
    """What the ``*_file`` keys point to."""

    instance_key: SecretText | None
    tls_key: SecretText | None
    database_password: SecretText | None
    store_secret_key: SecretText | None
    store_read_only_secret_key: SecretText | None
    mail_password: SecretText | None


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration.

    Args:
        path: the TOML file; ``None`` means :data:`DEFAULT_PATH`, which may be missing if the
            environment says something.
        environment: variables to take overrides from; ``None`` means this process's own.

    Raises:
        ConfigurationError: the file is missing or no TOML, a key or variable is unknown, a value
            does not fit. All problems are named at once, one a line.
    """
    environment = os.environ if environment is None else environment
    if not sources(path, environment):
        raise ConfigurationError(
            f"there is no configuration file {DEFAULT_PATH}; copy config/ddsd.toml there,"
            " or name one with --config FILE"
        )
    tree = _read_file(path)
    variables = _apply_environment(tree, environment)
    try:
        return Settings.model_validate(tree)
    except ValidationError as wrong:
        raise ConfigurationError(_explain(wrong, path or DEFAULT_PATH, variables)) from None


def sources(path: Path | None, environment: Mapping[str, str] | None = None) -> list[str]:
    """Name what :func:`load` reads with the same arguments: the file first, then the variables."""
    environment = os.environ if environment is None else environment
    file = path or DEFAULT_PATH
    files = [str(file)] if path or may_be_there(file) else []
    return files + sorted(filter(_is_ours, environment))


def may_be_there(file: Path) -> bool:
    """Say whether a file is there; one in a directory that is closed to us may be, and reading it tells why not."""
    try:
        return file.exists()
    except PermissionError:
        return True


def changed(before: Settings, after: Settings) -> list[str]:
    """Name the keys whose values differ, as ``section.key``."""
    old, new = before.model_dump(), after.model_dump()
    return [
        f"{section}.{key}"
        for section in old
        for key in old[section]
        if old[section][key] != new[section][key]
    ]


def read_secrets(settings: Settings, environment: Mapping[str, str] | None = None) -> Secrets:
    """Read every secret that is configured, and demand those that the other keys need.

    The instance key's text is not looked into, and its absence is allowed in a demo only.

    Raises:
        ConfigurationError: one cannot be read or is missing. All problems are named at once, one
            a line.
    """
    found: dict[str, SecretText | None] = {}
    problems: list[str] = []
    for key, path in _secret_files(settings).items():
        try:
            found[key] = read_secret(key, path, environment)
        except ConfigurationError as wrong:
            problems.append(wrong.message)
            continue
        needed = _needs_secret(settings, key)
        if found[key] is None and needed:
            problems.append(f"{key}: {needed}")
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Secrets(
        instance_key=found["instance.key_file"],
        tls_key=found["listen.tls_key_file"],
        database_password=found["database.password_file"],
        store_secret_key=found["store.secret_key_file"],
        store_read_only_secret_key=found["store.read_only_secret_key_file"],
        mail_password=found["mail.password_file"],
    )


def read_secret(
    key: str, path: Path | None, environment: Mapping[str, str] | None = None
) -> SecretText | None:
    """Read the secret that the configuration key ``key`` points to; ``None`` when there is none.

    Args:
        key: the dotted key, one of :data:`CREDENTIALS`.
        path: the value of that key.
        environment: where ``CREDENTIALS_DIRECTORY`` (systemd) is looked up.

    Raises:
        ConfigurationError: a file is named and cannot be read, is empty, or may be read by
            everybody.
    """
    environment = os.environ if environment is None else environment
    if path is None:
        directory = environment.get("CREDENTIALS_DIRECTORY")
        path = Path(directory) / CREDENTIALS[key] if directory else None
        if path is None or not path.exists():
            return None
    try:
        open_to_all = path.stat().st_mode & 0o006
        text = path.read_text(encoding="utf-8").strip()
    except PermissionError as wrong:
        raise ConfigurationError(
            f"{key}: {path} may not be read by this user; let its group be the daemon's, with mode 0640"
        ) from wrong
    except FileNotFoundError as wrong:
        raise ConfigurationError(
            f"{key}: there is no file {path}; put it back from your copy, or name another one"
        ) from wrong
    except UnicodeDecodeError as wrong:
        raise ConfigurationError(f"{key}: {path} holds something that is no text") from wrong
    except OSError as wrong:
        raise ConfigurationError(f"{key}: {path} cannot be read: {wrong.strerror}") from wrong
    if open_to_all:
        raise ConfigurationError(
            f"{key}: {path} can be {'read' if open_to_all & 0o004 else 'changed'} by everybody; run: chmod 0640 {path},"
            f" and let it belong to the daemon's group (chgrp ddsd {path}); or chmod 0600 if the daemon's user owns it"
        )
    if not text:
        raise ConfigurationError(f"{key}: {path} is empty; put it back from your copy")
    return SecretText(text)


def _read_file(path: Path | None) -> dict[str, dict[str, object]]:
    if path is None and not may_be_there(DEFAULT_PATH):
        return {}
    return toml_file.read(path or DEFAULT_PATH)


def _apply_environment(
    tree: dict[str, dict[str, object]], environment: Mapping[str, str]
) -> dict[str, str]:
    """Lay the variables over the file; return which dotted key came from which variable.

    One without a section becomes a stray section of its own, to be refused with everything else.
    """
    variables: dict[str, str] = {}
    for variable in filter(_is_ours, environment):
        section, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        tree.setdefault(section, {})[key] = _from_text(key, environment[variable])
        variables[f"{section}.{key}"] = variable
    return variables


def _is_ours(variable: str) -> bool:
    return variable.startswith(ENVIRONMENT_PREFIX) and not variable.startswith(OTHERS_VARIABLES)


_LISTS: Final = frozenset({"trusted_proxies", "days"})


def _from_text(key: str, value: str) -> object:
    if key in _LISTS:
        return [one.strip() for one in value.split(",") if one.strip()]
    return value


_WORDS_FOR_KINDS: Final = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "float_parsing": "must be a number, without quotes or a unit",
    "float_type": "must be a number, without quotes or a unit",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number, without quotes or a unit",
    "int_type": "must be a whole number, without quotes or a unit",
    "string_type": "must be text in quotes",
    "tuple_type": 'must be a list: ["one", "another"]',
}


def _explain(wrong: ValidationError, path: Path, variables: Mapping[str, str]) -> str:
    return "\n".join(
        line
        for one in wrong.errors(include_url=False)
        for line in _explain_one(
            ".".join(map(str, one["loc"])), one["type"], one["msg"], path, variables
        )
    )


def _explain_one(
    key: str, kind: str, message: str, path: Path, variables: Mapping[str, str]
) -> list[str]:
    if kind == "extra_forbidden":
        strays = [
            variable for known, variable in variables.items() if f"{known}.".startswith(f"{key}.")
        ]
        return [_unknown(where, key) for where in strays or [str(path)]]
    message = _WORDS_FOR_KINDS.get(kind, message.removeprefix("Value error, "))
    section_and_key = ".".join(key.split(".")[:2])  # what follows is a place in a list
    named = f"{variables.get(section_and_key, path)}: {key}" if key else str(path)
    return [f"{named}: {one}" for one in message.split("\n")]


def _unknown(where: str, key: str) -> str:
    if where.startswith(ENVIRONMENT_PREFIX) and "__" not in where:
        return f"{where}: unknown variable; they are named {ENVIRONMENT_PREFIX}SECTION__KEY"
    return f"{where}: unknown key {key}"


def _require_set(section: _Section, *keys: str, because: str) -> None:
    missing = [key for key in keys if not getattr(section, key)]
    if missing:
        raise ValueError("\n".join(f"{key}: must be set with {because}" for key in missing))


def _secret_files(settings: Settings) -> dict[str, Path | None]:
    return {
        "instance.key_file": settings.instance.key_file,
        "listen.tls_key_file": settings.listen.tls_key_file,
        "database.password_file": settings.database.password_file,
        "store.secret_key_file": settings.store.secret_key_file,
        "store.read_only_secret_key_file": settings.store.read_only_secret_key_file,
        "mail.password_file": settings.mail.password_file,
    }


def _needs_secret(settings: Settings, key: str) -> str | None:
    """Say why the secret of ``key`` may not be missing, and what to do; ``None`` when it may."""
    match key:
        case "instance.key_file" if not settings.instance.demo:
            return (
                "there is no instance key; make one with"
                " `ddsd new-instance-key /etc/ddsd/instance.key`, name that file here,"
                " and keep a copy of it in a safe place"
            )
        case "listen.tls_key_file" if settings.listen.tls_certificate_file:
            return "name the file that holds the private key of listen.tls_certificate_file"
        case "store.secret_key_file" if settings.store.kind is StoreKind.S3:
            return 'name the file that holds the secret of store.access_key: kind = "s3" needs it'
        case "store.read_only_secret_key_file" if settings.store.read_only_access_key:
            return "name the file that holds the secret of store.read_only_access_key"
        case "mail.password_file" if settings.mail.kind is MailKind.SMTP and settings.mail.username:
            return "name the file that holds the password of mail.username"
        case _:
            return None
