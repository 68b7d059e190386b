"""The contract replayed: every error that the wire contract documents, provoked and compared to the letter.

A row is an error: endpoint, who asks, with what, status and whole body. It is replayed on both editions in one world
per edition. What needs a world of its own is in :data:`ELSEWHERE`, which names the test that asserts it. Rows that
differ from the contract on purpose are those of ``docs/compatibility.md``.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import update

from ddsd.access import System
from ddsd.projects.tables import Project
from ddsd.work import transaction
from tests.lifecycle.life import run_jobs
from tests.v1 import crowd, endpoints
from tests.world import EMAIL, PROJECT, World, file_body

EDITIONS: Final = ["v1", "v3"]
TESTS: Final = Path(__file__).parents[1]


@pytest.fixture(params=["sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """One database: what is looked at here is the wire."""
    return str(request.param)


@dataclass(frozen=True)
class Row:
    """One documented error. ``{name}`` in ``at`` and ``says`` is a project of :func:`stage`.

    Attributes:
        at: method and path.
        who: who asks.
        sends: the body.
        status: what is answered.
        says: the answer's message, or its whole body.
        v3: the query that says on v3 what the body says on v1.
        v3_says: what v3 says instead.
    """

    at: str
    who: str | None
    sends: Any
    status: int
    says: str | dict[str, Any]
    v3: str | None = None
    v3_says: str | None = None


def fields(**wrong: str) -> dict[str, Any]:
    """Return how a field that cannot be used is told: as the stock system does, and in a message."""
    told: dict[str, Any] = {field: [why] for field, why in wrong.items()}
    return told | {"message": "; ".join(f"{field}: {why}" for field, why in wrong.items())}


def required(field: str, why: str) -> dict[str, Any]:
    """Return how a field that is missing is told."""
    return {field: {"message": why}}


R1, R2, STAFF, ADMIN = (
    EMAIL.format(one) for one in ("researcher1", "researcher2", "staff1", "admin1")
)
NO_JSON = "Required data missing from request!"
ROLE = "Insufficient credentials"
CREATE = "You do not have the required permissions to create a project."
NO_ID = required("project", "Project ID required.")
NO_ID_HELPER = "Missing required information: 'project'"
UNKNOWN = "The specified project does not exist."
DENIED = "Project access denied."
UPLOAD = "Project not in right status to upload/modify files."
NOT_YET = "The project status must be 'Available'. Please wait for unit to release the data."
NO_DOWNLOAD = "Current Project status limits file download."
EMPTY = "The project is empty."
KEPT = "Project Status prevents files from being deleted."
KEPT_FOR_EVER = (
    "Existing project contents cannot be deleted since the project has been previously "
    "made available to recipients."
)
FIX_DENIED = "You do not have the necessary permissions to shared project access with this user."
NO_PERMISSION = "You do not have the necessary permissions."
NOT_IN_IT = (
    "does not have access to the specified project. Cannot remove non-existent project access."
)
OLD_CLIENT = (
    "Your CLI version is trying to use functionality which is no longer in use. "
    "Upgrade your version to the latest one and run your command again."
)
LOST = (
    "You have lost access to this project. This is likely due to a password reset, in which case you have "
    "lost access to all active projects. In order to regain access to this project, please contact "
    "{unit} ({mail}) and ask them to run 'dds project access fix'."
)
ABORT = (
    "You cannot {} a project that has been made available previously. "
    "Please abort the project if you wish to proceed."
)
BUSY = (
    "The {} for the project '{{busy}}' is already in the process of being changed. Please try again later. "
    "\n\nIf you know {}the project is not busy, contact support."
)
POSITIVE = "The deadline needs to be a positive integer."
TOO_LONG = "The deadline needs to be less than (or equal to) {} days."
LONGER = (
    "You requested the deadline to be extended {} days. The number of days has to be lower "
    "than the default deadline extension number of 90 days"
)
TOTAL = (
    "You requested the deadline to be extended with {} days (from 10), giving a new total deadline of {} days. "
    "The new deadline needs to be less than (or equal to) 90 days."
)
EXTENSIONS = "Project availability limit: The maximum number of changes in data availability has been reached."
ADMIN_ONLY = "You can only {} users with the role Unit Admin or Unit Personnel."


def project_rows() -> list[Row]:
    """Return the errors of the ``project`` parameter, on every endpoint that has one (section 0.3)."""
    upload = ["/s3/proj", "/file/match", "/file/new", "/file/failed/add", "/file/rm", "/file/rmdir"]
    methods = {"/file/match": "GET", "/file/new": "POST", "/file/failed/add": "PUT"}
    methods |= {"/file/rm": "DELETE", "/file/rmdir": "DELETE", "/file/update": "PUT"}
    paths = [*upload, "/files/list", "/file/info", "/file/all/info", "/file/update"]
    schema = [f"{methods.get(path, 'GET')} {path}" for path in paths]
    schema += ["PUT /file/new"] + [
        f"{method} {path}" for method, path in endpoints.OF_PROJECT_SCHEMA
    ]
    helper = [f"{method} {path}" for method, path in endpoints.OF_PROJECT_HELPER]
    body: dict[str, Any] = {
        "/file/match": ["a"],
        "/file/info": ["a"],
        "/file/rm": ["a"],
        "/file/rmdir": ["a"],
    }
    query = {"/file/match": "files=a", "/file/info": "files=a", "/file/rm": "files=a"}
    query["/file/rmdir"] = "folders=a"
    rows = []
    for at in schema + helper:
        path = at.split()[1]
        sends, v3 = body.get(path, {"a": 1}), query.get(path)
        missing: Any = NO_ID if at in schema else NO_ID_HELPER
        rows += [
            Row(at, "admin1", sends, 400, missing, v3),
            Row(f"{at}?project=nope", "admin1", sends, 400, UNKNOWN, v3),
            Row(f"{at}?project={{theirs}}", "admin1", sends, 403, DENIED, v3),
        ]
    return rows


def role_rows() -> list[Row]:
    """Return the refusals of section 3 that are for a role, each by the one nearest to being allowed."""
    researcher = [
        "GET /s3/proj", "POST /file/new", "PUT /file/new", "GET /file/match", "DELETE /file/rm",
        "DELETE /file/rmdir", "PUT /file/failed/add", "DELETE /proj/rm", "POST /proj/status",
        "PATCH /proj/status", "POST /proj/upload/complete", "POST /user/add", "POST /proj/access",
        "POST /user/access/revoke", "POST /user/activation", "DELETE /user/delete", "GET /users",
    ]  # fmt: skip
    boss = ["GET /files/list", "GET /file/info", "GET /file/all/info", "PUT /file/update",
            "GET /proj/public", "GET /proj/private", "PUT /proj/info", "DELETE /user/delete_self",
            "POST /user/access/revoke", "POST /proj/access"]  # fmt: skip
    admin = ["GET /unit/info/all", "POST /motd", "PUT /motd", "POST /motd/send", "GET /user/find",
             "PUT /user/totp/deactivate", "GET /user/emails", "GET /maintenance",
             "PUT /maintenance", "GET /proj/busy/any", "GET /stats"]  # fmt: skip
    asked = {"researcher1": researcher, "super": boss, "admin1": admin}
    rows = [
        Row(f"{at}?project={{fresh}}", who, {"a": 1}, 403, ROLE)
        for who, ats in asked.items()
        for at in ats
    ]
    return [
        *rows,
        Row("POST /user/activation", "staff1", {"email": ADMIN}, 403, ROLE),
        Row("DELETE /user/delete", "staff1", {"email": ADMIN}, 403, ROLE),
        Row("GET /usage", "super", None, 403, NO_PERMISSION),
        Row("POST /proj/create", "super", PROJECT, 403, CREATE, v3_says=ROLE),
        Row("POST /proj/create", "researcher1", PROJECT, 403, CREATE, v3_says=ROLE),
    ]


def json_rows() -> list[Row]:
    """Return the refusals of a body that is needed and is not there."""
    of_unit = ["POST /proj/create", "POST /proj/status?project={fresh}", "PATCH /proj/status?project={fresh}",
               "PUT /proj/info?project={fresh}", "POST /file/new?project={fresh}",
               "PUT /file/new?project={fresh}", "PUT /file/failed/add?project={fresh}",
               "PUT /file/update?project={fresh}", "POST /user/add",
               "POST /user/access/revoke?project={fresh}", "POST /proj/access",
               "POST /user/activation"]  # fmt: skip
    of_all = ["POST /motd", "PUT /motd", "POST /motd/send", "PUT /maintenance",
              "PUT /user/totp/deactivate"]  # fmt: skip
    empty: list[Any] = [None, {}, []]
    return [
        Row(at, who, sends, 400, NO_JSON)
        for who, ats in (("admin1", of_unit), ("super", of_all))
        for at in ats
        for sends in empty
    ]


def creation(says: Any, status: int = 400, **changes: Any) -> Row:
    """Return a refusal of a project that is to be created."""
    body = PROJECT | {"force": True} | changes
    body = {key: value for key, value in body.items() if value is not ...}
    return Row("POST /proj/create", "admin1", body, status, says)


CREATION: Final = [
    creation({"pi": {"message": "A principal investigator is required."}}, pi=...),
    creation({"pi": {"message": "A principal investigator is required."}}, pi=None),
    creation({"title": {"message": "Title is required."}}, title=...),
    creation({"description": {"message": "A project description is required."}}, description=...),
    creation({"title": ["Shorter than minimum length 1."]}, title=""),
    creation({"description": ["Shorter than minimum length 1."]}, description=""),
    creation(
        {"title": ["The character '!' within '[italic]a! b[/italic]' is not allowed."]},
        title="a! b",
    ),
    creation({"description": ["This input is not allowed: 😀"]}, description="x 😀"),
    creation({"pi": ["The PI email is invalid."]}, pi="nobody"),
    creation("`force` is a boolean value: True or False.", force="yes"),
    creation({"non_sensitive": ["Not a valid boolean."]}, non_sensitive="banana"),
    creation({"title": ["Not a valid string."]}, title=5),
    creation({"description": ["Not a valid string."]}, description=5),
    creation({"pi": ["Not a valid string."]}, pi=5),
]


def change(project: str, says: str, **body: Any) -> Row:
    """Return a refusal to change a project's status."""
    return Row(f"POST /proj/status?project={{{project}}}", "admin1", body, 400, says)


