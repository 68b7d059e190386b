"""The stock client, unmodified: its commands and options (:mod:`tests.e2e.commands`), with what they really print.

One demo serves all tests of this module. Each makes the projects it needs over the wire, which costs nothing, and
leaves those of others alone; what is put or got is compared byte for byte.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyotp
import pytest

from tests.e2e.conversation import (
    PASSWORD,
    LoggedIn,
    json_of,
    mails_to,
    refused,
    row_of,
    succeeded,
)
from tests.e2e.instance import Instance
from tests.parts.stock_client import DOWN, NO, YES, Answer, StockClient
from tests.web.pages import Page

pytestmark = [pytest.mark.xdist_group("stock-client"), pytest.mark.slow]

SENDER = "unituser_1"
R1, R2 = "researchuser_1@demo.example", "researchuser_2@demo.example"
FILES = {
    "sub/reads.txt": b"ACGT\n" * 1000,
    "sub/deep/plate.bin": bytes(range(256)) * 100,
    "rest/table.csv": b"1,2\n",
    "one.txt": b"one\n",
    "empty": b"",
}
DATE = "%a, %d %b %Y %H:%M:%S"
NOT_TWICE = "The specified data has already been uploaded."


def new_project(demo: Instance, client: StockClient, title: str) -> str:
    """Make a project over the wire, as whoever the client is logged in as; return its public id."""
    made = ask(demo, client, "POST", "/proj/create", title=title, description="For a test", pi=R1)
    return str(made["project_id"])


def ask(
    demo: Instance, client: StockClient, method: str, path: str, project: str = "", **body: Any
) -> Any:
    """Send one request as the client would; return the answer."""
    answer = httpx.request(
        method,
        f"http://127.0.0.1:{demo.port}/api/v1{path}",
        params={"project": project} if project else None,
        headers={
            "X-CLI-Version": "2.15.1",
            "Authorization": f"Bearer {client.token_file.read_text()}",
        },
        json=body,
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def write(root: Path, files: dict[str, bytes]) -> Path:
    """Write the files below ``root`` and return it."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def files_below(root: Path) -> dict[str, bytes]:
    """Return every file below ``root``: its path from there, and its bytes."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def below(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files as they are called when they lie in ``folder``."""
    return {f"{folder}/{name}": content for name, content in files.items()}


