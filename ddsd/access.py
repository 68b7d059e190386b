"""Who may do what: roles, actions, one table, and the actors that act.

The roles and their permissions are those of the wire contract, section 3. Whether somebody belongs to a *given*
project is not decided here but in :mod:`ddsd.projects.gate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ddsd.errors import Forbidden


class Role(StrEnum):
    """What an account is. A project owner is a researcher with a flag in one project."""

    SUPER_ADMIN = "Super Admin"
    UNIT_ADMIN = "Unit Admin"
    UNIT_PERSONNEL = "Unit Personnel"
    RESEARCHER = "Researcher"


UNIT_ROLES: Final = frozenset({Role.UNIT_ADMIN, Role.UNIT_PERSONNEL})


class Action(StrEnum):
    """What can be asked of the service."""

    SEE_OWN_ACCOUNT = "see own account"
    LIST_PROJECTS = "list projects"
    SEE_PROJECT = "see project"
    CREATE_PROJECT = "create project"
    CHANGE_STATUS = "change status"
    RESTORE_PROJECT = "restore project"
    PURGE_PROJECT = "purge project"
    DESCRIBE_PROJECT = "describe project"
    LIST_BUSY = "list busy projects"
    UPLOAD = "upload"
    LIST_FILES = "list files"
    DOWNLOAD = "download"
    OPEN_PROJECT_KEY = "open project key"
    ADD_PEOPLE = "add people"
    MANAGE_ACCESS = "manage access"
    SWITCH_ACCOUNTS = "switch accounts"
    DELETE_PEOPLE = "delete people"
    DELETE_SELF = "delete own account"
    LIST_PEOPLE = "list people"
    LIST_INVITES = "list invites"
    FIND_PEOPLE = "find people"
    KEEP_RECOVERY_KIT = "keep recovery kit"
    RESET_SECOND_FACTOR = "reset second factor"
    SEE_USAGE = "see usage"
    SEE_STATISTICS = "see statistics"
    INFORM_ALL = "inform everybody"
    CLOSE_SERVICE = "close the service"
    LIST_UNITS = "list units"
    OPERATE = "operate"


_ALL = frozenset(Role)
_SEES_DATA = _ALL - {Role.SUPER_ADMIN}

PERMISSIONS: Final[Mapping[Action, frozenset[Role]]] = {
    Action.SEE_OWN_ACCOUNT: _ALL,
    Action.LIST_PROJECTS: _ALL,
    Action.SEE_PROJECT: _ALL,
    Action.CREATE_PROJECT: UNIT_ROLES,
    Action.CHANGE_STATUS: UNIT_ROLES,
    Action.RESTORE_PROJECT: frozenset({Role.UNIT_ADMIN}),
    Action.PURGE_PROJECT: frozenset(),
    Action.DESCRIBE_PROJECT: _SEES_DATA,
    Action.LIST_BUSY: frozenset({Role.SUPER_ADMIN}),
    Action.UPLOAD: UNIT_ROLES,
    Action.LIST_FILES: _SEES_DATA,
    Action.DOWNLOAD: _SEES_DATA,
    Action.OPEN_PROJECT_KEY: _SEES_DATA,
    Action.ADD_PEOPLE: UNIT_ROLES | {Role.SUPER_ADMIN},
    Action.MANAGE_ACCESS: UNIT_ROLES,
    Action.SWITCH_ACCOUNTS: frozenset({Role.SUPER_ADMIN, Role.UNIT_ADMIN}),
    Action.DELETE_PEOPLE: frozenset({Role.SUPER_ADMIN, Role.UNIT_ADMIN}),
    Action.DELETE_SELF: _SEES_DATA,
    Action.LIST_PEOPLE: UNIT_ROLES | {Role.SUPER_ADMIN},
    Action.LIST_INVITES: _ALL,
    Action.FIND_PEOPLE: frozenset({Role.SUPER_ADMIN}),
    Action.KEEP_RECOVERY_KIT: frozenset({Role.UNIT_ADMIN}),
    Action.RESET_SECOND_FACTOR: frozenset({Role.SUPER_ADMIN}),
    # Super admins are told so in words of their own (wire contract, section 3): ddsd.usage.reports.
    Action.SEE_USAGE: UNIT_ROLES | {Role.SUPER_ADMIN},
    Action.SEE_STATISTICS: frozenset({Role.SUPER_ADMIN}),
    Action.INFORM_ALL: frozenset({Role.SUPER_ADMIN}),
    Action.CLOSE_SERVICE: frozenset({Role.SUPER_ADMIN}),
    Action.LIST_UNITS: frozenset({Role.SUPER_ADMIN}),
    Action.OPERATE: frozenset(),
}
OWNERS_MAY: Final = frozenset({Action.ADD_PEOPLE, Action.MANAGE_ACCESS})
"""What a researcher may besides, in a project of which they are owner."""
OPERATORS_MAY: Final = frozenset(
    {
        Action.OPERATE,
        Action.CHANGE_STATUS,
        Action.RESTORE_PROJECT,
        Action.PURGE_PROJECT,
        Action.LIST_BUSY,
        Action.INFORM_ALL,
        Action.CLOSE_SERVICE,
        Action.LIST_UNITS,
    }
)
"""What somebody on this machine may. Nothing of it needs a key."""
NOT_THIS_ROLE: Final = "Insufficient credentials"
"""What the wire contract, section 3, says to whoever may not do a thing in whatever project."""


@dataclass(frozen=True)
class Operator:
    """Somebody on this machine, known by the socket's peer credentials. Has no password, so no keys."""

    uid: int
    name: str

    @property
    def label(self) -> str:
        """Return how the audit log names them."""
        return f"operator {self.name} (uid {self.uid})"


@dataclass(frozen=True)
class Member:
    """A logged-in account.

    ``owns`` is the project, by its public id, that a researcher is owner of and has named in this request: in it, and
    in no other, they are a project owner.
    """

    user_id: int
    uid: str
    username: str
    name: str
    role: Role
    unit_id: int | None
    session_id: int
    owns: str | None = None

    @property
    def label(self) -> str:
        """Return how the audit log names them."""
        return f"user {self.username}"

    @property
    def is_unit_user(self) -> bool:
        """Say whether they work for a unit."""
        return self.role in UNIT_ROLES


@dataclass(frozen=True)
class System:
    """The daemon itself: jobs and schedules."""

    label: str = "system"


@dataclass(frozen=True)
class Nobody:
    """Somebody who has not logged in."""

    label: str = "nobody"


Actor = Operator | Member | System | Nobody


def allowed(actor: Actor, action: Action) -> bool:
    """Say whether ``actor`` may do ``action`` at all, in whatever project."""
    match actor:
        case Member(role=role, owns=owned):
            return role in PERMISSIONS[action] or (owned is not None and action in OWNERS_MAY)
        case Operator():
            return action in OPERATORS_MAY
        case System():
            return True
        case Nobody():
            return False


def require(actor: Actor, action: Action) -> None:
    """Refuse unless ``actor`` may do ``action``.

    Raises:
        Forbidden: they may not.
    """
    if not allowed(actor, action):
        raise Forbidden(NOT_THIS_ROLE)


def require_member(actor: Actor, action: Action) -> Member:
    """Return the member that ``actor`` is, if they may do ``action``.

    Raises:
        Forbidden: they may not, or are no member.
    """
    require(actor, action)
    if not isinstance(actor, Member):
        raise Forbidden(NOT_THIS_ROLE)
    return actor