def cannot(verb: str, status: str) -> str:
    """Return how a transition that does not exist is refused."""
    return f"You cannot {verb} a project that has the current status '{status}'."


def over(status: str) -> str:
    """Return how a change of what is over is refused."""
    return f"Cannot change status for a project that has the status '{status}'."


STATUS: Final = [
    change("fresh", "Invalid status", new_status="Banana"),
    change("fresh", "No status transition provided. Specify the new status.", is_aborted=True),
    change("fresh", cannot("retract", "In Progress"), new_status="In Progress"),
    change("fresh", cannot("expire", "In Progress"), new_status="Expired"),
    change("available", cannot("release", "Available"), new_status="Available"),
    change("available", cannot("delete", "Available"), new_status="Deleted"),
    change("expired", cannot("retract", "Expired"), new_status="In Progress"),
    change("expired", cannot("delete", "Expired"), new_status="Deleted"),
    change("expired", cannot("expire", "Expired"), new_status="Expired"),
    change("retracted", ABORT.format("delete"), new_status="Deleted"),
    change("retracted", ABORT.format("archive"), new_status="Archived"),
    *[
        change(gone, over(gone.title()), new_status=new)
        for gone in ("deleted", "archived")
        for new in ("Available", "In Progress", "Expired", "Archived", "Deleted")
    ],
    *[change("fresh", POSITIVE, new_status="Available", deadline=days) for days in (0, -1, "ten")],
    change("fresh", TOO_LONG.format(90), new_status="Available", deadline=91),
    change("available", TOO_LONG.format(30), new_status="Expired", deadline=31),
    change("available", POSITIVE, new_status="Expired", deadline=0),
    change(
        "worn",
        "Project availability limit: Project cannot be made Available any more times",
        new_status="Available",
    ),
    change("busy", BUSY.format("status", ""), new_status="Available"),
]


