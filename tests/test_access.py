"""Who may do what at all: the table against the wire contract, section 3, and the actors against the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ddsd.access import (
    PERMISSIONS,
    Action,
    Actor,
    Member,
    Nobody,
    Operator,
    Role,
    System,
    allowed,
    require,
    require_member,
)
from ddsd.errors import Forbidden

SA, UA, UP, R = Role.SUPER_ADMIN, Role.UNIT_ADMIN, Role.UNIT_PERSONNEL, Role.RESEARCHER
# Columns: super admin, unit admin, unit personnel, researcher.
TABLE = {
    Action.SEE_OWN_ACCOUNT: (True, True, True, True),
    Action.LIST_PROJECTS: (True, True, True, True),
    Action.SEE_PROJECT: (True, True, True, True),
    Action.CREATE_PROJECT: (False, True, True, False),
    Action.CHANGE_STATUS: (False, True, True, False),
    Action.RESTORE_PROJECT: (False, True, False, False),
    Action.PURGE_PROJECT: (False, False, False, False),
    Action.DESCRIBE_PROJECT: (False, True, True, True),
    Action.LIST_BUSY: (True, False, False, False),
    Action.UPLOAD: (False, True, True, False),
    Action.LIST_FILES: (False, True, True, True),
    Action.DOWNLOAD: (False, True, True, True),
    Action.OPEN_PROJECT_KEY: (False, True, True, True),
    Action.ADD_PEOPLE: (True, True, True, False),
    Action.MANAGE_ACCESS: (False, True, True, False),
    Action.SWITCH_ACCOUNTS: (True, True, False, False),
    Action.DELETE_PEOPLE: (True, True, False, False),
    Action.DELETE_SELF: (False, True, True, True),
    Action.LIST_PEOPLE: (True, True, True, False),
    Action.LIST_INVITES: (True, True, True, True),
    Action.FIND_PEOPLE: (True, False, False, False),
    Action.KEEP_RECOVERY_KIT: (False, True, False, False),
    Action.RESET_SECOND_FACTOR: (True, False, False, False),
    Action.SEE_USAGE: (True, True, True, False),
    Action.SEE_STATISTICS: (True, False, False, False),
    Action.INFORM_ALL: (True, False, False, False),
    Action.CLOSE_SERVICE: (True, False, False, False),
    Action.LIST_UNITS: (True, False, False, False),
    Action.OPERATE: (False, False, False, False),
}


def member(role: Role) -> Member:
    return Member(1, "u" * 32, "name", "Name", role, None, 1)


@pytest.mark.parametrize("action", TABLE)
def test_roles_may_what_the_contract_grants(action: Action) -> None:
    assert tuple(allowed(member(role), action) for role in (SA, UA, UP, R)) == TABLE[action]


@pytest.mark.parametrize("action", TABLE)
def test_a_project_owner_may_let_people_in_and_out_besides(action: Action) -> None:
    owner = replace(member(R), owns="unit100001")
    besides = {Action.ADD_PEOPLE, Action.MANAGE_ACCESS}
    assert allowed(owner, action) == (TABLE[action][3] or action in besides)


def test_every_action_has_a_line() -> None:
    assert set(PERMISSIONS) == set(Action)


@pytest.mark.parametrize("action", Action)
def test_an_operator_operates_changes_statuses_informs_closes_and_does_nothing_else(
    action: Action,
) -> None:
    may = {
        Action.OPERATE,
        Action.CHANGE_STATUS,
        Action.RESTORE_PROJECT,
        Action.PURGE_PROJECT,
        Action.LIST_BUSY,
        Action.INFORM_ALL,
        Action.CLOSE_SERVICE,
        Action.LIST_UNITS,
    }
    assert allowed(Operator(0, "root"), action) == (action in may)


@pytest.mark.parametrize("action", Action)
def test_nobody_may_nothing_and_the_daemon_all(action: Action) -> None:
    assert not allowed(Nobody(), action)
    assert allowed(System(), action)


@pytest.mark.parametrize("actor", [Nobody(), member(R), Operator(0, "root")])
def test_a_refusal_says_no_more_than_that(actor: Actor) -> None:
    with pytest.raises(Forbidden, match=r"^Insufficient credentials$"):
        require(actor, Action.CREATE_PROJECT)


@pytest.mark.parametrize("actor", [System(), Operator(0, "root"), Nobody()])
def test_only_a_member_is_a_member(actor: Actor) -> None:
    with pytest.raises(Forbidden):
        require_member(actor, Action.OPEN_PROJECT_KEY)
    assert require_member(member(UP), Action.OPEN_PROJECT_KEY).is_unit_user


def test_the_audit_log_tells_actors_apart() -> None:
    labels = [one.label for one in (Operator(7, "eva"), member(UA), System(), Nobody())]
    assert labels == ["operator eva (uid 7)", "user name", "system", "nobody"]
