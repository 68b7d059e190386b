"""The configuration that is being made: the answers so far, over what is in effect.

Invariant: an answer is judged by the same code that reads the configuration, and no secret is in a text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final

import ddsd
from ddsd.bootstrap import new_instance_key
from ddsd.errors import ConfigurationError
from ddsd.secret import SecretText
from ddsd.settings import CREDENTIALS, ENVIRONMENT_PREFIX, Settings, changed, load, may_be_there
from ddsd.storage.port import new_secret_key

KEY_FILE: Final = "instance.key_file"
ACCOUNT: Final = "store.access_key"
ACCOUNT_KEY_FILE: Final = "store.secret_key_file"
_ACCOUNT: Final = "ddsd"


def reference() -> Path:
    """Return the commented configuration with every default: of the package, or of the checkout it is run from."""
    packed = Path(str(resources.files("ddsd.setup") / "ddsd.toml"))
    return packed if packed.exists() else Path(ddsd.__file__).parents[1] / "config" / "ddsd.toml"


@dataclass(frozen=True)
class Lent:
    """An administrator's key at the store: accounts are made with it, and it is written nowhere."""

    access_key: str
    secret: SecretText


@dataclass
class Draft:
    """Answers over a configuration.

    ``file`` need not exist yet. ``scratch``: an empty directory of this user's alone, for typed secrets until they
    have a place. ``texts``: answers by dotted key, as an environment variable would have them. ``credstore``: where
    systemd takes credentials from; ``None``: secrets are files beside the configuration, which names them. ``lent``:
    see :meth:`lend`.
    """

    file: Path
    scratch: Path
    credstore: Path | None = None
    texts: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, SecretText] = field(default_factory=dict)
    lent: Lent | None = None

    @property
    def is_new(self) -> bool:
        """Say whether there was no configuration before."""
        return not may_be_there(self.file)

    def lend(self, key: Lent) -> None:
        """Take an administrator's key, to make the service's own account with: that needs to be there no longer."""
        self.lent = key
        if not self.text(ACCOUNT):
            self.texts[ACCOUNT] = _ACCOUNT
        if not self.has_secret(ACCOUNT_KEY_FILE):
            self.secrets[ACCOUNT_KEY_FILE] = new_secret_key()

    def unanswered(self) -> Draft:
        """Return the same without answers."""
        return Draft(self.file, self.scratch, self.credstore)

    def forget(self, key: str) -> None:
        """Drop the answer to a key, and what was typed as its secret. Without the account's secret nothing is lent."""
        self.texts.pop(key, None)
        self.secrets.pop(key, None)
        if key == ACCOUNT_KEY_FILE:
            self.lent = None

    def empty(self, key: str) -> None:
        """Answer a key with its default, if something else is in effect."""
        if self.text(key) != (usual := _typed(Settings(), key)):
            self.texts[key] = usual

    def has_secret(self, key: str) -> bool:
        """Say whether the secret of a ``*_file`` key was typed, or is there already."""
        return key in self.secrets or self.place_of(key).exists()

    def before(self) -> Settings:
        """Return what is in effect without the answers.

        Raises:
            ConfigurationError: the file that is there cannot be used.
        """
        return load(self._base, {})

    def settings(self) -> Settings:
        """Return what will be in effect; typed secrets are named where they will be.

        Raises:
            ConfigurationError: answers do not fit; each line names a key.
        """
        own = () if self.credstore else (KEY_FILE, *self.secrets)
        return self._with({key: str(self.place_of(key)) for key in own})

    def trying(self) -> Settings:
        """Return the same to be tried at once: what has no place yet is in the scratch directory, and nothing is made.

        Where an administrator's key is lent, it stands in for the account at the store, which may not be there yet.

        Raises:
            ConfigurationError: as :meth:`settings`.
        """
        there = {"instance.state_dir": str(self.scratch)}
        for key, name in CREDENTIALS.items():
            if key in self.secrets:
                write_secret(self.scratch / name, self.secrets[key])
                there[key] = str(self.scratch / name)
            elif self.place_of(key).exists():
                there[key] = str(self.place_of(key))
        if self.lent:
            place = self.scratch / CREDENTIALS[ACCOUNT_KEY_FILE]
            write_secret(place, self.lent.secret)
            there |= {ACCOUNT: self.lent.access_key, ACCOUNT_KEY_FILE: str(place)}
        if KEY_FILE not in there:
            there[KEY_FILE] = str(self.scratch / CREDENTIALS[KEY_FILE])
            if not Path(there[KEY_FILE]).exists():
                new_instance_key(Path(there[KEY_FILE]))
        return self._with(there)

    def text(self, key: str) -> str:
        """Return the answer to a key, or else what is in effect, as it would be typed."""
        return self.texts[key] if key in self.texts else _typed(self.before(), key)

    def place_of(self, key: str) -> Path:
        """Return where the secret of a ``*_file`` key is, or will be."""
        if named := self.text(key):
            return Path(named)
        if self.credstore:
            return self.credstore / f"ddsd.{CREDENTIALS[key]}"
        return self.file.parent / _FILE_NAMES.get(key, CREDENTIALS[key])

    def changes(self) -> list[str]:
        """Name every key whose value will be another one, and every secret that is new."""
        names = changed(self.before(), self.settings())
        return names + [key for key in self.secrets if key not in names]

    @property
    def needs_instance_key(self) -> bool:
        """Say whether there is no instance key yet. One that is there is never made anew."""
        return not self.place_of(KEY_FILE).exists()

    @property
    def _base(self) -> Path:
        return reference() if self.is_new else self.file

    def _with(self, files: dict[str, str]) -> Settings:
        variables = {_variable(key): text for key, text in (self.texts | files).items()}
        try:
            return load(self._base, variables)
        except ConfigurationError as wrong:
            told = wrong.message
            for variable in variables:
                told = told.replace(f"{variable}: ", "")
            raise ConfigurationError(told.replace(f"{self._base}: ", "")) from wrong


_FILE_NAMES: Final = {KEY_FILE: "instance.key"}


def write_secret(file: Path, secret: SecretText) -> None:
    """Write a secret into a file that only this user may read."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        target.write(secret.text() + "\n")


def known_keys() -> Sequence[str]:
    """Return every dotted key there is."""
    return [f"{section}.{key}" for section, keys in Settings().model_dump().items() for key in keys]


def _variable(key: str) -> str:
    return ENVIRONMENT_PREFIX + key.replace(".", "__").upper()


def _typed(settings: Settings, key: str) -> str:
    section, _, name = key.partition(".")
    match settings.model_dump(mode="json")[section][name]:
        case None:
            return ""
        case bool() as value:
            return "true" if value else "false"
        case list() as values:
            return ", ".join(map(str, values))
        case value:
            return str(value)