def longer(project: str, says: str, **body: Any) -> Row:
    """Return a refusal to extend a project's deadline."""
    return Row(f"PATCH /proj/status?project={{{project}}}", "admin1", body, 400, says)


EXTENSION: Final = [
    longer("tired", EXTENSIONS, send_email=False),
    longer("tired", EXTENSIONS, confirmed="x"),
    longer("fresh", "`confirmed` is a boolean value: True or False.", confirmed="yes"),
    longer(
        "fresh",
        "You can only extend the deadline for a project that has the status 'Available'.",
        confirmed=True,
        new_deadline_in=5,
    ),
    longer(
        "available",
        "The deadline attribute passed should be of type Int (i.e a number).",
        confirmed=True,
        new_deadline_in="5",
    ),
    longer("available", POSITIVE, confirmed=True, new_deadline_in=0),
    longer("available", POSITIVE, confirmed=True, new_deadline_in=-5),
    longer("available", LONGER.format(91), confirmed=True, new_deadline_in=91),
    longer("available", TOTAL.format(85, 95), confirmed=True, new_deadline_in=85),
    longer("available", TOTAL.format(90, 100), confirmed=True, new_deadline_in=90),
    longer("busy", BUSY.format("deadline", "that "), confirmed=True, new_deadline_in=5),
]


def describing(says: str, **body: Any) -> Row:
    """Return a refusal to describe a project anew."""
    return Row("PUT /proj/info?project={fresh}", "admin1", body, 400, says)


