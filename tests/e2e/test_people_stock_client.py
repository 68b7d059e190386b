"""The stock client, unmodified, on people: every command of accounts and access, with what it really prints.

One demo serves all tests of this module; each test arranges for itself and leaves the accounts of others alone.
"""

from __future__ import annotations

import pytest

from tests.e2e.conversation import PASSWORD, LoggedIn, mails_to, refused, row_of, succeeded
from tests.e2e.instance import Instance
from tests.parts.stock_client import YES

pytestmark = [pytest.mark.xdist_group("stock-client"), pytest.mark.slow]

SOIL, YEAST = "unit100001", "unit100002"
R2 = "researchuser_2@demo.example"


def test_everybody_is_told_who_they_are(logged_in: LoggedIn) -> None:
    text = succeeded(logged_in("unitadmin_1").run("user", "info"))
    for fact in (
        "unitadmin_1",
        "Unit Admin",
        "Unit Admin of Sequencing",
        "unitadmin_1@demo.example",
    ):
        assert fact in text


def test_a_unit_admin_invites_lists_and_withdraws(demo: Instance, logged_in: LoggedIn) -> None:
    admin = logged_in("unitadmin_1")
    email = "colleague@demo.example"
    succeeded(
        admin.run("user", "add", email, "--role", "Unit Personnel"),
        f"Pending invite for {email} was successful.",
    )
    assert any("invites you" in subject for subject in mails_to(demo, email))
    listed = admin.run("user", "ls", "--invites")
    succeeded(listed)
    assert row_of(listed, email)[:2] == [email, "Unit Personnel"]
    seen = logged_in("superadmin").run("user", "ls", "--invites")
    assert row_of(seen, email)[:3] == [email, "Sequencing Unit", "Unit Personnel"]
    refused(
        admin.run("user", "add", email, "--role", "Unit Personnel"),
        "This user was already added to the system.",
    )
    refused(
        admin.run("user", "add", "boss@demo.example", "--role", "Super Admin"),
        "You do not have the necessary permissions.",
    )
    withdrawn = admin.run("user", "delete", email, "--is-invite", answers=[YES])
    succeeded(withdrawn, f"The invite connected to email '{email}' has been deleted.")
    assert email not in admin.run("user", "ls", "--invites").output


def test_a_super_admin_invites_to_a_unit_and_finds_people(
    logged_in: LoggedIn,
) -> None:
    boss = logged_in("superadmin")
    email = "imaging@demo.example"
    refused(boss.run("user", "add", email, "--role", "Unit Admin"), "You need to specify a unit")
    succeeded(
        boss.run("user", "add", email, "--role", "Unit Admin", "--unit", "unit_2"),
        f"Pending invite for {email} was successful.",
    )
    succeeded(boss.run("user", "find", "-u", "unituser_2"), "Account exists: Yes")
    succeeded(boss.run("user", "find", "-u", "nobody"), "Account exists: No")
    refused(
        logged_in("unitadmin_1").run("user", "find", "-u", "unituser_2"), "Insufficient credentials"
    )


def test_accounts_are_listed_by_unit_and_all_together(
    logged_in: LoggedIn,
) -> None:
    own = logged_in("unituser_1").run("user", "ls")
    succeeded(own, "Unit Admins and Personnel within unit: Sequencing Unit.")
    assert row_of(own, "unitadmin_1b") == [
        "Second Admin of Sequencing", "unitadmin_1b", "unitadmin_1b@demo.example", "Unit Admin", "✅",
    ]  # fmt: skip
    assert "unituser_2" not in own.output
    everybody = logged_in("superadmin").run("user", "ls")
    succeeded(everybody, "All accounts in the DDS.", "researchuser_1", "unituser_2")
    unit = logged_in("superadmin").run("user", "ls", "--unit", "unit_2")
    succeeded(unit, "unitadmin_2b")
    assert "unitadmin_1b" not in unit.output
    refused(
        logged_in("superadmin").run("user", "ls", "--unit", "nope"),
        "There is no unit with the public id 'nope'.",
    )
    refused(logged_in("researchuser_1").run("user", "ls"), "Insufficient credentials")


def test_a_super_admin_saves_the_addresses_of_unit_users(
    logged_in: LoggedIn,
) -> None:
    boss = logged_in("superadmin")
    succeeded(boss.run("user", "ls", "--save-emails"), "Saved emails to file")
    saved = (boss.work / "unit_user_emails.txt").read_text().split("; ")
    assert {"unitadmin_1@demo.example", "unituser_2@demo.example"} <= set(saved)
    assert "researchuser_1@demo.example" not in saved


