"""Every way the domain says no: one tree, a stable ``code`` per leaf, and nothing about HTTP.

A message is written for the person who reads it and says what to do next where that is not obvious.
Each plane maps the leaves to its own statuses in one table; a test demands that none is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class DdsError(Exception):
    """Root of everything the domain refuses or cannot do."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts: Mapping[str, object] = facts


class InvalidInput(DdsError):
    """What was sent cannot be used as it is."""

    code = "invalid_input"


class InvalidFields(InvalidInput):
    """One or more named fields cannot be used; ``fields`` maps each to its messages."""

    code = "invalid_fields"

    def __init__(self, fields: Mapping[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {' '.join(why)}" for name, why in fields.items()))
        self.fields = dict(fields)


class MissingField(InvalidInput):
    """A required field is absent or null."""

    code = "missing_field"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TooLarge(InvalidInput):
    """The request's body is over the limit."""

    code = "too_large"


class NotFound(DdsError):
    """What was asked for does not exist, or is not the caller's to know of."""

    code = "not_found"


class Conflict(DdsError):
    """It exists already, or its state does not allow this now."""

    code = "conflict"


class AlreadyExists(Conflict):
    """Something of that name is there already."""

    code = "already_exists"


class WrongStatus(Conflict):
    """The project's status does not allow this."""

    code = "wrong_status"


class Busy(Conflict):
    """The same thing is being done already; try again later."""

    code = "busy"


class QuotaExceeded(Conflict):
    """The unit's quota does not allow more; ``used_bytes`` and ``quota_bytes`` are among the facts."""

    code = "quota_exceeded"


class NotAuthenticated(DdsError):
    """Nobody is logged in: no token, a bad one, an old one, or a wrong password."""

    code = "not_authenticated"


class SecondFactorRequired(NotAuthenticated):
    """The password was right; the second factor is still missing."""

    code = "second_factor_required"


class Forbidden(DdsError):
    """The caller is known and may not do this."""

    code = "forbidden"


class AccessLost(Forbidden):
    """The caller may see the project but holds no key that opens it."""

    code = "access_lost"


class KeyAtClient(Forbidden):
    """This login never gave the service the caller's private key; only the client can open what is needed."""

    code = "key_at_client"


class UnknownSubject(Forbidden):
    """The token is genuine but its account or session is gone."""

    code = "unknown_subject"


class IncompatibleClient(Forbidden):
    """The client's version does not fit this service."""

    code = "incompatible_client"


class TooManyRequests(DdsError):
    """Slow down; ``retry_after_s`` says for how many seconds."""

    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.retry_after_s = retry_after_s


class Unavailable(DdsError):
    """Something this service needs is away for now; trying again later may help."""

    code = "unavailable"


class StoreUnavailable(Unavailable):
    """The object store does not answer, or answers that it cannot."""

    code = "store_unavailable"


class MailUnavailable(Unavailable):
    """The mail server does not take the message."""

    code = "mail_unavailable"


class MailRefused(DdsError):
    """The mail server refuses the message for good; another try will not help."""

    code = "mail_refused"


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database_unavailable"


class UnderMaintenance(Unavailable):
    """The operator has closed the service for a while."""

    code = "under_maintenance"


class StoreRefused(DdsError):
    """The object store understood and said no: an operator's matter."""

    code = "store_refused"


class StoreObjectMissing(NotFound):
    """The object store has no such object or bucket."""

    code = "store_object_missing"


class SealBroken(DdsError):
    """A sealed blob does not open: wrong key, wrong purpose, or damaged."""

    code = "seal_broken"


class ConfigurationError(DdsError):
    """The configuration cannot be used; the message names the key and what to do."""

    code = "configuration"