PROJECTS: Final = [
    describing(
        "[\"The character '!' within '[italic]Bad! title[/italic]' is not allowed.\"]",
        title="Bad! title",
    ),
    describing("The PI email is invalid", pi="nobody"),
    describing("['This input is not allowed: 😀']", description="😀"),
    Row("GET /proj/private?project={fresh}", "staff1", None, 403, LOST),
    Row("GET /proj/public?project={deleted}", "admin1", None, 400,
        "The project has no key any more: its data has been removed."),
    Row("PUT /proj/busy", "admin1", {"busy": True}, 403, OLD_CLIENT),
    Row("PUT /proj/busy", "super", None, 403, OLD_CLIENT),
    Row("DELETE /proj/rm?project={fresh}", "admin1", None, 400, "There are no project contents to delete."),
    Row("DELETE /proj/rm?project={available}", "admin1", None, 400, KEPT),
    Row("DELETE /proj/rm?project={retracted}", "admin1", None, 400, KEPT_FOR_EVER),
    # The original says 404 to all; newer upstream says 400 to what is Available or Expired.
    Row("POST /proj/upload/complete?project={available}", "admin1", None, 400, UPLOAD),
    Row("POST /proj/upload/complete?project={expired}", "admin1", None, 400, UPLOAD),
]  # fmt: skip


def registration(says: dict[str, Any] | str, **changes: Any) -> Row:
    """Return a refusal to register a file."""
    body = {k: v for k, v in (file_body("new.txt") | changes).items() if v is not ...}
    return Row("POST /file/new?project={filled}", "admin1", body, 400, says)


FILES: Final = [
    registration(required("name", "File name required."), name=...),
    registration(required("name_in_bucket", "Remote file name required."), name_in_bucket=...),
    registration(required("size", "File size required."), size=None),
    registration(fields(size="Not a valid integer."), size="abc"),
    registration(fields(name="Shorter than minimum length 1."), name=""),
    registration(fields(subpath="Shorter than minimum length 1."), subpath=""),
    registration(fields(salt="Length must be 32."), salt="short"),
    registration(fields(public_key="Length must be 64."), public_key="x"),
    registration(fields(checksum="Length must be 64."), checksum=""),
    registration(fields(compressed="Not a valid boolean."), compressed="banana"),
    Row("PUT /file/new?project={filled}", "admin1", {"name": "a.txt"}, 400,
        "Information is missing, cannot add file to database."),
    Row("PUT /file/new?project={filled}", "admin1", file_body("zzz"), 400,
        "Cannot update non-existent file 'zzz' in the database!"),
    *[
        Row(f"{at}?project={{{project}}}", "admin1", sends, 400, UPLOAD)
        for project in ("available", "expired")
        for at, sends in (("GET /s3/proj", None), ("POST /file/new", file_body("n")),
                          ("PUT /file/new", file_body("a.txt")),
                          ("PUT /file/failed/add", {"a": {}}))
    ],
    Row("GET /file/match?project={fresh}", "admin1", [], 400, NO_JSON,
        v3="", v3_says="No files specified."),
    Row("GET /file/info?project={filled}", "admin1", [], 400, NO_JSON,
        v3="", v3_says="No items were requested."),
    Row("GET /file/info?project={fresh}", "admin1", ["a"], 400, EMPTY, v3=""),
    Row("GET /file/all/info?project={fresh}", "admin1", [], 400, EMPTY),
    Row("GET /file/info?project={filled}", "researcher1", ["a.txt"], 400, NO_DOWNLOAD, v3="files=a.txt"),
    Row("GET /file/all/info?project={filled}", "researcher1", [], 400, NO_DOWNLOAD),
    Row("GET /file/all/info?project={expired}", "admin1", [], 400, NO_DOWNLOAD),
    Row("GET /file/all/info?project={expired}", "researcher1", [], 400, NO_DOWNLOAD),
    Row("GET /files/list?project={filled}", "researcher1", None, 403, NOT_YET),
    Row("PUT /file/update?project={available}", "researcher1", {"name": "zzz"}, 400,
        "Specified file does not exist."),
    Row("PUT /file/update?project={available}", "researcher1", {"x": 1}, 400,
        "No file name specified. Cannot update file."),
    *[
        Row(f"{at}?project={{{project}}}", "admin1", ["a.txt"], 400, says, v3=f"{key}=a.txt")
        for project, says in (("available", KEPT), ("expired", KEPT), ("retracted", KEPT_FOR_EVER))
        for at, key in (("DELETE /file/rm", "files"), ("DELETE /file/rmdir", "folders"))
    ],
]  # fmt: skip


def adding(
    who: str, email: str, role: str, status: int, says: Any, at: str = "", **more: Any
) -> Row:
    """Return a refusal to let somebody in."""
    return Row(f"POST /user/add{at}", who, {"email": email, "role": role} | more, status, says)


def plain(says: str, status: int) -> dict[str, Any]:
    """Return a refusal that repeats its status."""
    return {"message": says, "status": status}


