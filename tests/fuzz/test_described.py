"""Thousands of requests made from descriptions: none meets a fault, none an answer that is not described.

``DDSD_FUZZ`` says how many requests each description is good for, if not the usual number.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ddsd.contract.delivery import PATH
from ddsd.work import Services
from tests.fuzz.description import PROJECT, describe
from tests.thorough import usual
from tests.world import EMAIL, PASSWORD, VERSION, World, basic, make_world

Operation = APIOperation[Any, Any, Any, Any]
REQUESTS: Final = int(os.environ.get("DDSD_FUZZ") or usual(600, 1600))
REUSED: Final = 8
EDITIONS: Final = ["v1", "v3"]
PEOPLE: Final = ["admin1", "staff1", "researcher1", "super", None]
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(params=["sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """One database: what is looked for here is what no handler expects."""
    return str(request.param)


@pytest.fixture
async def patient(world: World) -> AsyncIterator[World]:
    """A world that is not tired of logins and invites."""
    limits = dict.fromkeys(
        ("logins_per_hour", "logins_per_hour_per_address", "invites_per_hour"), 1_000_000
    )
    security = world.services.settings.security.model_copy(update=limits)
    tuned = world.services.settings.model_copy(update={"security": security})
    made = make_world(Services(**{**vars(world.services), "settings": tuned}), world.clock)
    made.http = httpx.AsyncClient(
        transport=httpx.ASGITransport(made.app, raise_app_exceptions=False),  # type: ignore[arg-type]
        base_url="http://ddsd.test",
    )
    async with made.http:
        yield made


@pytest.mark.parametrize("edition", EDITIONS)
async def test_the_stock_wire_answers_whatever_is_sent_as_described(
    patient: World, edition: str
) -> None:
    schema = schemathesis.openapi.from_dict(describe(patient.app, edition))
    seen = await send_all(patient, list(dealt(operations_of(schema))))
    assert {200, 400, 401, 403} <= seen


async def test_the_delivery_api_answers_whatever_is_sent_as_described(patient: World) -> None:
    described = await patient.http.get(f"{PATH}/openapi.json")
    schema = schemathesis.openapi.from_dict(described.json())
    operations = operations_of(schema)
    each = REQUESTS // len(operations) // 4
    rounds = [list(cases_of(one, each, number)) for number, one in enumerate(operations)]
    seen = await send_all(patient, rounds)
    assert {200, 400, 401} <= seen


async def send_all(world: World, rounds: list[list[Case[Any]]]) -> set[int]:
    """Send requests to every operation by turns, each as somebody else; return the statuses that came."""
    seen: set[int] = set()
    for turn in range(max(len(cases) for cases in rounds)):
        known = await begin(world)
        for number, cases in enumerate(rounds):
            if turn < len(cases):
                who = PEOPLE[(turn + number) % len(PEOPLE)]
                seen.add(await send(world, cases[turn], who, known))
    return seen


async def begin(world: World) -> dict[str, str]:
    """Make what requests are about: a project with files. Whatever ended somebody's session, they have a new one."""
    world.tokens.clear()
    project = await world.project("admin1", "researcher1")
    for name in ("a.txt", "d/b.txt"):
        await world.add_file(project, name)
    return {PROJECT: project, "{person}": EMAIL.format("researcher2")}


async def send(world: World, case: Case[Any], who: str | None, known: dict[str, str]) -> int:
    """Send one request and hold the answer against the description."""
    made = filled(case.as_transport_kwargs(base_url="http://ddsd.test"), known)
    headers = {**made["headers"], "X-CLI-Version": VERSION} | await credentials(world, case, who)
    content = json.dumps(made["json"]).encode() if "json" in made else made.get("data")
    url = made["url"].replace(quote(PROJECT), known[PROJECT])
    answer = await world.http.request(
        case.method, url, params=made.get("params"), content=content, headers=headers
    )
    case.validate_response(answer, checks=CHECKS)
    return answer.status_code


async def credentials(world: World, case: Case[Any], who: str | None) -> dict[str, str]:
    """Return the header that lets somebody in at this operation; nobody has none."""
    if who is None:
        return {}
    if case.path.endswith(("/user/encrypted_token", "/user/hotp/activate")):
        return {"Authorization": basic(who, PASSWORD)}
    ends = case.path.endswith(("/user/second_factor", "/login/second-factor"))
    token = await world.partial_token(who) if ends else await world.token_of(who)
    return {"Authorization": f"Bearer {token}"}


def filled(value: Any, known: dict[str, str]) -> Any:
    """Return a request with what is known in this world instead of its placeholders."""
    match value:
        case dict():
            return {name: filled(one, known) for name, one in value.items()}
        case list():
            return [filled(one, known) for one in value]
        case str():
            return known.get(value, value)
        case _:
            return value


def operations_of(schema: BaseSchema) -> list[Operation]:
    return [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]


def dealt(operations: list[Operation]) -> Iterator[list[Case[Any]]]:
    """Deal requests out to operations that all take the same: to make some takes longer than to answer them.

    What is made is used for several operations, of which none gets the same twice.
    """
    each = max(REQUESTS // len(operations), 1)
    pool = generated(operations[0].as_strategy(), max(REQUESTS // REUSED, each), 0)
    for number, operation in enumerate(operations):
        yield [
            operation.Case(query=case.query, body=case.body, media_type=case.media_type)
            for case in (pool[(number * each + turn) % len(pool)] for turn in range(each))
        ]


def cases_of(operation: Operation, count: int, number: int) -> Iterator[Case[Any]]:
    """Return cases of an operation: half as described and about a project that there is, half not."""
    aim = {"project": PROJECT} if "{project}" in operation.path else None
    described = operation.as_strategy(GenerationMode.POSITIVE, path_parameters=aim)
    yield from generated(described, count // 2, number)
    yield from generated(operation.as_strategy(GenerationMode.NEGATIVE), count // 2, number)


def generated(strategy: Any, count: int, number: int) -> list[Case[Any]]:
    cases: list[Case[Any]] = []

    @seed(number)
    @settings(
        max_examples=max(count, 1),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def gather(case: Case[Any]) -> None:
        cases.append(case)

    gather()
    return cases
