"""What goes over the delivery API, as JSON. Frozen: a field may be added, never renamed or given another meaning.

Bytes are lower-case hex, moments RFC 3339 in UTC. How each blob and key is made: docs/formats.md.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
)

PATH: Final = "/api/delivery/1"
"""What every path of this API begins with."""


_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")


def _unhex(value: object) -> object:
    if not isinstance(value, str):
        return value
    if len(value) % 2 or not set(value) <= _HEX_DIGITS:  # bytes.fromhex would skip white space
        raise ValueError("not a string of hex digits")
    return bytes.fromhex(value)


def _long(least: int, most: int) -> AfterValidator:
    """Return a check of a length in bytes; as a constraint it would be described as one of the hex digits."""

    def checked(value: bytes) -> bytes:
        if not least <= len(value) <= most:
            raise ValueError(f"must have {least} to {most} bytes")
        return value

    return AfterValidator(checked)


def _without_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("it holds a NUL character")
    return value


HexBytes = Annotated[
    bytes,
    BeforeValidator(_unhex),
    PlainSerializer(bytes.hex, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^([0-9a-f]{2})+$"}),
]
Key = Annotated[HexBytes, _long(32, 32)]
Salt = Annotated[HexBytes, _long(16, 64)]
UserKey = Annotated[HexBytes, _long(62, 62)]
ProjectKeyWrap = Annotated[HexBytes, _long(82, 82)]
Username = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_without_nul)]


class SecondFactor(StrEnum):
    """What is asked after the password."""

    MAIL = "mail"
    APP = "app"


class _Sent(BaseModel):
    """What the service answers. A newer service may say more than an older client understands."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class _Asked(BaseModel):
    """What a client asks. A field the service does not know is refused, not dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Refusal(_Sent):
    """The body of every answer that is not a success."""

    code: str
    message: str
    facts: dict[str, JsonValue] = {}


class StartLogin(_Asked):
    """Ask what an account's password is derived with."""

    username: Username


class Cost(BaseModel):
    """What one Argon2id run costs. Asked and answered, so what is not known is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    memory_kib: Annotated[int, Field(ge=8 * 1024, le=4 * 1024 * 1024)]
    iterations: Annotated[int, Field(ge=1, le=64)]
    lanes: Annotated[int, Field(ge=1, le=16)]


class Derivation(_Sent):
    """What to derive with. For a name that has no account the answer looks alike."""

    salt: Salt
    cost: Cost


class ProveLogin(_Asked):
    """Prove the password by what follows from it."""

    username: Username
    auth: Annotated[Key, Field(repr=False)]


class SecondFactorWanted(_Sent):
    """``token`` is good for the second factor only, for half an hour. With ``mail`` a code has been sent."""

    token: Annotated[str, Field(repr=False)]
    second_factor: SecondFactor


class GiveCode(_Asked):
    """The code that was mailed (8 digits) or that the authenticator app shows (6)."""

    code: Annotated[str, Field(pattern=r"^[0-9]{6,8}$", repr=False)]


class Session(_Sent):
    """A login. ``agent`` is what the client called itself; ``holds_key`` says whether the service can open its keys."""

    uid: str
    started_at: datetime
    expires_at: datetime
    address: str
    agent: str
    browser: bool
    holds_key: bool
    this: bool


class Account(_Sent):
    """Whose session it is. ``uid`` is what the private key is bound to."""

    uid: str
    username: str
    name: str
    role: str


class LoggedIn(_Sent):
    """The session's token, and the private key for the client to open with its ``kek``.

    ``wanted_cost`` is null, or what the client should derive anew with: ``POST login/upgrade``.
    """

    token: Annotated[str, Field(repr=False)]
    expires_at: datetime
    account: Account
    public_key: Key
    wrapped_private_key: UserKey
    wanted_cost: Cost | None


class UpgradeLogin(_Asked):
    """The same password under another salt and cost, and the same private key sealed under its ``kek``."""

    auth_before: Annotated[Key, Field(repr=False)]
    salt: Salt
    cost: Cost
    auth: Annotated[Key, Field(repr=False)]
    wrapped_private_key: UserKey


class WhoAmI(_Sent):
    """The session that asks, and whose it is."""

    account: Account
    session: Session


class SessionsEnded(_Sent):
    """How many sessions were alive and are not any more, the one that asked included."""

    ended: int


class ProjectKey(_Sent):
    """``wrap`` is the project's private key, wrapped for the caller and bound to the project's public id."""

    project: str
    public_key: Key
    wrap: ProjectKeyWrap


class ProjectStatus(_Sent):
    """Where a project is now, and until when; ``deadline`` is null where there is none."""

    project: str
    status: str
    deadline: datetime | None