KNOWN = "This user was already added to the system. Specify the project you wish to give access to."
IN_FRESH = "is already associated with the Project {fresh} in this capacity. "
PEOPLE_ADD: Final = [
    adding("admin1", "new@example.org", "Banana", 400, "Invalid user role."),
    adding("admin1", "", "Researcher", 400, "Email address required to add or invite."),
    adding("admin1", "nobody", "Researcher", 400,
           "The email address is not valid. It must have exactly one @-sign."),
    adding("admin1", "new@example.org", "Project Owner", 400,
           plain("Project ID required to invite a 'Project Owner'.", 400)),
    adding("super", "new@example.org", "Researcher", 400,
           plain("Super Admins do not have project data access and can therefore not invite users "
                 "to specific projects.", 400), "?project={fresh}"),
    adding("admin1", "new@example.org", "Super Admin", 403, plain(NO_PERMISSION, 403)),
    adding("staff1", "new@example.org", "Super Admin", 403, plain(NO_PERMISSION, 403)),
    adding("staff1", "new@example.org", "Unit Admin", 403, plain(NO_PERMISSION, 403)),
    adding("researcher1", "new@example.org", "Unit Personnel", 403, plain(NO_PERMISSION, 403),
           "?project={owned}"),
    adding("super", "new@example.org", "Unit Personnel", 400,
           "You need to specify a unit to invite a Unit Personnel or Unit Admin."),
    adding("super", "new@example.org", "Unit Admin", 400, "Invalid unit public id.", unit="nope"),
    adding("admin1", R1, "Researcher", 400, KNOWN),
    adding("admin1", "waiting@example.org", "Researcher", 400, KNOWN),
    adding("admin1", R1, "Researcher", 403, plain(f"User researcher1 {IN_FRESH}", 403), "?project={fresh}"),
    adding("admin1", "waiting@example.org", "Researcher", 403,
           plain(f"Pending invite for waiting@example.org {IN_FRESH}", 403), "?project={fresh}"),
    adding("admin1", STAFF, "Researcher", 403,
           plain("Users affiliated with units can not be added to projects individually.", 403),
           "?project={fresh}"),
    adding("admin1", R2, "Unit Admin", 403,
           plain("User Role should be either 'Project Owner' or 'Researcher' to be added to a project", 403),
           "?project={fresh}"),
    adding("staff1", R2, "Researcher", 403,
           plain("You do not have access to the current project. To get access, ask the a user within the "
                 "responsible unit to grant you access.", 403), "?project={fresh}"),
    adding("staff1", "new@example.org", "Researcher", 400,
           {"email": "new@example.org", "status": 400,
            "message": "The user could not be added to the project(s). The invite did not succeed.",
            "errors": {"{fresh}": "You do not have access to the specified project."}},
           "?project={fresh}"),
]  # fmt: skip


def person(at: str, who: str, status: int, says: Any, **body: Any) -> Row:
    """Return a refusal that concerns somebody."""
    query = "&".join(f"{key}={value}" for key, value in body.items())
    return Row(at, who, body, status, says, v3=query if at.startswith("DELETE") else None)


