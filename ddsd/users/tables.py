"""Accounts and everything that hangs on one. No row lets anybody compute a password or a private key."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field

from ddsd.access import Role
from ddsd.db.base import Table
from ddsd.db.types import EnumText, UtcDateTime


class SecondFactor(StrEnum):
    """How an account proves itself after the password."""

    MAIL = "HOTP"
    APP = "TOTP"


class User(Table, table=True):
    """An account. Without ``auth_verifier`` it has no password yet and nobody can log in to it.

    ``username_folded`` is what look-alike names share (:func:`ddsd.users.names.fold`): no two accounts have the same.
    ``kdf_*`` are the account's own Argon2id salt and cost; ``wrapped_private_key`` is sealed under the key that
    follows from the password (see docs/formats.md).
    """

    __tablename__ = "users"

    id: int = Field(default=None, primary_key=True)
    uid: str = Field(max_length=32, unique=True)
    username: str = Field(max_length=50, unique=True)
    username_folded: str = Field(max_length=50, unique=True)
    name: str = Field(max_length=255)
    role: Role = Field(sa_type=EnumText(Role))
    unit_id: int | None = Field(default=None, foreign_key="units.id", index=True)
    active: bool = Field(default=True)
    kdf_salt: bytes | None = Field(default=None, sa_type=LargeBinary)
    kdf_memory_kib: int = Field(default=0)
    kdf_iterations: int = Field(default=0)
    kdf_lanes: int = Field(default=0)
    auth_verifier: bytes | None = Field(default=None, sa_type=LargeBinary)
    public_key: bytes | None = Field(default=None, sa_type=LargeBinary)
    wrapped_private_key: bytes | None = Field(default=None, sa_type=LargeBinary)
    second_factor: SecondFactor = Field(
        default=SecondFactor.MAIL,
        sa_type=EnumText(SecondFactor),
    )
    totp_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    totp_pending: bytes | None = Field(default=None, sa_type=LargeBinary)
    totp_last_step: int = Field(default=0, sa_type=BigInteger)
    created_at: datetime = Field(sa_type=UtcDateTime)
    password_set_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class UserEmail(Table, table=True):
    """An address of an account, stored as it is compared: normalised. Exactly one is primary."""

    __tablename__ = "user_emails"
    __table_args__ = (
        Index(
            "uq_user_emails_one_primary",
            "user_id",
            unique=True,
            sqlite_where=text("is_primary = 1"),
            postgresql_where=text("is_primary"),
        ),
    )

    id: int = Field(default=None, primary_key=True)
    user_id: int = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    email: str = Field(max_length=254, unique=True)
    is_primary: bool = Field(default=True)


class SessionKind(StrEnum):
    """Where a session's token is kept: by a client, or in a browser's cookie."""

    API = "api"
    WEB = "web"


class Session(Table, table=True):
    """A login. Before the second factor ``second_factor_at`` is null and the session opens nothing.

    ``verifier`` proves the token; ``sealed_private_key`` opens only with what the token carries, and is null where the
    client opens its private key itself. ``agent`` is what the client calls itself, ``challenge`` what a passkey is to
    sign now.
    """

    __tablename__ = "sessions"

    id: int = Field(default=None, primary_key=True)
    uid: str = Field(max_length=32, unique=True)
    user_id: int = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    verifier: bytes = Field(sa_type=LargeBinary)
    sealed_private_key: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    second_factor_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_because: str = Field(default="", max_length=40)
    address: str = Field(default="", max_length=45)
    kind: SessionKind = Field(default=SessionKind.API, sa_type=EnumText(SessionKind))
    agent: str = Field(default="", max_length=200)
    challenge: bytes | None = Field(default=None, sa_type=LargeBinary)


class OneTimeCode(Table, table=True):
    """Which code was last mailed to an account: a counter, from which only the instance key leads to the code."""

    __tablename__ = "one_time_codes"

    user_id: int = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    counter: int = Field(default=0, sa_type=BigInteger)
    issued_at: datetime = Field(sa_type=UtcDateTime)
    used: bool = Field(default=False)


class LinkKind(StrEnum):
    """What a one-time link does when it is followed."""

    SET_PASSWORD = "set-password"  # noqa: S105 - the name of a page
    RESET_PASSWORD = "reset-password"  # noqa: S105 - the name of a page
    ACTIVATE_APP = "activate-app"
    ACTIVATE_MAIL = "activate-mail"
    CONFIRM_DELETION = "confirm-deletion"
    CONFIRM_EMAIL = "confirm-email"


class OneTimeLink(Table, table=True):
    """A link that was mailed or shown to the person of an account; one of a kind at a time, gone when used.

    ``email`` is the address that the link proves, where it proves one.
    """

    __tablename__ = "one_time_links"
    __table_args__ = (UniqueConstraint("user_id", "kind"),)

    id: int = Field(default=None, primary_key=True)
    user_id: int = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    kind: LinkKind = Field(sa_type=EnumText(LinkKind))
    secret_hash: bytes = Field(sa_type=LargeBinary, unique=True)
    email: str = Field(default="", max_length=254)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)


class Passkey(Table, table=True):
    """A WebAuthn credential: the second factor of a web login. ``public_key`` is COSE, as the authenticator gave it."""

    __tablename__ = "passkeys"

    id: int = Field(default=None, primary_key=True)
    user_id: int = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    credential_id: bytes = Field(sa_type=LargeBinary, unique=True)
    public_key: bytes = Field(sa_type=LargeBinary)
    sign_count: int = Field(default=0, sa_type=BigInteger)
    name: str = Field(max_length=100)
    created_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RecoveryCode(Table, table=True):
    """A code that stands in for the second factor, once. Only its keyed hash is kept."""

    __tablename__ = "recovery_codes"

    id: int = Field(default=None, primary_key=True)
    user_id: int = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    code_hash: bytes = Field(sa_type=LargeBinary, unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Invite(Table, table=True):
    """Somebody asked to join. Their key pair waits, sealed under the secret that only the link carries."""

    __tablename__ = "invites"

    id: int = Field(default=None, primary_key=True)
    uid: str = Field(max_length=32, unique=True)
    email: str = Field(max_length=254, unique=True)
    role: Role = Field(sa_type=EnumText(Role))
    unit_id: int | None = Field(default=None, foreign_key="units.id", index=True)
    secret_hash: bytes = Field(sa_type=LargeBinary, unique=True)
    public_key: bytes = Field(sa_type=LargeBinary)
    sealed_private_key: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)


class AttemptWindow(Table, table=True):
    """How often something was tried in one window of time: rate limits that outlive a restart."""

    __tablename__ = "attempt_windows"

    subject: str = Field(primary_key=True, max_length=200)
    window_start: int = Field(primary_key=True, sa_type=BigInteger)
    attempts: int = Field(default=0)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
