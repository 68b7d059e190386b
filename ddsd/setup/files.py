"""What a setup writes, for whom, and in which order.

Invariant: each file appears as a whole, with its owner and mode; the configuration comes last, so that it never names
a file that is not there; an instance key that is there is never touched.
"""

from __future__ import annotations

import os
import pwd
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import tomlkit

from ddsd import bootstrap
from ddsd.errors import ConfigurationError
from ddsd.keys.instance import InstanceKey
from ddsd.secret import SecretText
from ddsd.settings import CREDENTIALS, Settings, StoreKind
from ddsd.setup.draft import KEY_FILE, Draft, reference, write_secret

_OWN_DIRECTORY = 0o750
_VOLATILE = Path("/run")
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Account:
    """The user the daemon runs as. ``groups``: all of theirs."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def of(cls, name: str) -> Self:
        """Look the user up; empty: whoever runs this.

        Raises:
            ConfigurationError: there is no such user, or only root may set up for another one.
        """
        try:
            found = pwd.getpwnam(name) if name else pwd.getpwuid(os.getuid())
        except KeyError:
            raise ConfigurationError(
                f"there is no user {name}; run: useradd --system --home-dir /var/lib/ddsd"
                f" --shell /usr/sbin/nologin {name}"
            ) from None
        if os.getuid() not in {0, found.pw_uid}:
            raise ConfigurationError(f"only root can set up for the user {name}: sudo ddsctl setup")
        groups = tuple(os.getgrouplist(found.pw_name, found.pw_gid))
        return cls(found.pw_name, found.pw_uid, found.pw_gid, groups)

    @property
    def is_us(self) -> bool:
        """Say whether this process runs as that user."""
        return self.uid == os.getuid()

    @property
    def other_uid(self) -> int | None:
        """Return the user to become for what the daemon does; ``None``: we are that one."""
        return None if self.is_us else self.uid

    @property
    def other_gid(self) -> int | None:
        """Return the group to become, as :attr:`other_uid`."""
        return None if self.is_us else self.gid

    @property
    def other_groups(self) -> tuple[int, ...] | None:
        """Return the groups to be in, as :attr:`other_uid`."""
        return None if self.is_us else self.groups

    @property
    def secret_mode(self) -> int:
        """Return the mode of a file that the daemon reads and, set up by root, must not write."""
        return 0o600 if self.is_us else 0o640

    def give(self, descriptor: int) -> None:
        """Let the daemon's group have an open file, which stays its maker's."""
        if not self.is_us:
            os.fchown(descriptor, -1, self.gid)


def write(draft: Draft, account: Account) -> list[Path]:
    """Write everything that is new; return what was written.

    Raises:
        ConfigurationError: something cannot be written, or the configuration would not be read as it was meant.
    """
    settings = draft.settings()
    with _explained():
        _make_directories(settings, draft, account)
        written = [_new_key(draft, account)] if draft.needs_instance_key else []
        for key, secret in draft.secrets.items():
            place = draft.place_of(key)
            _replace(place, secret.text() + "\n", _reader(draft, place, account))
            written.append(place)
        text = configured(draft, settings)
        if draft.is_new or text != draft.file.read_text(encoding="utf-8"):
            _replace(draft.file, text, account)
            written.append(draft.file)
    return written


def configured(draft: Draft, settings: Settings) -> str:
    """Return the configuration's text with its changes in it; comments and order stay.

    Raises:
        ConfigurationError: it would not be read as it was meant.
    """
    base = (reference() if draft.is_new else draft.file).read_text(encoding="utf-8")
    document = tomlkit.parse(base)
    values = settings.model_dump(mode="json")
    own = () if draft.credstore else (KEY_FILE, *draft.secrets)
    for dotted in (*draft.texts, *own):
        section, _, key = dotted.partition(".")
        value = values[section][key]
        if section not in document:
            document[section] = tomlkit.table()
        table = document[section]
        if dotted in draft.texts or table.get(key) != value:
            table[key] = "" if value is None else value
    text = tomlkit.dumps(document)
    if Settings.model_validate(tomllib.loads(text)) != settings:
        raise ConfigurationError(f"{draft.file} cannot be changed by a program: change it by hand")
    return text


def _new_key(draft: Draft, account: Account) -> Path:
    place = draft.place_of(KEY_FILE)
    reader = _reader(draft, place, account)
    _replace(place, InstanceKey.generate().to_text().text() + "\n", reader, over=False)
    return place


def _reader(draft: Draft, place: Path, account: Account) -> Account:
    """Return who reads a secret: from its store systemd does, as root, and hands it to the daemon."""
    return Account.of("") if place.parent == draft.credstore else account


@contextmanager
def credentials(draft: Draft, account: Account) -> Iterator[dict[str, str]]:
    """Hand the secrets of the store to what runs as the daemon, as systemd does; yields its variable."""
    if draft.credstore is None:
        yield {}
        return
    with in_memory("ddsd-credentials-") as made:
        for name in CREDENTIALS.values():
            secret = draft.credstore / f"ddsd.{name}"
            if secret.exists():
                copy = made / name
                write_secret(copy, SecretText(secret.read_text(encoding="utf-8").strip()))
                os.chown(copy, account.uid, account.gid)
        os.chown(made, account.uid, account.gid)
        yield {"CREDENTIALS_DIRECTORY": str(made)}


@contextmanager
def in_memory(prefix: str) -> Iterator[Path]:
    """Make a directory of this user's alone, for secrets: as root where no disk keeps what a kill leaves of them."""
    volatile = _VOLATILE if os.getuid() == 0 and _VOLATILE.is_dir() else None
    with tempfile.TemporaryDirectory(prefix=prefix, dir=volatile) as made:
        yield Path(made)


def data_places(settings: Settings) -> list[Path]:
    """Return the directories on this machine that the daemon writes its data to."""
    places = [settings.instance.state_dir]
    if settings.database.url.startswith(_SQLITE):
        places.append(Path(settings.database.url.removeprefix(_SQLITE)).parent)
    if settings.store.kind is StoreKind.EMBEDDED and settings.store.directory:
        places.append(settings.store.directory)
    return places


def _make_directories(settings: Settings, draft: Draft, account: Account) -> None:
    group = bootstrap.admin_group_id(settings.listen.admin_group)
    if not draft.file.parent.is_dir():
        _make(draft.file.parent, -1, account.gid)
    for place in data_places(settings):
        if not place.is_dir():
            _make(place, account.uid, account.gid)
    if not settings.listen.admin_socket.parent.is_dir():
        _make(
            settings.listen.admin_socket.parent,
            account.uid,
            account.gid if group is None else group,
        )


def _make(directory: Path, uid: int, gid: int) -> None:
    directory.mkdir(parents=True)
    if os.getuid() == 0:
        os.chown(directory, uid, gid)
    directory.chmod(_OWN_DIRECTORY)


def _replace(place: Path, text: str, account: Account, *, over: bool = True) -> None:
    """Put the text there as a whole, durably; ``over`` false: only where nothing is."""
    fresh = place.with_name(f".{place.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            account.give(descriptor)
            os.fchmod(descriptor, account.secret_mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        if over:
            fresh.replace(place)
        else:
            place.hardlink_to(fresh)
    finally:
        fresh.unlink(missing_ok=True)
    _flush(place.parent)


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        raise ConfigurationError(
            f"{wrong.filename2 or wrong.filename} cannot be written: {wrong.strerror}. What was there is as before;"
            " run this again when it can be (as root: sudo ddsctl setup)"
        ) from wrong