REVOKE = "POST /user/access/revoke?project={fresh}"
PEOPLE: Final = [
    person(REVOKE, "admin1", 400, "User email missing.", x=1),
    person(REVOKE, "admin1", 400, f"The user / invite with email 'nobody@x.example' {NOT_IN_IT}",
           email="nobody@x.example"),
    person(REVOKE, "admin1", 400, f"The user with email '{R2}' {NOT_IN_IT}", email=R2),
    person(REVOKE, "admin1", 400, f"The user with email '{STAFF}' {NOT_IN_IT}", email=STAFF),
    person(REVOKE, "admin1", 400, f"The invite with email 'elsewhere@example.org' {NOT_IN_IT}",
           email="elsewhere@example.org"),
    person(REVOKE, "admin1", 400,
           "Cannot remove a Unit Admin / Unit Personnel from individual projects.",
           email="colleague@example.org"),
    person(REVOKE, "admin1", 403, "You cannot revoke your own access.", email=ADMIN),
    person("POST /proj/access", "admin1", 400, "User email missing.", x=1),
    person("POST /proj/access", "admin1", 400, "User not found.", email="nobody@x.example"),
    person("POST /proj/access", "admin1", 403, "You cannot renew your own access.", email=ADMIN),
    person("POST /proj/access", "staff1", 403, FIX_DENIED, email=ADMIN),
    person("POST /proj/access?project={owned}", "researcher1", 403, FIX_DENIED, email=STAFF),
    person("POST /user/activation", "admin1", 400, "User email missing.", action="deactivate"),
    person("POST /user/activation", "admin1", 400, "User not found.", email="no@x.example", action="deactivate"),
    person("POST /user/activation", "admin1", 400, fields(email="Not a valid email address."),
           email="bad", action="deactivate"),
    person("POST /user/activation", "admin1", 400,
           "Please provide an action 'deactivate' or 'reactivate' for this request.", email=STAFF),
    person("POST /user/activation", "admin1", 400, "User is already deactivated!",
           email=EMAIL.format("admin1c"), action="deactivate"),
    person("POST /user/activation", "admin1", 403, "You cannot deactivate your own account!",
           email=ADMIN, action="deactivate"),
    person("POST /user/activation", "admin1", 403, ADMIN_ONLY.format("activate/deactivate"),
           email=R1, action="deactivate"),
    person("POST /user/activation", "admin1", 403,
           "As a Unit Admin, you can only activate/deactivate other Unit Admins or Unit Personnel within your "
           "specific unit.", email=EMAIL.format("staff2"), action="deactivate"),
    person("DELETE /user/delete", "admin1", 400,
           "This e-mail address is not associated with a user in the DDS, make sure it is not misspelled.",
           email="nobody@x.example"),
    person("DELETE /user/delete", "admin1", 400, ADMIN_ONLY.format("delete"), email=R1),
    person("DELETE /user/delete", "admin1", 400,
           "As a Unit Admin, you're can only delete Unit Admins and Unit Personnel within your specific unit.",
           email=EMAIL.format("staff2")),
    person("DELETE /user/delete", "admin1", 400,
           "To delete your own account, use the '--self' flag instead!", email=ADMIN),
    person("DELETE /user/delete", "admin1", 403,
           "You do not have the correct permissions to delete this invite.",
           email="boss@example.org", is_invite=True),
    Row("GET /users", "super", {"unit": "nope"}, 400, "There is no unit with the public id 'nope'.", v3="unit=nope"),
    Row("GET /user/find", "super", {"x": 1}, 400, "Username required to check existence of account.", v3=""),
    Row("GET /user/invites", "researcher2", None, 403,
        "You need to have the role 'Project Owner' in at least one project to be able to list any invites."),
    Row("DELETE /user/delete_self", "admin2", None, 403,
        "Your unit only has 2 Unit Admins. You cannot delete your account. Invite a new Unit Admin first if you "
        "wish to proceed."),
    Row("PUT /user/totp/deactivate", "super", {"x": 1}, 400, "Username required to reset 2FA to HOTP"),
    Row("PUT /user/totp/deactivate", "super", {"username": "nobody"}, 400, "The user doesn't exist: nobody"),
    Row("PUT /user/totp/deactivate", "super", {"username": "staff1"}, 400,
        "TOTP is already deactivated for this user."),
]  # fmt: skip

NO_MOTD = "Please specify the ID of the MOTD you want to send."
OPERATING: Final = [
    Row("POST /motd", "super", {"message": ""}, 400, "No MOTD specified."),
    Row("PUT /motd", "super", {"x": 1}, 400, "No MOTD for deactivation specified."),
    Row("PUT /motd", "super", {"motd_id": 999}, 400, "MOTD with id 999 does not exist in the database"),
    Row("PUT /motd", "super", {"motd_id": 1}, 400, "MOTD with id 1 is not active."),
    Row("POST /motd/send", "super", {"x": 1}, 400, NO_MOTD),
    Row("POST /motd/send", "super", {"motd_id": "1"}, 400, NO_MOTD),
    Row("POST /motd/send", "super", {"motd_id": 1}, 400, "There is no active MOTD with ID '1'."),
    Row("POST /motd/send", "super", {"motd_id": 2, "unit_only": "x"}, 400,
        "The 'unit_only' argument must be a boolean."),
    Row("PUT /maintenance", "super", {"x": 1}, 400, "Please, specify an argument: on or off"),
    Row("PUT /maintenance", "super", {"state": "bogus"}, 400,
        "Please, specify the correct argument: on or off"),
    Row("POST /user/info", "admin1", None, 405, "The method is not allowed for the requested URL."),
    Row("GET /user/info", None, None, 401, "No token"),
    Row("GET /user/encrypted_token", None, None, 401, "Missing or incorrect credentials"),
    Row("POST /user/hotp/activate", None, None, 401, "Missing or incorrect credentials"),
]  # fmt: skip

ROWS: Final = {
    "the project parameter": project_rows(),
    "roles": role_rows(),
    "missing bodies": json_rows(),
    "creating": CREATION,
    "changing the status": STATUS,
    "extending": EXTENSION,
    "projects": PROJECTS,
    "files": FILES,
    "letting in": PEOPLE_ADD,
    "people": PEOPLE,
    "operating": OPERATING,
}