def test_access_is_granted_revoked_and_fixed(demo: Instance, logged_in: LoggedIn) -> None:
    staff = logged_in("unituser_1")
    access = ("project", "access")
    granted = staff.run(*access, "grant", "-p", SOIL, "-e", R2, "--owner")
    succeeded(
        granted,
        f"User researchuser_2 was given access to the Project {SOIL} as a Project Owner. "
        "An e-mail notification has not been sent.",
    )
    shown = staff.run("data", "ls", "-p", SOIL, "--users")
    succeeded(shown)
    assert row_of(shown, "researchuser_2") == ["researchuser_2", R2, "Owner"]
    refused(
        staff.run(*access, "grant", "-p", SOIL, "-e", R2, "--owner"),
        f"User researchuser_2 is already associated with the Project {SOIL} in this capacity.",
    )

    owner = logged_in("researchuser_2")
    friend = "friend@demo.example"
    succeeded(
        owner.run(*access, "grant", "-p", SOIL, "-e", friend),
        f"Pending invite for {friend} was successful.",
    )
    assert mails_to(demo, friend)[0].startswith("Second Research User invites you")
    assert row_of(owner.run("user", "ls", "--invites"), friend)[:3] == [
        friend, "Researcher", f"['{SOIL}']",
    ]  # fmt: skip
    assert row_of(owner.run("data", "ls", "-p", SOIL, "--users"), friend) == [
        "NA (Pending)", f"{friend} (Pending)", "Researcher (Pending)",
    ]  # fmt: skip
    succeeded(
        owner.run(*access, "revoke", "-p", SOIL, "-e", friend),
        f"Invited user is no longer associated with the project '{SOIL}'.",
    )
    refused(owner.run(*access, "grant", "-p", YEAST, "-e", friend), "Insufficient credentials")

    succeeded(
        staff.run(*access, "revoke", "-p", SOIL, "-e", R2),
        f"User with email {R2} no longer associated with {SOIL}.",
    )
    refused(owner.run("data", "ls", "-p", SOIL, "--users"), "Project access denied.")
    succeeded(staff.run(*access, "fix", R2, "-p", SOIL), f"Project access updated for user '{R2}'.")
    assert row_of(staff.run("data", "ls", "-p", SOIL, "--users"), R2)[2] == "Researcher"
    succeeded(staff.run(*access, "revoke", "-p", SOIL, "-e", R2))
    refused(
        staff.run(*access, "fix", "unitadmin_1@demo.example"),
        "You do not have the necessary permissions to shared project access with this user.",
    )


def test_a_grant_in_an_available_project_is_mailed_unless_told_otherwise(
    demo: Instance, logged_in: LoggedIn
) -> None:
    staff, email = logged_in("unituser_1"), "researchuser_1@demo.example"
    before = len(mails_to(demo, email))
    for flags, said in (([], "has been sent."), (["--no-mail"], "has not been sent.")):
        succeeded(staff.run("project", "access", "revoke", "-p", YEAST, "-e", email))
        granted = staff.run("project", "access", "grant", "-p", YEAST, "-e", email, *flags)
        succeeded(granted, f"as a Researcher. An e-mail notification {said}")
    subjects = mails_to(demo, email)[before:]
    made = [subject for subject in subjects if subject.startswith("Project made available by")]
    assert len(made) == 1


def test_an_account_is_closed_and_opened_again(demo: Instance, logged_in: LoggedIn) -> None:
    admin, email = logged_in("unitadmin_2"), "unituser_2@demo.example"
    person = logged_in("unituser_2")
    closed = admin.run("user", "deactivate", email, answers=[YES])
    succeeded(
        closed, f"You successfully deactivated the account unituser_2 ({email}, Unit Personnel)!"
    )
    assert person.run("ls").exit_code == 1
    assert row_of(admin.run("user", "ls"), "unituser_2")[-1] == "❌"
    refused(admin.run("user", "deactivate", email, answers=[YES]), "User is already deactivated!")
    opened = admin.run("user", "activate", email, answers=[YES])
    succeeded(
        opened, f"You successfully reactivated the account unituser_2 ({email}, Unit Personnel)!"
    )
    again = person.login("unituser_2", PASSWORD, lambda: demo.code_of("unituser_2"))
    assert again.exit_code == 0, again.output
    succeeded(person.run("ls"), "unit200001")


def test_accounts_are_deleted_by_those_who_may(
    logged_in: LoggedIn,
) -> None:
    admin, boss = logged_in("unitadmin_2"), logged_in("superadmin")
    refused(
        admin.run("user", "delete", R2, answers=[YES]),
        "You can only delete users with the role Unit Admin or Unit Personnel.",
    )
    refused(
        admin.run("user", "delete", "unitadmin_1b@demo.example", answers=[YES]),
        "only delete Unit Admins and Unit Personnel within your specific unit.",
    )
    email = "unitadmin_2c@demo.example"
    succeeded(
        admin.run("user", "delete", email, answers=[YES]),
        f"You successfully deleted the account unitadmin_2c ({email}, Unit Admin)!",
    )
    succeeded(boss.run("user", "find", "-u", "unitadmin_2c"), "Account exists: No")
    refused(
        admin.run("user", "delete", "nobody@demo.example", answers=[YES]),
        "This e-mail address is not associated with a user in the DDS",
    )


def test_somebody_asks_for_their_own_account_to_be_deleted(
    demo: Instance, logged_in: LoggedIn
) -> None:
    person, email = logged_in("unitadmin_1b"), "unitadmin_1b@demo.example"
    refused(
        person.run("user", "delete", "--self", answers=[YES]),
        "Your unit only has 3 Unit Admins. You cannot delete your account.",
    )
    staff, email = logged_in("researchuser_1"), "researchuser_1@demo.example"
    asked = staff.run("user", "delete", "--self", answers=[YES])
    succeeded(
        asked,
        "Requested account deletion initiated. An e-mail with a confirmation link "
        f"has been sent to your address {email}!",
    )
    assert mails_to(demo, email)[-1].startswith("Confirm deletion of your user account")
    assert not staff.token_file.exists()