def sizes(folder: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the files and their sizes of a tree that was printed with `--json --tree --size`."""
    found: dict[str, float] = {}
    for name, one in folder.items():
        assert one["name"] == name
        if one["is_folder"]:
            found |= sizes(one["children"], f"{prefix}{name}/")
        else:
            found[prefix + name] = one["size"]
    return found


def wait_for_job(demo: Instance, project: str) -> dict[str, Any]:
    """Wait until the newest job about a project is over; return it."""
    job = next(one for one in demo.ctl("jobs", "ls") if one["subject"] == project)
    ended: dict[str, Any] = demo.ctl("jobs", "wait", str(job["id"]))
    return ended


@dataclass(frozen=True)
class Delivery:
    """A project with :data:`FILES` in its folder ``run``, and who has put them there."""

    client: StockClient
    project: str


@pytest.fixture(scope="module")
def delivery(demo: Instance, logged_in: LoggedIn) -> Delivery:
    """A project to list and to get, with people; it stays In Progress."""
    client = logged_in(SENDER)
    project = new_project(demo, client, "To be listed")
    for email, role in ((R1, "Researcher"), (R2, "Project Owner")):
        ask(demo, client, "POST", "/user/add", project, email=email, role=role)
    put(client, project, "run")
    return Delivery(client, project)


def put(client: StockClient, project: str, folder: str) -> None:
    """Put :data:`FILES` into a folder of a project."""
    write(client.work / folder, FILES)
    succeeded(client.run("data", "put", "-p", project, "-s", folder), "Upload completed!")


def test_a_project_is_made_with_every_option(demo: Instance, logged_in: LoggedIn) -> None:
    staff = logged_in(SENDER)
    made = staff.run(
        "--no-prompt", "--verbose", "project", "create", "--title", "All options",
        "--description", "Made by the client", "--principal-investigator", "pi@demo.example",
        "--researcher", R1, "--researcher", "new@demo.example", "--owner", R2, "--non-sensitive",
    )  # fmt: skip
    text = succeeded(
        made,
        "Project created with id: unit1",
        "User researchuser_2 was given access to the Project",
        "as a Project Owner. An e-mail notification has not been sent.",
        "Invitation sent to new@demo.example.",
        "DEBUG Token retrieved from file.",
    )
    project = text.partition("created with id: ")[2].split()[0]
    assert any("invites you" in subject for subject in mails_to(demo, "new@demo.example"))

    shown = logged_in("researchuser_2").run("project", "info", "display", "--project", project)
    succeeded(shown, "Project title: All options", "Project description: Made by the client")
    unit = "Sequencing Unit of the Demo Facility"  # to researchers; the unit's own see who it was
    assert row_of(shown, project)[:3] == [project, unit, "In Progress"]

    changed = staff.run(
        "project", "info", "change", "--project", project, "--title", "Another title",
        "--description", "Other words", "--principal-investigator", "boss@demo.example",
        answers=[YES, YES, YES],
    )  # fmt: skip
    succeeded(
        changed,
        "from All options to Another title",
        "from pi@demo.example to boss@demo.example",
        f"Project {project} info was successfully updated.",
        "Project title: Another title Project description: Other words "
        "Project PI: boss@demo.example",
    )
    succeeded(
        staff.run(
            "user", "add", "newer@demo.example", "--project", project, "--role", "Researcher",
            "--no-mail",
        ),
        "Pending invite for newer@demo.example was successful.",
    )  # fmt: skip


def test_a_project_that_cannot_be_is_refused_in_the_words_of_the_field(logged_in: LoggedIn) -> None:
    refused(
        logged_in(SENDER).run(
            "project", "create", "--title", "Bad!", "--description", "x",
            "--principal-investigator", "pi@demo.example",
        ),
        "Failed to create project: The character '!' within 'Bad!' is not allowed.",
    )  # fmt: skip


def test_data_is_put_with_every_option(demo: Instance, logged_in: LoggedIn) -> None:
    """Each in a directory of its own: the client names them by the second."""
    staff = logged_in(SENDER)
    project = new_project(demo, staff, "Put")
    write(staff.work / "in", FILES)
    (staff.work / "list.txt").write_text("in/rest\nin/empty\n")
    first = staff.run(
        "data", "put", "--project", project, "--source", "in/sub", "--source", "in/one.txt",
        "--source-path-file", "list.txt", "--num-threads", "2", "--destination", "lab/run 1",
        "--mount-dir", "staging", "--silent",
    )  # fmt: skip
    succeeded(first, "Upload completed!")
    assert "one.txt" not in first.stderr
    (staging,) = staff.work.glob(f"staging/DataDelivery_*_{project}_upload")
    assert files_below(staging / "files") == {}
    assert len(files_below(staging / "logs")) == 1

    write(staff.work / "in", {"one.txt": b"eins\n", "two.txt": b"two\n"})
    again = ("data", "put", "--project", project, "--destination", "lab/run 1")
    one, two = ("--source", "in/one.txt"), ("--source", "in/two.txt")
    refused(staff.run(*again, *one, "--mount-dir", "2nd"), NOT_TWICE)
    cautious = staff.run(*again, *one, *two, "--mount-dir", "3rd", "--break-on-fail")
    refused(cautious, "'--break-on-fail' flag was used.")
    bold = staff.run(*again, *one, *two, "--mount-dir", "4th", "--overwrite")
    succeeded(bold, "Upload completed!")

    got = staff.run("data", "get", "-p", project, "--get-all", "--verify-checksum")
    succeeded(got, "Download completed!", "DataDelivery_")
    (destination,) = staff.work.glob(f"DataDelivery_*_{project}_download")
    expected = FILES | {"one.txt": b"eins\n", "two.txt": b"two\n"}
    assert files_below(destination / "files") == below("lab/run 1", expected)


def test_contents_are_listed_in_every_form(delivery: Delivery) -> None:
    staff, project = delivery.client, delivery.project
    tree = staff.run("ls", "--project", project, "--tree", "--size")
    succeeded(tree, f"Files & directories in project: {project}/", "└── run/")
    assert [line.split()[-2:] for line in tree.stdout.splitlines() if "plate.bin" in line] == [
        ["25.6", "KB"]
    ]
    whole = json_of(staff.run("ls", "--project", project, "--json", "--tree", "--size", "--users"))
    assert whole["project_name"] == project
    assert {(one["User Name"], one["Role"]) for one in whole["users"]} == {
        ("researchuser_1", "Researcher"),
        ("researchuser_2", "Owner"),
    }
    expected = {name: len(content) for name, content in below("run", FILES).items()}
    assert sizes(whole["project_files_and_directories"]) == expected

    asked = staff.run(
        "ls", "--project", project, "--folder", "run", "--users",
        answers=[Answer("Folder:", "sub"), Answer("Folder:", "deep"), Answer("Folder:", "")],
    )  # fmt: skip
    succeeded(asked, "Showing files in folder 'run/sub/deep'", "└── plate.bin")
    assert row_of(asked, R1) == ["researchuser_1", R1, "Researcher"]


def test_contents_are_listed_by_data_ls_as_well(delivery: Delivery) -> None:
    staff, project = delivery.client, delivery.project
    folder = staff.run(
        "data", "ls", "--project", project, "--folder", "run/sub", "--size", "--users"
    )
    succeeded(folder, "run/sub ├── deep/ 25.6KB └── reads.txt 5.0KB")
    assert row_of(folder, R2) == ["researchuser_2", R2, "Owner"]
    whole = json_of(staff.run("data", "ls", "--project", project, "--json", "--tree"))
    (run,) = whole["project_files_and_directories"].values()
    assert sorted(run["children"]) == ["empty", "one.txt", "rest", "sub"]


def test_data_is_got_with_every_option(delivery: Delivery) -> None:
    staff, project = delivery.client, delivery.project
    got = staff.run(
        "data", "get", "--project", project, "--source", "run/sub", "--source", "run/one.txt",
        "--num-threads", "2", "--break-on-fail", "--silent", "--destination", "out",
    )  # fmt: skip
    succeeded(got, "Download completed!")
    wanted = {name: FILES[name] for name in ("sub/reads.txt", "sub/deep/plate.bin", "one.txt")}
    assert files_below(staff.work / "out" / "files") == below("run", wanted)
    refused(
        staff.run(
            "data", "get", "--project", project, "--source", "run/no", "--break-on-fail",
            "--destination", "nothing",
        ),
        "Some specified files were not found in the system and '--break-on-fail' flag used.",
    )  # fmt: skip


def test_what_a_file_lists_is_got_although_the_client_then_breaks(delivery: Delivery) -> None:
    """Client 2.15.1 compares paths from the file with strings, so it takes all of them for missing."""
    staff, project = delivery.client, delivery.project
    (staff.work / "wanted.txt").write_text("run/rest\nrun/empty\n")
    got = staff.run(
        "data", "get", "--project", project, "--source-path-file", "wanted.txt",
        "--destination", "listed",
    )  # fmt: skip
    wanted = {name: FILES[name] for name in ("rest/table.csv", "empty")}
    assert files_below(staff.work / "listed" / "files") == below("run", wanted)
    assert got.exit_code == 1
    assert "KeyError: 'message'" in got.stderr


def test_data_is_removed_by_file_by_folder_and_altogether(
    demo: Instance, logged_in: LoggedIn
) -> None:
    staff = logged_in(SENDER)
    project = new_project(demo, staff, "Removal")
    put(staff, project, "gone")
    rm = ("data", "rm", "--project", project)
    by_file = staff.run(*rm, "--file", "gone/one.txt", "--file", "no.txt")
    succeeded(by_file, "Files not deleted")
    assert row_of(by_file, "no.txt") == ["no.txt", "No such file"]
    assert "gone/one.txt" not in by_file.stdout
    by_folder = staff.run(*rm, "--folder", "gone/sub", "--folder", "none")
    succeeded(by_folder, "2 files were successfully deleted")
    assert row_of(by_folder, "No such") == ["none", "No such folder"]
    succeeded(staff.run(*rm, "--rm-all", answers=[NO]), "Probably for the best. Exiting.")
    left = ask(demo, staff, "GET", "/files/list", project, subpath="gone")["files_folders"]
    assert {one["name"] for one in left} == {"rest", "empty"}

    succeeded(
        staff.run("--no-prompt", *rm, "--rm-all"),
        "Data deletion has started. This might take some time. "
        "The DDS is handling this in the background.",
    )
    assert wait_for_job(demo, project)["state"] == "done"
    succeeded(staff.run("ls", "-p", project), f"Project '{project}' is empty.")


def test_projects_are_listed_in_every_form(
    demo: Instance, logged_in: LoggedIn, delivery: Delivery
) -> None:
    staff = delivery.client
    ended = new_project(demo, staff, "Soon deleted")
    ask(demo, staff, "POST", "/proj/status", ended, new_status="Deleted")
    wait_for_job(demo, ended)

    table = staff.run("ls", "--projects", "--show-all", "--usage", "--sort", "size", "--binary")
    succeeded(table, "Your Project(s)", "Usage", "Cost")
    assert row_of(table, ended)[1:5] == ["None", "None", "First Unit User", "Deleted"]
    row = row_of(table, delivery.project)
    assert row[1:3] == ["To be listed", R1]
    assert row[6].endswith("KiB") or row[6].endswith(" B")
    assert row[7].endswith("BH")
    assert row[8:] == ["0.0 kr", "✅"]

    listed = json_of(staff.run("ls", "--json", "--usage", "--sort", "cost"))
    assert [one["Cost"] for one in listed] == sorted(one["Cost"] for one in listed)
    assert ended not in {one["Project ID"] for one in listed}
    mine = next(one for one in listed if one["Project ID"] == delivery.project)
    assert mine["Size"] > 0
    assert mine["Usage"] > 0
    assert mine["Access"] is True

    every = json_of(
        staff.run("project", "ls", "--json", "--usage", "--show-all", "--sort", "title")
    )
    assert ended in {one["Project ID"] for one in every}
    titles = [one["Title"] for one in every if one["Title"]]
    assert titles == sorted(titles)

    none = Answer("Project ID:", "")
    asked = logged_in("researchuser_2").run("ls", "--usage", "--sort", "usage", answers=[none])
    assert row_of(asked, delivery.project)[-2:] == ["---", "✅"]


def test_a_release_is_taken_back_and_repeated(demo: Instance, logged_in: LoggedIn) -> None:
    staff = logged_in(SENDER)
    project = new_project(demo, staff, "Release")
    ask(demo, staff, "POST", "/user/add", project, email=R2, role="Researcher")
    status, before = ("project", "status"), len(mails_to(demo, R2))
    asked_on = datetime.now(UTC).date()
    succeeded(
        staff.run(*status, "release", "--project", project, "--deadline", "10", "--no-mail"),
        f"Project Project {project} updated to status Available. "
        "An e-mail notification has not been sent.",
    )
    assert len(mails_to(demo, R2)) == before
    deadline = deadline_of(demo, staff, project)
    assert deadline.time() == time(23, 59, 59)
    assert deadline.date() - timedelta(days=10) in {asked_on, datetime.now(UTC).date()}
    succeeded(
        staff.run(*status, "retract", "--project", project),
        f"Project Project {project} updated to status In Progress.",
    )
    succeeded(
        staff.run(*status, "release", "--project", project),
        "An e-mail notification has been sent.",
    )
    assert mails_to(demo, R2)[before:] == [
        "Project made available by Sequencing Unit of the Demo Facility in the Demo Facility"
    ]
    shown = logged_in("researchuser_2").run(
        *status, "display", "--project", project, "--show-history"
    )
    told = succeeded(
        shown, f"Current status of {project}: Available with deadline {deadline:{DATE}} UTC"
    )
    history = told.partition("Status history")[2]
    assert re.findall("(Available|Expired|In Progress), ", history) == [
        "Available", "In Progress", "Available", "In Progress",
    ]  # fmt: skip


def test_a_deadline_is_extended_twice_and_no_more(demo: Instance, logged_in: LoggedIn) -> None:
    staff = logged_in(SENDER)
    project = new_project(demo, staff, "Deadline")
    ask(demo, staff, "POST", "/proj/status", project, new_status="Available", deadline=10)
    deadline = deadline_of(demo, staff, project)
    extend = ("project", "status", "extend", "--project", project)
    given = f"The project '{project}' has been given a new deadline."
    succeeded(
        staff.run(*extend, "--new-deadline", "5", answers=[YES]),
        f"Current deadline: {deadline:{DATE}} GMT",
        "Default deadline extension: 90 days",
        given,
    )
    assert deadline_of(demo, staff, project) == deadline + timedelta(days=5)
    succeeded(staff.run(*extend, answers=[Answer("How many days", "3"), YES]), given)
    assert deadline_of(demo, staff, project) == deadline + timedelta(days=8)
    refused(
        staff.run(*extend, "--new-deadline", "5"),
        "The maximum number of changes in data availability has been reached.",
    )


def deadline_of(demo: Instance, client: StockClient, project: str) -> datetime:
    """Return the project's deadline, as the wire has it."""
    told = ask(demo, client, "GET", "/proj/status", project)["current_deadline"]
    return datetime.strptime(told, f"{DATE} GMT").replace(tzinfo=UTC)


def test_projects_end_in_the_background_while_the_store_hangs(
    demo: Instance, logged_in: LoggedIn
) -> None:
    staff, boss = logged_in("unitadmin_1"), logged_in("superadmin")
    project = new_project(demo, staff, "To be archived")
    status = ("project", "status")
    with store_stopped(demo):
        archived = staff.run(*status, "archive", "--project", project, answers=[YES])
        succeeded(
            archived,
            "All its contents will be deleted!",
            f"The status of project {project} is being updated to Archived.",
        )
        succeeded(boss.run(*status, "busy"), "There are 1 busy projects at the moment.")
        shown = boss.run(*status, "busy", "--show")
        succeeded(shown, "The following projects are busy:", f"{project}: updated on ")
        refused(
            staff.run(*status, "retract", "--project", project),
            f"The status for the project '{project}' is already in the process of being changed.",
        )
    assert wait_for_job(demo, project)["state"] == "done"
    shown = staff.run(*status, "display", "--project", project)
    succeeded(shown, f"Current status of {project}: Archived")


@contextmanager
def store_stopped(demo: Instance) -> Iterator[None]:
    """Let the demo's store answer nothing, as if its disk hung: its processes are the demo's only children."""
    children = psutil.Process(demo.process.pid).children()
    assert children
    for child in children:
        child.suspend()
    try:
        yield
    finally:
        for child in children:
            child.resume()


def test_projects_are_aborted_and_deleted_if_one_is_sure(
    demo: Instance, logged_in: LoggedIn
) -> None:
    staff = logged_in("unitadmin_1")
    aborted, deleted = (new_project(demo, staff, title) for title in ("Abort", "Delete"))
    ask(demo, staff, "POST", "/proj/status", aborted, new_status="Available", send_email=False)
    status = ("project", "status")
    succeeded(
        staff.run(*status, "delete", "--project", deleted, answers=[NO]), "Probably for the best."
    )
    succeeded(
        staff.run(*status, "delete", "--project", deleted, answers=[YES]),
        "All its contents and metainfo will be deleted!",
        f"The status of project {deleted} is being updated to Deleted.",
    )
    succeeded(
        staff.run(*status, "archive", "--abort", "--project", aborted, answers=[YES]),
        f"The status of project {aborted} is being updated to Archived.",
    )
    for project, end in ((deleted, "Deleted"), (aborted, "Archived")):
        assert wait_for_job(demo, project)["state"] == "done"
        assert ask(demo, staff, "GET", "/proj/status", project)["current_status"] == end
    shown = staff.run("project", "info", "display", "-p", aborted)
    succeeded(shown, "Project title: None", "Project description: None")


def test_a_super_admin_sees_units_and_statistics(logged_in: LoggedIn) -> None:
    boss = logged_in("superadmin")
    units = boss.run("unit", "ls")
    succeeded(units, "Units within the DDS.", "Days In Available")
    assert row_of(units, "unit_2")[:5] == [
        "Imaging Unit", "unit_2", "Imaging Unit of the Demo Facility", "90", "30",
    ]  # fmt: skip
    refused(logged_in(SENDER).run("unit", "ls"), "Insufficient credentials")
    stats = boss.run("stats")
    succeeded(stats, "Units and accounts", "Amount of data delivered via the DDS")
    tables = [line for line in stats.stdout.splitlines() if line.startswith("│ 20")]
    people, data = ([cell.strip() for cell in line.split("│")[2:-1]] for line in tables)
    assert people == ["2", "2", "0", "2", "6", "1", "11"]
    assert len(data) == 7


def test_a_message_of_the_day_is_shown_mailed_once_and_taken_away(
    demo: Instance, logged_in: LoggedIn
) -> None:
    boss, staff = logged_in("superadmin"), logged_in(SENDER)
    text = "Closed on Monday"
    succeeded(boss.run("motd", "add", text), "The MOTD was successfully added to the database.")
    listed = boss.run("motd", "ls")
    succeeded(listed, "Active MOTDs.")
    number, shown, _ = row_of(listed, text)
    assert shown == text
    succeeded(staff.run("auth", "info"), "Important information:", f"- {text}", "Token is OK!")

    for options, said, whom in (
        (["--unit-only"], "unit personnel", {"unitadmin_1", "unituser_2"}),
        ([], "all users", {"researchuser_1", "superadmin"}),
    ):
        already = mailed(demo)
        sent = boss.run("motd", "send", number, *options)
        succeeded(sent, f"MOTD #{number} is scheduled for delivery to {said}")
        wait_for_mailing(demo)
        newly = mailed(demo) - already
        assert whom <= newly
    assert len(mailed(demo)) == 11

    succeeded(
        boss.run("motd", "deactivate", number),
        "The MOTD was successfully deactivated in the database.",
    )
    succeeded(boss.run("motd", "ls"), "There are no active MOTDs.")


def mailed(demo: Instance) -> set[str]:
    """Return whom the message of the day was mailed to, each at most once."""
    subject = "Important Information: Demo Facility"
    letters = [one for one in demo.ctl("mail", "ls") if one["subject"] == subject]
    people = {str(one["recipient"]).partition("@")[0] for one in letters}
    assert len(people) == len(letters)
    return people


def wait_for_mailing(demo: Instance) -> None:
    """Wait until every mailing that was begun is over."""
    for job in demo.ctl("jobs", "ls"):
        if job["kind"] == "send_motd":
            demo.ctl("jobs", "wait", str(job["id"]))


def test_maintenance_closes_the_service_for_all_but_super_admins(logged_in: LoggedIn) -> None:
    boss, staff = logged_in("superadmin"), logged_in(SENDER)
    succeeded(boss.run("maintenance", "on"), "Maintenance set to: ON")
    try:
        succeeded(boss.run("maintenance", "status"), "Maintenance mode is set to: ON")
        refused(staff.run("project", "ls"), "Maintenance of DDS is ongoing.")
    finally:
        succeeded(boss.run("maintenance", "off"), "Maintenance set to: OFF")


def test_a_session_is_kept_where_it_is_told_and_ended(demo: Instance, logged_in: LoggedIn) -> None:
    client = logged_in("unitadmin_1c")
    elsewhere = client.work / "token"
    login = client.run(
        "--token-path", "token", "auth", "login", "--allow-group",
        answers=[
            Answer("DDS username", "unitadmin_1c"),
            Answer("DDS password", PASSWORD),
            Answer("one-time code: ", lambda: demo.code_of("unitadmin_1c")),
        ],
    )  # fmt: skip
    succeeded(login, "Authentication successful!")
    assert elsewhere.stat().st_mode & 0o777 == 0o640
    told = client.run("--token-path", "token", "--force-no-log", "auth", "info")
    succeeded(told, "Current user: unitadmin_1c", "Token is OK!", "turn off the recommended")
    out = client.run("--log-file", "out.log", "--token-path", "token", "auth", "logout")
    succeeded(out, "Successfully logged out!")
    assert not elsewhere.exists()
    assert (client.work / "out.log").exists()
    succeeded(client.run("--version"), "2.15.1")


def test_the_second_factor_is_an_app_and_a_mailed_code_again(
    demo: Instance, logged_in: LoggedIn
) -> None:
    person = "unitadmin_1b"
    client = logged_in(person)
    method = "Which method would you like to use"
    asked = client.run("auth", "twofactor", "configure", answers=[Answer(method, DOWN)])
    succeeded(asked, "follow the attached link to activate two-factor with authenticator app.")
    app = use_app(demo, person, link_mailed_to(demo, person))

    let_two_minutes_pass(demo, person)
    login = client.run(
        "auth", "login", "--totp", app.now(),
        answers=[Answer("DDS username", person), Answer("DDS password", PASSWORD)],
    )  # fmt: skip
    succeeded(login, "Authentication successful!")
    back = client.run(
        "auth", "twofactor", "configure",
        answers=[
            Answer(method, ""), Answer("DDS username", person), Answer("DDS password", PASSWORD),
        ],
    )  # fmt: skip
    succeeded(back, "follow the attached link to activate two-factor with email.")
    boss = logged_in("superadmin")
    reset = boss.run("auth", "twofactor", "deactivate", "--username", person)
    succeeded(reset, f"TOTP has been deactivated for user: {person}.")


def link_mailed_to(demo: Instance, person: str) -> str:
    """Return the newest link that somebody was mailed."""
    letters = [one for one in demo.ctl("mail", "ls") if one["recipient"].startswith(f"{person}@")]
    newest = max(one["id"] for one in letters if "authenticator app" in one["subject"])
    text = str(demo.ctl("mail", "show", str(newest))["text"])
    return next(word for word in text.split() if "#" in word)


def use_app(demo: Instance, person: str, link: str) -> pyotp.TOTP:
    """Follow the mailed link in a browser, as somebody who logs in there; return the app."""
    page, _, code = link.partition("#")
    base = page.rpartition("/")[0]
    with httpx.Client(base_url=base, trust_env=False, timeout=30, follow_redirects=True) as browser:

        def send(path: str, start: str, **fields: str) -> Page:
            form = Page(browser.get(start).text).fields
            answer = browser.post(path, data=form | fields)
            assert answer.status_code == 200, answer.text
            return Page(answer.text)

        send("/login", "/login", username=person, password=PASSWORD)
        send("/login/code", "/login/code", otp=demo.code_of(person))
        shown = send("/activate-app", "/activate-app", code=code)
        app = pyotp.TOTP(shown.one("pre").text.replace(" ", "").strip())
        send("/account/app/confirm", "/account", otp=app.now())
    return app


def let_two_minutes_pass(demo: Instance, person: str) -> None:
    """Put back, by four half-minutes, when somebody's app was last used: the daemon's clock cannot be moved."""
    with sqlite3.connect(demo.directory / "ddsd.sqlite3") as database:
        changed = database.execute(
            "UPDATE users SET totp_last_step = totp_last_step - 4 WHERE username = ?", (person,)
        )
        assert changed.rowcount == 1
    database.close()