# What it takes to provoke these is more than a request, or spoils the world for others.
ELSEWHERE: Final[dict[str, tuple[str, ...]]] = {
    "version header: missing, another length, another major": (
        "v1/test_errors.py",
        "TestVersion",
        "test_one_that_does_not_fit_is_refused_before_all_else",
    ),
    "404 in the API": ("v1/test_errors.py", "TestAddresses", "test_an_unknown_address_of_the_api"),
    "Invalid token": ("v1/test_requests.py", "TestTokens", "test_garbage_is_an_invalid_token"),
    "Expired token": ("v1/test_requests.py", "TestTokens", "test_an_expired_token"),
    "Invalid token. Try reauthenticating.": (
        "v1/test_requests.py",
        "TestTokens",
        "test_a_partial_token_is_dead_once_it_was_completed",
    ),
    "Password reset performed after last authentication.": (
        "v1/test_requests.py",
        "TestTokens",
        "test_the_token_from_before_a_password_reset",
    ),
    "Your account has been deactivated. (token)": (
        "v1/test_requests.py",
        "TestTokens",
        "test_a_deactivated_persons_token",
    ),
    "Maintenance of DDS is ongoing. (token)": (
        "v1/test_requests.py",
        "TestTokens",
        "test_during_maintenance_only_super_admins_tokens_are_good",
    ),
    "Two-factor authentication is required! (mail)": (
        "v1/test_requests.py",
        "TestPartialTokens",
        "test_it_opens_nothing",
    ),
    "Two-factor authentication is required! (app)": (
        "v1/test_requests.py",
        "TestPartialTokens",
        "test_with_an_app_no_code_is_mailed",
    ),
    "Too many authentication requests in one hour": (
        "v1/test_login.py",
        "TestLimits",
        "test_the_eleventh_attempt_in_an_hour_is_refused",
    ),
    "Missing or incorrect credentials": (
        "v1/test_login.py",
        "TestPassword",
        "test_anything_else_is_refused_alike",
    ),
    "Your account has been deactivated. (login)": (
        "v1/test_login.py",
        "TestPassword",
        "test_a_deactivated_person_hears_so_after_the_right_password_only",
    ),
    "Maintenance of DDS is ongoing. (login)": (
        "v1/test_login.py",
        "TestPassword",
        "test_maintenance_is_said_after_the_right_password_and_not_to_super_admins",
    ),
    "We could not send your one-time code right now.": (
        "v1/test_login.py",
        "TestMailFailure",
        "test_it_is_said_and_the_next_login_mails_a_new_code",
    ),
    "codes: length, choices, no method": (
        "v1/test_login.py",
        "TestMailedCode",
        "test_what_is_no_code_is_refused",
    ),
    "Invalid one-time authentication code.": (
        "v1/test_login.py",
        "TestMailedCode",
        "test_a_wrong_one",
    ),
    "No one-time authentication code currently issued.": (
        "v1/test_login.py",
        "TestMailedCode",
        "test_it_is_good_once",
    ),
    "One-time authentication code has expired.": (
        "v1/test_login.py",
        "TestMailedCode",
        "test_it_expires_after_a_quarter_of_an_hour",
    ),
    "method mismatch": ("v1/test_login.py", "TestApp", "test_a_mailed_code_is_the_wrong_method"),
    "Invalid time-based token.": ("v1/test_login.py", "TestApp", "test_one_further_off_is_not"),
    "at least 90 seconds apart": (
        "v1/test_login.py",
        "TestApp",
        "test_the_next_login_has_to_wait_a_minute_and_a_half",
    ),
    "Your unit does not have enough Unit Admins.": (
        "v1/test_projects.py",
        "TestCreate",
        "test_one_admin_is_too_few",
    ),
    "The characters … are not allowed.": (
        "projects/test_fields.py",
        "test_runs_of_other_characters_are_named_once_each",
    ),
    "User private key could not be decrypted!": (
        "v1/test_projects.py",
        "TestOneProject",
        "test_a_key_that_was_tampered_with_does_not_open",
    ),
    "No s3 info returned!": (
        "v1/test_files_grants.py",
        "test_while_the_store_is_away_new_keys_are_refused_and_the_rest_works",
    ),
    "a file that exists": (
        "v1/test_files_register.py",
        "test_a_file_that_is_there_is_not_registered_again",
    ),
    "file/failed/add, by file": (
        "v1/test_files_register.py",
        "test_failed_registrations_are_made_up_for",
    ),
    "proj/access: errors by project": (
        "v1/test_people_access.py",
        "TestFix",
        "test_what_the_caller_has_lost_too_is_named",
    ),
    "bare strings of user/delete": (
        "v1/test_people_removal.py",
        "TestAccount",
        "test_a_body_that_is_no_good",
    ),
}


