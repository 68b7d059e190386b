"""Every command and option of the stock client 2.15.1, and which test exercises it against a running daemon.

Invariant (tests/e2e/test_command_list.py): the commands and options here are those that the installed client's `--help`
shows, no fewer and no more, and each test named here spells the command and the option out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Exercise:
    """A command, or `dds` itself; the test that gives it; and the options and arguments it is given there."""

    command: str
    test: str
    given: str = ""


_PEOPLE: Final = "test_people_stock_client.py"
_EVERY: Final = "test_every_command.py"

HELP: Final = "--help"
"""What the list itself is read from, for each command; so no test is named for it."""


def _people(command: str, test: str, given: str = "") -> Exercise:
    return Exercise(command, f"{_PEOPLE}::{test}", given)


def _every(command: str, test: str, given: str = "") -> Exercise:
    return Exercise(command, f"{_EVERY}::{test}", given)


EXERCISES: Final = (
    _every("dds", "test_a_project_is_made_with_every_option", "--verbose --no-prompt"),
    _every(
        "dds",
        "test_a_session_is_kept_where_it_is_told_and_ended",
        "--force-no-log --log-file --token-path --version",
    ),
    _every(
        "dds ls",
        "test_projects_are_listed_in_every_form",
        "--projects --show-all --usage --sort --binary --json",
    ),
    _every(
        "dds ls",
        "test_contents_are_listed_in_every_form",
        "--project --folder --size --tree --users --json",
    ),
    _every("dds auth login", "test_a_session_is_kept_where_it_is_told_and_ended", "--allow-group"),
    _every("dds auth login", "test_the_second_factor_is_an_app_and_a_mailed_code_again", "--totp"),
    _every("dds auth logout", "test_a_session_is_kept_where_it_is_told_and_ended"),
    _every("dds auth info", "test_a_session_is_kept_where_it_is_told_and_ended"),
    _every(
        "dds auth twofactor configure", "test_the_second_factor_is_an_app_and_a_mailed_code_again"
    ),
    _every(
        "dds auth twofactor deactivate",
        "test_the_second_factor_is_an_app_and_a_mailed_code_again",
        "--username",
    ),
    _people("dds user ls", "test_a_unit_admin_invites_lists_and_withdraws", "--invites"),
    _people("dds user ls", "test_accounts_are_listed_by_unit_and_all_together", "--unit"),
    _people("dds user ls", "test_a_super_admin_saves_the_addresses_of_unit_users", "--save-emails"),
    _people("dds user find", "test_a_super_admin_invites_to_a_unit_and_finds_people", "--username"),
    _people(
        "dds user add",
        "test_a_super_admin_invites_to_a_unit_and_finds_people",
        "EMAIL --role --unit",
    ),
    _every(
        "dds user add",
        "test_a_project_is_made_with_every_option",
        "EMAIL --project --role --no-mail",
    ),
    _people(
        "dds user delete", "test_a_unit_admin_invites_lists_and_withdraws", "EMAIL --is-invite"
    ),
    _people("dds user delete", "test_accounts_are_deleted_by_those_who_may", "EMAIL"),
    _people("dds user delete", "test_somebody_asks_for_their_own_account_to_be_deleted", "--self"),
    _people("dds user info", "test_everybody_is_told_who_they_are"),
    _people("dds user activate", "test_an_account_is_closed_and_opened_again", "EMAIL"),
    _people("dds user deactivate", "test_an_account_is_closed_and_opened_again", "EMAIL"),
    _every(
        "dds project ls",
        "test_projects_are_listed_in_every_form",
        "--sort --usage --json --show-all",
    ),
    _every(
        "dds project create",
        "test_a_project_is_made_with_every_option",
        "--title --description --principal-investigator --researcher --owner --non-sensitive",
    ),
    _every(
        "dds project status display",
        "test_a_release_is_taken_back_and_repeated",
        "--project --show-history",
    ),
    _every(
        "dds project status release",
        "test_a_release_is_taken_back_and_repeated",
        "--project --deadline --no-mail",
    ),
    _every(
        "dds project status retract",
        "test_a_release_is_taken_back_and_repeated",
        "--project",
    ),
    _every(
        "dds project status archive",
        "test_projects_end_in_the_background_while_the_store_hangs",
        "--project",
    ),
    _every(
        "dds project status archive",
        "test_projects_are_aborted_and_deleted_if_one_is_sure",
        "--project --abort",
    ),
    _every(
        "dds project status delete",
        "test_projects_are_aborted_and_deleted_if_one_is_sure",
        "--project",
    ),
    _every(
        "dds project status extend",
        "test_a_deadline_is_extended_twice_and_no_more",
        "--project --new-deadline",
    ),
    _every(
        "dds project status busy",
        "test_projects_end_in_the_background_while_the_store_hangs",
        "--show",
    ),
    _people(
        "dds project access grant",
        "test_access_is_granted_revoked_and_fixed",
        "--project --email --owner",
    ),
    _people(
        "dds project access grant",
        "test_a_grant_in_an_available_project_is_mailed_unless_told_otherwise",
        "--project --email --no-mail",
    ),
    _people(
        "dds project access revoke", "test_access_is_granted_revoked_and_fixed", "--project --email"
    ),
    _people(
        "dds project access fix", "test_access_is_granted_revoked_and_fixed", "EMAIL --project"
    ),
    _every("dds project info display", "test_a_project_is_made_with_every_option", "--project"),
    _every(
        "dds project info change",
        "test_a_project_is_made_with_every_option",
        "--project --title --description --principal-investigator",
    ),
    _every(
        "dds data put",
        "test_data_is_put_with_every_option",
        "--mount-dir --project --source --source-path-file --num-threads --destination --overwrite "
        "--break-on-fail --silent",
    ),
    _every(
        "dds data get",
        "test_data_is_got_with_every_option",
        "--project --num-threads --source --destination --break-on-fail --silent",
    ),
    _every(
        "dds data get",
        "test_what_a_file_lists_is_got_although_the_client_then_breaks",
        "--project --source-path-file",
    ),
    _every(
        "dds data get",
        "test_data_is_put_with_every_option",
        "--project --get-all --verify-checksum",
    ),
    _every(
        "dds data ls",
        "test_contents_are_listed_by_data_ls_as_well",
        "--project --folder --json --size --tree --users",
    ),
    _every(
        "dds data rm",
        "test_data_is_removed_by_file_by_folder_and_altogether",
        "--project --folder --file --rm-all",
    ),
    _every("dds unit ls", "test_a_super_admin_sees_units_and_statistics"),
    _every(
        "dds motd add", "test_a_message_of_the_day_is_shown_mailed_once_and_taken_away", "MESSAGE"
    ),
    _every("dds motd ls", "test_a_message_of_the_day_is_shown_mailed_once_and_taken_away"),
    _every(
        "dds motd deactivate",
        "test_a_message_of_the_day_is_shown_mailed_once_and_taken_away",
        "MOTD_ID",
    ),
    _every(
        "dds motd send",
        "test_a_message_of_the_day_is_shown_mailed_once_and_taken_away",
        "MOTD_ID --unit-only",
    ),
    _every(
        "dds maintenance",
        "test_maintenance_closes_the_service_for_all_but_super_admins",
        "SETTING",
    ),
    _every("dds stats", "test_a_super_admin_sees_units_and_statistics"),
)


def exercised_by() -> Mapping[str, frozenset[str]]:
    """Return, for each command, the tests that exercise it."""
    found: dict[str, frozenset[str]] = {}
    for one in EXERCISES:
        found[one.command] = found.get(one.command, frozenset()) | {one.test}
    return found


def given_to() -> Mapping[str, frozenset[str]]:
    """Return, for each command, what it is given by some test."""
    found: dict[str, frozenset[str]] = {}
    for one in EXERCISES:
        found[one.command] = found.get(one.command, frozenset()) | set(one.given.split())
    return found
