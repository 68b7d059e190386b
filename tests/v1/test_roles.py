"""Who may call what: every endpoint, everybody, both editions. The expectations are the wire contract's, section 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ddsd.planes.v1 import account, lifecycle, notices, projects
from tests.v1.people import deactivate
from tests.world import PASSWORD, PROJECT, VERSION, World, basic

OK = (200, None)
ROLE = (403, "Insufficient credentials")
CREATE = (403, "You do not have the required permissions to create a project.")
STRANGER = (403, "Project access denied.")
GONE = (403, "Your account has been deactivated. You cannot use the DDS.")
OLD = (
    403,
    "Your CLI version is trying to use functionality which is no longer in use. "
    "Upgrade your version to the latest one and run your command again.",
)
NOBODY = (401, "No token")
WRONG = (401, "Missing or incorrect credentials")

# The unit of `admin1` and `staff1` owns the project; `researcher1` is in it, `researcher2` is not.
WHO = ("super", "admin1", "staff1", "researcher1", "researcher2", "admin2", "admin1c", None)


@dataclass(frozen=True)
class Endpoint:
    """One call, the state it needs the project in, and what each of :data:`WHO` is answered."""

    method: str
    path: str
    expected: tuple[tuple[int, str | None], ...]
    body: Any = None
    released: bool = True
    v3: tuple[tuple[int, str | None], ...] | None = None


EVERYBODY = (OK, OK, OK, OK, OK, OK, GONE, NOBODY)
CONCERNED = (OK, OK, OK, OK, STRANGER, STRANGER, GONE, NOBODY)
READERS = (ROLE, OK, OK, OK, STRANGER, STRANGER, GONE, NOBODY)
ITS_UNIT = (ROLE, OK, OK, ROLE, ROLE, STRANGER, GONE, NOBODY)
RELEASE = {"new_status": "Available"}

ENDPOINTS: Mapping[str, Endpoint] = {
    "motd": Endpoint("GET", "/motd", (OK,) * 8),
    "user/info": Endpoint("GET", "/user/info", EVERYBODY),
    "proj/create": Endpoint(
        "POST",
        "/proj/create",
        (CREATE, OK, OK, CREATE, CREATE, OK, GONE, NOBODY),
        body=PROJECT | {"force": True},
        v3=(ROLE, OK, OK, ROLE, ROLE, OK, GONE, NOBODY),
    ),
    "proj/list": Endpoint("GET", "/proj/list", EVERYBODY),
    "proj/info": Endpoint("GET", "/proj/info?project={}", CONCERNED),
    "proj/public": Endpoint("GET", "/proj/public?project={}", READERS),
    "proj/private": Endpoint("GET", "/proj/private?project={}", READERS),
    "proj/status": Endpoint("GET", "/proj/status?project={}", CONCERNED),
    "proj/status release": Endpoint(
        "POST", "/proj/status?project={}", ITS_UNIT, body=RELEASE, released=False
    ),
    "proj/status retract": Endpoint(
        "POST", "/proj/status?project={}", ITS_UNIT, body={"new_status": "In Progress"}
    ),
    "proj/status expire": Endpoint(
        "POST", "/proj/status?project={}", ITS_UNIT, body={"new_status": "Expired"}
    ),
    "proj/status archive": Endpoint(
        "POST", "/proj/status?project={}", ITS_UNIT, body={"new_status": "Archived"}
    ),
    "proj/status delete": Endpoint(
        "POST",
        "/proj/status?project={}",
        ITS_UNIT,
        body={"new_status": "Deleted"},
        released=False,
    ),
    "proj/status extend": Endpoint(
        "PATCH", "/proj/status?project={}", ITS_UNIT, body={"confirmed": False}
    ),
    "proj/info change": Endpoint(
        "PUT", "/proj/info?project={}", READERS, body={"title": "Another"}
    ),
    "proj/busy": Endpoint("PUT", "/proj/busy", (OLD,) * 6 + (GONE, NOBODY), body={}),
    "proj/busy/any": Endpoint(
        "GET", "/proj/busy/any", (OK, ROLE, ROLE, ROLE, ROLE, ROLE, GONE, NOBODY)
    ),
    "proj/users": Endpoint("GET", "/proj/users?project={}", CONCERNED),
    "proj/upload/complete": Endpoint(
        "POST", "/proj/upload/complete?project={}", ITS_UNIT, released=False
    ),
}


def test_the_matrix_misses_no_endpoint() -> None:
    routes = [*account.ROUTES, *notices.ROUTES, *projects.ROUTES, *lifecycle.ROUTES]
    served = {path.strip("/") for route in routes for path in route.paths}
    elsewhere = {"user/encrypted_token", "user/second_factor"}
    elsewhere |= {"motd/send", "maintenance", "unit/info/all"}  # tests/v1/test_notices.py
    assert served - elsewhere <= {name.split(" ")[0] for name in ENDPOINTS}


@pytest.mark.parametrize("edition", ["v1", "v3"])
@pytest.mark.parametrize("name", ENDPOINTS)
async def test_everybody_gets_what_the_contract_grants(
    world: World, name: str, edition: str
) -> None:
    endpoint = ENDPOINTS[name]
    expected = endpoint.v3 if edition == "v3" and endpoint.v3 else endpoint.expected
    await world.token_of("admin1c")
    project = await _project(world, endpoint)
    await deactivate(world, "admin1c")
    answered = {}
    for who in WHO:
        path = endpoint.path.format(project)
        answer = await world.call(endpoint.method, path, who, json=endpoint.body, edition=edition)
        answered[who] = (answer.status_code, _why(answer.status_code, answer.json()))
        if endpoint.method == "POST" and answer.status_code == 200:
            project = await _project(world, endpoint)
    assert answered == dict(zip(WHO, expected, strict=True))


@pytest.mark.parametrize("edition", ["v1", "v3"])
async def test_everybody_but_the_deactivated_may_log_in(world: World, edition: str) -> None:
    await deactivate(world, "admin1c")
    answered = {}
    for who in WHO:
        headers = {"X-CLI-Version": VERSION}
        if who:
            headers["Authorization"] = basic(who, PASSWORD)
        answer = await world.http.get(f"/api/{edition}/user/encrypted_token", headers=headers)
        answered[who] = (answer.status_code, _why(answer.status_code, answer.json()))
    assert answered == dict(zip(WHO, (OK, OK, OK, OK, OK, OK, GONE, WRONG), strict=True))


@pytest.mark.parametrize("edition", ["v1", "v3"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_second_factor_completes_everybodys_login(
    world: World, method: str, edition: str
) -> None:
    for who in WHO[:6]:
        assert who is not None
        partial = await world.partial_token(who)
        answer = await world.call(
            method,
            "/user/second_factor",
            token=partial,
            json={"HOTP": await world.code_of(who)},
            edition=edition,
        )
        assert answer.status_code == 200, answer.text
        info = await world.call("GET", "/user/info", token=answer.json()["token"])
        assert info.json()["info"]["username"] == who
    partial = await world.partial_token("admin1c")
    await deactivate(world, "admin1c")
    refused = await world.call(method, "/user/second_factor", token=partial, json={"HOTP": "1" * 8})
    assert (refused.status_code, refused.json()["message"]) == GONE
    nobody = await world.call(method, "/user/second_factor", json={"HOTP": "1" * 8})
    assert (nobody.status_code, nobody.json()["message"]) == NOBODY


@pytest.mark.parametrize("edition", ["v1", "v3"])
async def test_a_project_owner_may_no_more_than_a_researcher_at_these_endpoints(
    world: World, edition: str
) -> None:
    people = [{"email": "researcher1@example.org", "role": "Project Owner"}]
    body = PROJECT | {"users_to_add": people, "force": True}
    project = (await world.call("POST", "/proj/create", "admin1", json=body)).json()["project_id"]
    await world.release(project)
    answered = {}
    for name, endpoint in ENDPOINTS.items():
        path = endpoint.path.format(project)
        answer = await world.call(
            endpoint.method, path, "researcher1", json=endpoint.body, edition=edition
        )
        answered[name] = answer.status_code
    refused = {"proj/create", "proj/status release", "proj/status retract", "proj/status expire"}
    refused |= {"proj/upload/complete", "proj/status archive", "proj/status delete"}
    refused |= {"proj/status extend", "proj/busy", "proj/busy/any"}
    assert answered == {name: 403 if name in refused else 200 for name in ENDPOINTS}


async def _project(world: World, endpoint: Endpoint) -> str:
    project = await world.project("admin1", "researcher1")
    if endpoint.released:
        await world.release(project)
    return project


def _why(status: int, body: dict[str, Any]) -> str | None:
    return None if status == 200 else body["message"]