@pytest.mark.parametrize("edition", EDITIONS)
async def test_every_documented_error_is_told_to_the_letter(world: World, edition: str) -> None:
    names = await stage(world)
    differences = []
    for what, rows in ROWS.items():
        for row in rows:
            answer = await replay(world, row, names, edition)
            expected = (row.status, expected_of(row, names, edition))
            if (answer.status_code, answer.json()) != expected:
                differences.append(
                    (what, row.at, row.sends, answer.status_code, answer.text, expected)
                )
    assert differences == []


@pytest.mark.parametrize("error", ELSEWHERE)
def test_what_is_asserted_elsewhere_is_asserted_there(error: str) -> None:
    path, *names = ELSEWHERE[error]
    body: list[ast.stmt] = ast.parse((TESTS / path).read_text()).body
    for name in names:
        found = [
            node
            for node in body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == name
        ]
        assert found, f"{name} is not in {path}"
        body = found[0].body


async def stage(world: World) -> dict[str, str]:
    """Make projects in every state, and people with invites; return the projects' ids by what they are."""
    made: dict[str, str] = {}
    for name in (
        "deleted",
        "archived",
        "fresh",
        "filled",
        "available",
        "retracted",
        "expired",
        "worn",
        "tired",
        "busy",
    ):
        made[name] = await world.project("admin1", "researcher1")
    for name in ("filled", "available", "retracted", "expired"):
        await world.add_file(made[name], "a.txt")
    made["theirs"] = await world.project("admin2")
    made["owned"] = await crowd.owned_project(world)
    await _end(world, made["deleted"], "Deleted")
    await _end(world, made["archived"], "Archived")
    await run_jobs(world.services)
    for name in ("available", "retracted", "expired", "worn", "tired"):
        await world.release(made[name], deadline=10)
    await _end(world, made["retracted"], "In Progress")
    await _end(world, made["expired"], "Expired")
    await _end(world, made["worn"], "Expired")
    await _end(world, made["busy"], "Archived")
    await _wear(world, made["worn"], 3)
    await _wear(world, made["tired"], 2)
    await _people(world, made)
    return made | await _contact(world)


async def _contact(world: World) -> dict[str, str]:
    listed = await world.call("GET", "/unit/info/all", "super")
    unit = next(one for one in listed.json()["units"] if one["Public ID"] == "unit1")
    return {"unit": unit["External Display Name"], "mail": unit["Contact Email"]}


async def _end(world: World, project: str, status: str) -> None:
    answer = await world.call(
        "POST", f"/proj/status?project={project}", "admin1", json={"new_status": status}
    )
    assert answer.status_code == 200, answer.text


async def _wear(world: World, project: str, times: int) -> None:
    table = Project.columns()
    async with transaction(world.services, System()) as work:
        await work.session.execute(
            update(Project).where(table.public_id == project).values(times_expired=times)
        )


async def _people(world: World, made: dict[str, str]) -> None:
    await crowd.add(world, "admin1", "waiting@example.org", project=made["fresh"])
    await crowd.add(world, "admin1", "elsewhere@example.org", project=made["filled"])
    await crowd.add(world, "admin1", "colleague@example.org", "Unit Personnel")
    await crowd.add(world, "super", "boss@example.org", "Super Admin")
    await world.call("POST", "/motd", "super", json={"message": "old"})
    await world.call("PUT", "/motd", "super", json={"motd_id": 1})
    await world.call("POST", "/motd", "super", json={"message": "new"})
    body = {"email": EMAIL.format("admin1c"), "action": "deactivate"}
    assert (await world.call("POST", "/user/activation", "admin1", json=body)).status_code == 200
    await crowd.lose_keys(world, "staff1")


async def replay(world: World, row: Row, names: dict[str, str], edition: str) -> httpx.Response:
    """Send a row's request as the edition wants it."""
    method, path = _filled(row.at, names).split(" ")
    if edition == "v3" and row.v3 is not None:
        path += f"{'&' if '?' in path else '?'}{row.v3}" if row.v3 else ""
        return await world.call(method, path, row.who, edition=edition)
    return await world.call(method, path, row.who, json=row.sends, edition=edition)


def expected_of(row: Row, names: dict[str, str], edition: str) -> Any:
    """Return the whole body a row expects."""
    says = row.v3_says if edition == "v3" and row.v3_says is not None else row.says
    if isinstance(says, str):
        return {"message": _filled(says, names)}
    return _filled_in(says, names)


def _filled_in(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {_filled(key, names): _filled_in(one, names) for key, one in value.items()}
    return _filled(value, names) if isinstance(value, str) else value


def _filled(text: str, names: dict[str, str]) -> str:
    for name, public_id in names.items():
        text = text.replace(f"{{{name}}}", public_id)
    return text
