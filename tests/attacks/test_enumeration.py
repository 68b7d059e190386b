"""What strangers and the wrong people learn: nothing, not by the answer and not by what it costs."""

from __future__ import annotations

import pytest

from ddsd.users import password_reset
from tests.delivery.test_login import statements
from tests.v1.endpoints import OPERATING, name
from tests.world import EMAIL, VERSION, World, basic

ONLY_SUPER_ADMINS = [
    one for one in OPERATING if one not in {("GET", "/usage"), ("PUT", "/proj/busy")}
]
NEVER = "no-such-person"


@pytest.fixture
def kind() -> str:
    """Statements are counted, and they are the same on both kinds of database."""
    return "sqlite"


@pytest.mark.parametrize("edition", ["v1", "v3"])
@pytest.mark.parametrize("endpoint", ONLY_SUPER_ADMINS, ids=name)
async def test_who_does_not_run_the_service_is_refused_without_a_statement_that_writes(
    world: World, endpoint: tuple[str, str], edition: str
) -> None:
    method, path = endpoint
    body = {"message": "All must read this", "state": "on", "motd_id": 1, "primary_user_ids": [1]}
    for who in ("admin1", "staff1", "researcher1"):
        await world.token_of(who)
        with statements() as seen:
            answer = await world.call(method, path, who, edition=edition, json=body)
        assert answer.status_code == 403, (who, answer.text)
        assert not [one for one in seen if one.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert (await world.call(method, path, edition=edition, json=body)).status_code == 401


async def test_a_login_asks_the_database_as_much_for_nobody_as_for_somebody(world: World) -> None:
    asked = []
    for username in ("researcher1", NEVER, "researcher2", f"{NEVER}-2"):
        with statements() as seen:
            answer = await world.http.get(
                "/api/v1/user/encrypted_token",
                headers={
                    "X-CLI-Version": VERSION,
                    "Authorization": basic(username, "Wrong-1-pass"),
                },
            )
        assert answer.status_code == 401
        asked.append((seen, answer.text))
    assert asked[1:] == asked[:1] * 3


async def test_a_forgotten_password_is_asked_for_as_cheaply_by_nobody(world: World) -> None:
    asked = []
    for username in ("researcher1", NEVER, "admin1"):
        with statements() as seen:
            await password_reset.request(
                world.services, EMAIL.format(username), address="192.0.2.7"
            )
        asked.append(seen)
    assert asked[1:] == asked[:1] * 2


async def test_somebody_elses_project_costs_as_much_as_none(world: World) -> None:
    """The contract tells the two apart by their message; what may be done to them, by nothing."""
    await world.token_of("admin2")
    project = await world.project("admin1")
    asked = []
    for named in (project, "unit100099"):
        with statements() as seen:
            answer = await world.call("GET", f"/proj/info?project={named}", "admin2")
        assert answer.status_code in {403, 404, 400}
        asked.append(seen)
    assert asked[0] == asked[1]
