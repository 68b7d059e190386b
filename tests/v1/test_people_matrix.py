"""Who may ask whom to be what, and who may do what to whom: every case with the answer it must get, written here."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ddsd.planes.v1 import people
from tests.v1 import crowd
from tests.v1.crowd import Told, add, told
from tests.world import World

ROLE = (403, "Insufficient credentials")
STRANGER = (403, "Project access denied.")
DENIED = (403, "You do not have the necessary permissions.")
OWNER_OF_WHAT = (400, "Project ID required to invite a 'Project Owner'.")
NO_DATA = (
    400,
    "Super Admins do not have project data access and can therefore not invite users to specific projects.",
)
NEEDS_UNIT = (400, "You need to specify a unit to invite a Unit Personnel or Unit Admin.")
NOBODY = (401, "No token")
ASKED = (200, "Pending invite for {} was successful.")

CAPACITIES = ("Super Admin", "Unit Admin", "Unit Personnel", "Project Owner", "Researcher")
# Who asks, and where to: the project of `admin1`'s and `staff1`'s unit that `researcher1` owns and `researcher2` is
# in ("own"), one of the other unit ("other"), or none. Then what they are told for each of CAPACITIES.
STRANGERS: Mapping[tuple[str | None, str], tuple[Told, ...]] = {
    ("super", "none"): (ASKED, NEEDS_UNIT, NEEDS_UNIT, OWNER_OF_WHAT, ASKED),
    ("super", "own"): (NO_DATA, NO_DATA, NO_DATA, NO_DATA, NO_DATA),
    ("admin1", "none"): (DENIED, ASKED, ASKED, OWNER_OF_WHAT, ASKED),
    ("admin1", "own"): (DENIED, ASKED, ASKED, ASKED, ASKED),
    ("admin1", "other"): (STRANGER,) * 5,
    ("staff1", "none"): (DENIED, DENIED, ASKED, OWNER_OF_WHAT, ASKED),
    ("staff1", "own"): (DENIED, DENIED, ASKED, ASKED, ASKED),
    ("staff1", "other"): (STRANGER,) * 5,
    ("researcher1", "none"): (ROLE,) * 5,
    ("researcher1", "own"): (DENIED, DENIED, DENIED, ASKED, ASKED),
    ("researcher1", "other"): (ROLE,) * 5,
    ("researcher2", "none"): (ROLE,) * 5,
    ("researcher2", "own"): (ROLE,) * 5,
    (None, "own"): (NOBODY,) * 5,
}
STORED = {
    "Super Admin": "Super Admin",
    "Unit Admin": "Unit Admin",
    "Unit Personnel": "Unit Personnel",
    "Project Owner": "Researcher",
    "Researcher": "Researcher",
}
AFFILIATED = (403, "Users affiliated with units can not be added to projects individually.")
NOT_IN_PROJECTS = (
    403,
    "User Role should be either 'Project Owner' or 'Researcher' to be added to a project",
)
WHICH = (
    400,
    "This user was already added to the system. Specify the project you wish to give access to.",
)
LOST = (
    403,
    "You do not have access to the current project. To get access, "
    "ask the a user within the responsible unit to grant you access.",
)
SAME = (403, "{} is already associated with the Project {} in this capacity. ")
GIVEN = (
    200,
    "{} was given access to the Project {} as a Researcher. An e-mail notification has not been sent.",
)
KNOWN = (
    ("outside@example.org", "User outside"),
    ("researcher2@example.org", "User researcher2"),
    ("staff2@example.org", "User staff2"),
    ("super@example.org", "User super"),
    ("waiting@example.org", "Pending invite for waiting@example.org"),
    ("colleague@example.org", "Pending invite for colleague@example.org"),
)
# An account outside the project, one in it, one of a unit, a super admin, an invite to nothing, one to a unit.
RESEARCHERS = (GIVEN, SAME, AFFILIATED, AFFILIATED, GIVEN, AFFILIATED)
PEOPLE: Mapping[tuple[str, str, str], tuple[Told, ...]] = {
    ("admin1", "own", "Researcher"): RESEARCHERS,
    ("staff1", "own", "Researcher"): RESEARCHERS,
    ("researcher1", "own", "Researcher"): RESEARCHERS,
    ("super", "own", "Researcher"): (LOST, SAME, AFFILIATED, AFFILIATED, LOST, AFFILIATED),
    ("researcher2", "own", "Researcher"): (ROLE,) * 6,
    ("admin2", "own", "Researcher"): (STRANGER,) * 6,
    ("admin1", "own", "Unit Personnel"): (NOT_IN_PROJECTS,) * 6,
    ("super", "own", "Super Admin"): (NOT_IN_PROJECTS,) * 6,
    ("researcher1", "own", "Unit Admin"): (NOT_IN_PROJECTS,) * 6,
    ("admin1", "none", "Researcher"): (WHICH,) * 6,
    ("super", "none", "Unit Admin"): (WHICH,) * 6,
    ("staff1", "none", "Super Admin"): (WHICH,) * 6,
}


async def places(world: World) -> dict[str, str | None]:
    own = await crowd.owned_project(world)
    assert (await add(world, "admin1", "researcher2@example.org", project=own)).status_code == 200
    return {"none": None, "own": own, "other": await world.project("admin2")}


@pytest.mark.parametrize("edition", ["v1", "v3"])
@pytest.mark.parametrize(("who", "where"), STRANGERS)
async def test_asking_somebody_unknown(
    world: World, who: str | None, where: str, edition: str
) -> None:
    project = (await places(world))[where]
    before = await crowd.invited(world)
    answered, expected = [], []
    for number, capacity in enumerate(CAPACITIES):
        email = f"new{number}@example.org"
        answered.append(told(await add(world, who, email, capacity, project, edition)))
        status, message = STRANGERS[who, where][number]
        expected.append((status, str(message).format(email)))
    assert answered == expected
    rows = {email: role for email, (role, _) in (await crowd.invited(world)).items()}
    assert rows == {email: role for email, (role, _) in before.items()} | {
        f"new{number}@example.org": STORED[CAPACITIES[number]]
        for number, outcome in enumerate(STRANGERS[who, where])
        if outcome == ASKED
    }
    for number, outcome in enumerate(STRANGERS[who, where]):
        letters = await crowd.letters(world, f"new{number}@example.org")
        assert letters == (["invite"] if outcome == ASKED else [])


@pytest.mark.parametrize(("who", "where", "capacity"), PEOPLE)
async def test_letting_in_somebody_known(world: World, who: str, where: str, capacity: str) -> None:
    project = (await places(world))[where]
    await add(world, "admin1", "outside@example.org")
    await crowd.accept(world, "outside@example.org", "outside")
    await add(world, "super", "waiting@example.org")
    await add(world, "admin2", "colleague@example.org", "Unit Personnel")
    answered, expected = [], []
    for number, (email, subject) in enumerate(KNOWN):
        answered.append(told(await add(world, who, email, capacity, project)))
        status, message = PEOPLE[who, where, capacity][number]
        expected.append((status, str(message).format(subject, project)))
    assert answered == expected


# Each endpoint for people, who calls it, and whom it is about: somebody of the own unit, of another, of none.
WHO = ("super", "admin1", "staff1", "researcher1", "researcher2", None)
ABOUT = {"own": "staff1b", "other": "staff2", "none": "loner"}
OF_NONE = (
    403,
    "You can only activate/deactivate users with the role Unit Admin or Unit Personnel.",
)
OF_OTHER = (
    403,
    "As a Unit Admin, you can only activate/deactivate other Unit Admins or Unit Personnel "
    "within your specific unit.",
)
DELETE_NONE = (400, "You can only delete users with the role Unit Admin or Unit Personnel.")
DELETE_OTHER = (
    400,
    "As a Unit Admin, you're can only delete Unit Admins and Unit Personnel within your specific unit.",
)
NOT_MINE = (
    403,
    "You do not have the necessary permissions to shared project access with this user.",
)
NOT_IN = (
    400,
    "The user with email '{}' does not have access to the specified project. "
    "Cannot remove non-existent project access.",
)
OFF = (200, "You successfully deactivated the account {} ({}, {})!")
GONE = (200, "You successfully deleted the account {} ({}, {})!")
FIXED = (200, "Project access updated for user '{1}'.")
ENDPOINTS: Mapping[str, tuple[tuple[Told, Told, Told], ...]] = {
    # For each of WHO: own unit, other unit, no unit. The project is one of `admin1`'s unit; `researcher1` owns it.
    "user/activation": (
        (OFF, OFF, OFF),
        (OFF, OF_OTHER, OF_NONE),
        (ROLE,) * 3,
        (ROLE,) * 3,
        (ROLE,) * 3,
        (NOBODY,) * 3,
    ),
    "user/delete": (
        (GONE, GONE, GONE),
        (GONE, DELETE_OTHER, DELETE_NONE),
        (ROLE,) * 3,
        (ROLE,) * 3,
        (ROLE,) * 3,
        (NOBODY,) * 3,
    ),
    "proj/access": (
        (ROLE,) * 3,
        (FIXED, NOT_MINE, FIXED),
        (FIXED, NOT_MINE, FIXED),
        (NOT_MINE, NOT_MINE, FIXED),
        (ROLE,) * 3,
        (NOBODY,) * 3,
    ),
    "user/access/revoke": (
        (ROLE,) * 3,
        (NOT_IN,) * 3,
        (NOT_IN,) * 3,
        (NOT_IN,) * 3,
        (ROLE,) * 3,
        (NOBODY,) * 3,
    ),
}
ACCOUNTS = {
    "own": ("staff1b", "staff1b@example.org", "Unit Personnel"),
    "other": ("staff2", "staff2@example.org", "Unit Personnel"),
    "none": ("loner", "loner@example.org", "Researcher"),
}


@pytest.mark.parametrize("edition", ["v1", "v3"])
@pytest.mark.parametrize("whose", ["own", "other", "none"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_doing_something_to_somebody(
    world: World, endpoint: str, whose: str, edition: str
) -> None:
    project = await crowd.owned_project(world)
    username, email, role = ACCOUNTS[whose]
    column = ["own", "other", "none"].index(whose)
    answered, expected = [], []
    for number, who in enumerate(WHO):
        await _be_there(world, username, email)
        answered.append(await _do(world, endpoint, who, email, project, edition))
        status, message = ENDPOINTS[endpoint][number][column]
        texts = (email,) if endpoint == "user/access/revoke" else (username, email, role)
        expected.append((status, str(message).format(*texts)))
        if answered[-1][0] == 200 and endpoint == "user/activation":
            body = {"email": email, "action": "reactivate"}
            assert (
                await world.call("POST", "/user/activation", "super", json=body)
            ).status_code == 200
    assert answered == expected


async def _do(
    world: World, endpoint: str, who: str | None, email: str, project: str, edition: str
) -> Told:
    match endpoint:
        case "user/activation":
            body = {"email": email, "action": "deactivate"}
            answer = await world.call("POST", "/user/activation", who, json=body, edition=edition)
        case "user/delete" if edition == "v3":
            path = f"/user/delete?email={email}"
            answer = await world.call("DELETE", path, who, edition=edition)
        case "user/delete":
            body = {"email": email}
            answer = await world.call("DELETE", "/user/delete", who, json=body)
        case _:
            answer = await world.call(
                "POST",
                f"/{endpoint}?project={project}",
                who,
                json={"email": email},
                edition=edition,
            )
    return told(answer)


async def _be_there(world: World, username: str, email: str) -> None:
    """Make the account again if it was deleted."""
    found = await world.call("GET", "/user/find", "super", json={"username": username})
    if found.json()["exists"]:
        return
    who, role = {
        "staff1b": ("admin1", "Unit Personnel"),
        "staff2": ("admin2", "Unit Personnel"),
        "loner": ("admin1", "Researcher"),
    }[username]
    assert (await add(world, who, email, role)).status_code == 200
    await crowd.accept(world, email, username)


# What needs nobody else: each endpoint for super, admin1, staff1, the owner, a researcher, nobody.
OK = (200, None)
FEW = (
    403,
    "Your unit only has 3 Unit Admins. You cannot delete your account. "
    "Invite a new Unit Admin first if you wish to proceed.",
)
OWN_NONE = (
    403,
    "You need to have the role 'Project Owner' in at least one project to be able to list any invites.",
)
ALONE: Mapping[str, tuple[Told, ...]] = {
    "GET /users": (OK, OK, OK, ROLE, ROLE, NOBODY),
    "GET /user/invites": (OK, OK, OK, OK, OWN_NONE, NOBODY),
    "GET /user/find?username=super": (OK, ROLE, ROLE, ROLE, ROLE, NOBODY),
    "GET /user/emails": (OK, ROLE, ROLE, ROLE, ROLE, NOBODY),
    "DELETE /user/delete_self": (ROLE, FEW, OK, OK, OK, NOBODY),
}


@pytest.mark.parametrize("edition", ["v1", "v3"])
@pytest.mark.parametrize("endpoint", ALONE)
async def test_what_concerns_nobody_else(world: World, endpoint: str, edition: str) -> None:
    await crowd.owned_project(world)
    method, _, path = endpoint.partition(" ")
    answered = []
    for who in WHO:
        json = {"username": "super"} if "find" in path else None
        answer = await world.call(method, path, who, json=json, edition=edition)
        status, message = told(answer)
        answered.append((status, None if status == 200 else message))
    assert answered == list(ALONE[endpoint])


async def test_the_name_of_a_project_in_the_query_makes_nobody_its_owner(world: World) -> None:
    own, other = await crowd.owned_project(world), await world.project("admin1", "researcher1")
    for project in (other, "unit100099", "", "'"):
        answer = await add(world, "researcher1", "new@example.org", project=project)
        assert told(answer) == ROLE
    assert (await add(world, "researcher1", "new@example.org", project=own)).status_code == 200


def test_the_matrices_miss_no_endpoint() -> None:
    served = {path.strip("/") for route in people.ROUTES for path in route.paths}
    tested = {"user/add", *ENDPOINTS}
    tested |= {name.partition(" ")[2].strip("/").partition("?")[0] for name in ALONE}
    assert served == tested
