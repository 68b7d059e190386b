"""Requests as no client of ours would send them: tokens, bodies, parameters. Never a 500, always a JSON object."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddsd.access import System
from ddsd.keys.instance import InstanceKey
from ddsd.settings import Settings
from ddsd.users import sessions
from ddsd.work import Services, transaction
from tests.builders import SettableClock
from tests.services import make_services
from tests.thorough import usual
from tests.v1 import endpoints
from tests.v1.people import begin_maintenance, deactivate, mails, use_app
from tests.world import PROJECT, World, make_world, populate

Endpoint = tuple[str, str]
SECOND_FACTOR = "Two-factor authentication is required! Please check your primary e-mail!"
NEEDS_TOKEN = endpoints.WITH_SESSION + endpoints.LOGIN[1:]


def told(answer: httpx.Response) -> tuple[int, str]:
    """Return status and message of a refusal."""
    return answer.status_code, answer.json()["message"]


class TestTokens:
    """What is said to a token that is no good, before anything else is looked at."""

    async def test_no_token(self, world: World) -> None:
        for method, path in NEEDS_TOKEN:
            assert told(await world.call(method, path)) == (401, "No token")

    @pytest.mark.parametrize(
        "header", ["Bearer", "Bearer ", "Basic YTpi", "Token abc", "bearer\t", "x" * 5000]
    )
    async def test_another_kind_of_credentials_is_no_token(self, world: World, header: str) -> None:
        for method, path in NEEDS_TOKEN:
            answer = await world.call(method, path, headers={"Authorization": header})
            assert told(answer) == (401, "No token")

    @pytest.mark.parametrize(
        "token",
        ["garbage", "a.b.c", "a.b.c.d.e", "....", "é", "e30." * 4 + "e30", "A" * 20_000],
    )
    async def test_garbage_is_an_invalid_token(self, world: World, token: str) -> None:
        headers = {"X-CLI-Version": "2.15.1", "Authorization": f"Bearer {token}".encode()}
        for method, path in NEEDS_TOKEN:
            answer = await world.http.request(method, f"/api/v1{path}", headers=headers)  # type: ignore[arg-type]
            assert told(answer) == (401, "Invalid token")

    async def test_a_truncated_or_altered_token_is_invalid(self, world: World) -> None:
        token = await world.token_of("staff1")
        middle = len(token) // 2
        altered = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
        for broken in (token[:-5], token[5:], token[: len(token) // 2], altered, token + "."):
            for method, path in NEEDS_TOKEN:
                assert told(await world.call(method, path, token=broken)) == (401, "Invalid token")

    async def test_parts_of_two_peoples_tokens_make_no_token(self, world: World) -> None:
        mine = (await world.token_of("researcher1")).split(".")
        theirs = (await world.token_of("admin1")).split(".")
        for part in range(5):
            mixed = ".".join([*mine[:part], theirs[part], *mine[part + 1 :]])
            answer = await world.call("GET", "/user/info", token=mixed)
            if mixed == ".".join(mine):  # "dir" has an empty second part in both
                assert answer.json()["info"]["username"] == "researcher1"
            else:
                assert told(answer) == (401, "Invalid token")

    async def test_an_expired_token(self, world: World) -> None:
        token = await world.token_of("staff1")
        world.clock.advance(hours=167, seconds=3599)
        assert (await world.call("GET", "/user/info", token=token)).status_code == 200
        world.clock.advance(seconds=1)
        for method, path in NEEDS_TOKEN:
            assert told(await world.call(method, path, token=token)) == (401, "Expired token")

    async def test_the_token_of_an_ended_session(self, world: World) -> None:
        token = await world.token_of("staff1")
        await end_sessions(world, token, "logged out")
        for method, path in NEEDS_TOKEN:
            assert told(await world.call(method, path, token=token)) == (401, "Expired token")

    async def test_the_token_from_before_a_password_reset(self, world: World) -> None:
        token = await world.token_of("staff1")
        await end_sessions(world, token, "password reset")
        for method, path in NEEDS_TOKEN:
            assert told(await world.call(method, path, token=token)) == (
                401,
                "Password reset performed after last authentication. "
                "Start a new authenticated session to proceed.",
            )

    async def test_a_partial_token_is_dead_once_it_was_completed(self, world: World) -> None:
        partial = await world.partial_token("staff1")
        done = await world.call(
            "GET",
            "/user/second_factor",
            token=partial,
            json={"HOTP": await world.code_of("staff1")},
        )
        assert done.status_code == 200
        for method, path in NEEDS_TOKEN:
            answer = await world.call(method, path, token=partial)
            assert told(answer) == (403, "Invalid token. Try reauthenticating.")

    async def test_a_partial_token_lasts_half_an_hour(self, world: World) -> None:
        partial = await world.partial_token("staff1")
        world.clock.advance(seconds=30 * 60)
        answer = await world.call("GET", "/user/info", token=partial)
        assert told(answer) == (401, "Expired token")

    async def test_the_token_of_another_instance_is_invalid(self, world: World) -> None:
        other = replace(world.services, instance_key=InstanceKey.generate())
        token = await world.token_of("staff1")
        async with make_world(other, world.clock).http as http:
            answer = await http.get(
                "/api/v3/user/info", headers={"Authorization": f"Bearer {token}"}
            )
        assert told(answer) == (401, "Invalid token")

    async def test_a_deactivated_persons_token(self, world: World) -> None:
        token = await world.token_of("staff1")
        await deactivate(world, "staff1")
        for method, path in NEEDS_TOKEN:
            assert told(await world.call(method, path, token=token)) == (
                403,
                "Your account has been deactivated. You cannot use the DDS.",
            )

    async def test_during_maintenance_only_super_admins_tokens_are_good(self, world: World) -> None:
        staff, boss = await world.token_of("staff1"), await world.token_of("super")
        await begin_maintenance(world)
        for method, path in NEEDS_TOKEN:
            assert told(await world.call(method, path, token=staff)) == (
                503,
                "Maintenance of DDS is ongoing.",
            )
        assert (await world.call("GET", "/user/info", token=boss)).status_code == 200
        assert (await world.call("GET", "/motd")).status_code == 200


class TestPartialTokens:
    """A password alone opens nothing; the code is mailed again only when the last one is no good."""

    async def test_it_opens_nothing(self, world: World) -> None:
        partial = await world.partial_token("staff1")
        for method, path in endpoints.WITH_SESSION:
            assert told(await world.call(method, path, token=partial)) == (401, SECOND_FACTOR)

    async def test_no_second_code_while_the_first_is_good(self, world: World) -> None:
        partial = await world.partial_token("staff1")
        code = await world.code_of("staff1")
        world.clock.advance(seconds=15 * 60 - 1)
        await world.call("GET", "/user/info", token=partial)
        assert await world.code_of("staff1") == code

    async def test_a_new_code_once_the_first_is_too_old(self, world: World) -> None:
        partial = await world.partial_token("staff1")
        code = await world.code_of("staff1")
        world.clock.advance(seconds=15 * 60)
        answer = await world.call("GET", "/user/info", token=partial)
        assert told(answer) == (401, SECOND_FACTOR)
        assert await world.code_of("staff1") != code

    async def test_a_new_code_once_the_first_is_used(self, world: World) -> None:
        partial, other = await world.partial_token("staff1"), await world.partial_token("staff1")
        code = await world.code_of("staff1")
        await world.call("GET", "/user/second_factor", token=other, json={"HOTP": code})
        assert told(await world.call("GET", "/proj/list", token=partial)) == (401, SECOND_FACTOR)
        fresh = await world.code_of("staff1")
        assert fresh != code
        done = await world.call("GET", "/user/second_factor", token=partial, json={"HOTP": fresh})
        assert done.status_code == 200

    async def test_with_an_app_no_code_is_mailed(self, world: World) -> None:
        await use_app(world, "staff1", b"\x07" * 20)
        partial = await world.partial_token("staff1")
        answer = await world.call("GET", "/user/info", token=partial)
        assert told(answer) == (401, "Two-factor authentication is required! ")
        assert await mails(world, "staff1") == []


class TestProjectParameter:
    """How each endpoint complains of the ``project`` parameter (wire contract, section 0.3)."""

    @pytest.mark.parametrize("edition", ["v1", "v3"])
    async def test_missing_or_empty_where_a_helper_reads_it(
        self, world: World, edition: str
    ) -> None:
        for method, path in endpoints.OF_PROJECT_HELPER:
            for query in ("", "?project=", "?other=1"):
                answer = await world.call(
                    method, path + query, "staff1", json={"a": 1}, edition=edition
                )
                assert told(answer) == (400, "Missing required information: 'project'")

    @pytest.mark.parametrize("edition", ["v1", "v3"])
    async def test_missing_where_a_schema_reads_it(self, world: World, edition: str) -> None:
        for method, path in endpoints.OF_PROJECT_SCHEMA:
            answer = await world.call(method, path, "staff1", edition=edition)
            assert answer.status_code == 400
            assert answer.json() == {"project": {"message": "Project ID required."}}

    @pytest.mark.parametrize(
        "public_id",
        ["nope", "UNIT100001", "unit100001 ", "unit1%25", "%C3%A9" * 9, "%ED%A0%80", "x" * 6000],
    )
    async def test_unknown(self, world: World, public_id: str) -> None:
        await world.project("admin1")
        for method, path in endpoints.OF_PROJECT:
            answer = await world.call(
                method, f"{path}?project={public_id}", "staff1", json={"a": 1}
            )
            assert told(answer) == (400, "The specified project does not exist.")

    async def test_a_nul_in_it(self, world: World) -> None:
        for method, path in endpoints.OF_PROJECT:
            answer = await world.call(method, f"{path}?project=a%00b", "staff1", json={"a": 1})
            assert answer.status_code == 400
            assert "NUL" in answer.json()["message"]

    async def test_the_role_comes_first_then_json_then_the_project(self, world: World) -> None:
        theirs = await world.project("admin2")
        path = "/proj/status?project={}"
        role = await world.call("POST", path.format("nope"), "researcher1")
        assert told(role) == (403, "Insufficient credentials")
        body = await world.call("POST", path.format("nope"), "staff1")
        assert told(body) == (400, "Required data missing from request!")
        unknown = await world.call("POST", path.format("nope"), "staff1", json={"new_status": 1})
        assert told(unknown) == (400, "The specified project does not exist.")
        access = await world.call("POST", path.format(theirs), "staff1", json={"new_status": 1})
        assert told(access) == (403, "Project access denied.")


class TestBodies:
    """JSON that is missing, broken, of the wrong type, or hostile."""

    @pytest.mark.parametrize(
        "raw",
        [b"", b" ", b"{", b"nonsense", b"{}", b"[]", b"null", b"0", b"false", b'""', b"NaN",
         b'{"force": NaN}', b'{"title": "\xff"}', b'{"title": "\\ud800"}', b'{"a": 1e999}',
         b"[" * 100_000, b"\x00", b'{"a": "\x00"}', b"\xef\xbb\xbf{}"],
    )  # fmt: skip
    async def test_a_body_that_cannot_be_used_is_a_missing_one(
        self, world: World, raw: bytes
    ) -> None:
        project = await world.project("admin1")
        for path in ("/proj/create", f"/proj/status?project={project}"):
            answer = await world.call("POST", path, "staff1", content=raw)
            assert told(answer) == (400, "Required data missing from request!")

    @pytest.mark.parametrize("raw", [b"5", b'"text"', b"[1]", b"true", b"1.5"])
    async def test_a_body_that_is_no_object_is_refused(self, world: World, raw: bytes) -> None:
        project = await world.project("admin1")
        for path in ("/proj/create", f"/proj/status?project={project}"):
            answer = await world.call("POST", path, "staff1", content=raw)
            assert told(answer) == (400, "The request's JSON must be an object.")

    async def test_a_nul_is_found_however_deep_it_lies(self, world: World) -> None:
        for raw in (
            b'{"title": "a\\u0000b"}',
            b'{"\\u0000": 1}',
            b'{"users_to_add": [{"email": "a\\u0000b"}]}',
            b'{"a":' + b"[" * 900 + b'"\\u0000"' + b"]" * 900 + b"}",
        ):
            answer = await world.call("POST", "/proj/create", "staff1", content=raw)
            assert answer.status_code == 400
            assert "NUL" in answer.json()["message"]

    @pytest.mark.parametrize("raw", [b"[]", b"5", b"nonsense", b'{"show_all": [1], "usage": {}}'])
    async def test_options_of_the_wrong_type_do_no_harm(self, world: World, raw: bytes) -> None:
        project = await world.project("admin1")
        for path in ("/proj/list", f"/proj/status?project={project}"):
            assert (await world.call("GET", path, "staff1", content=raw)).status_code == 200

    @pytest.mark.parametrize("edition", ["v1", "v3"])
    async def test_a_body_over_the_limit_is_answered_in_json(
        self, small: World, edition: str
    ) -> None:
        for method, path in endpoints.EVERY:
            answer = await small.call(
                method, path, "admin1", edition=edition, content=b"x" * (1024**2 + 1)
            )
            assert answer.status_code == 413
            assert answer.json() == {"message": "The request is larger than this service accepts."}

    async def test_a_body_over_the_limit_that_does_not_say_its_length(self, small: World) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 500_000

        answer = await small.call("POST", "/proj/create", "admin1", content=chunks())
        assert answer.status_code == 413

    @pytest.fixture
    async def small(
        self, database: Any, clock: SettableClock, tmp_path: Path
    ) -> AsyncIterator[World]:
        """A service that takes a mebibyte and no more."""
        limited = Settings.model_validate(
            {"instance": {"state_dir": tmp_path}, "listen": {"max_body_mib": 1}}
        )
        services = make_services(database, clock, tmp_path, settings=limited)
        await populate(services)
        made = make_world(services, clock)
        async with made.http:
            yield made


class TestAnything:
    """A few hundred random requests for each endpoint."""

    ODD = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=-(2**70), max_value=2**70),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(
            ["", "Available", "Expired", "researcher1@example.org", "x" * 20_000, "😀"]
        ),
    )
    VALUES = st.recursive(
        ODD,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=6,
    )
    NAMES = st.sampled_from(
        ["title", "description", "pi", "non_sensitive", "users_to_add", "force", "new_status",
         "deadline", "send_email", "is_aborted", "history", "usage", "show_all", "HOTP", "TOTP",
         "email", "role", "unit", "action", "is_invite", "username"]
    )  # fmt: skip
    PEOPLE = st.lists(st.fixed_dictionaries({"email": VALUES, "role": VALUES}), max_size=2)
    BODIES = st.one_of(
        st.dictionaries(NAMES, VALUES, max_size=5),
        VALUES,
        st.builds(lambda people: PROJECT | {"force": True, "users_to_add": people}, PEOPLE),
        st.fixed_dictionaries(
            {
                "email": VALUES | st.emails(),
                "role": st.sampled_from(["Researcher", "Unit Personnel"]),
            },
            optional={"unit": VALUES, "send_email": VALUES},
        ),
        st.builds(lambda days: {"new_status": "Available", "deadline": days}, VALUES),
    )
    QUERIES = st.dictionaries(
        st.sampled_from(["project", "history", "usage"]), st.text(max_size=12), max_size=2
    )

    @pytest.mark.parametrize("at", endpoints.EVERY, ids=endpoints.name)
    async def test_it_is_answered_with_a_json_object_and_never_with_a_fault(
        self, quick: World, at: Endpoint
    ) -> None:
        method, path = at
        project = await quick.project("admin1")
        await quick.token_of("staff1")
        requests: list[tuple[Any, dict[str, str]]] = []

        @settings(
            max_examples=usual(15, 40),
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(self.BODIES, self.QUERIES)
        def gather(body: Any, query: dict[str, str]) -> None:
            requests.append((body, query))

        gather()
        for number, (body, query) in enumerate(requests):
            params = {"project": project} | query if number % 2 else query
            answer = await quick.call(
                method,
                path,
                "staff1",
                content=json.dumps(body).encode(),
                params=params,
                edition="v1" if number % 3 else "v3",
            )
            assert answer.status_code < 500 or answer.status_code == 503, (body, query, answer.text)
            assert isinstance(answer.json(), dict), (body, query, answer.text)

    @pytest.fixture
    async def quick(self, world: World) -> AsyncIterator[World]:
        """A world in which much may be tried."""
        generous = world.services.settings.model_copy(
            update={
                "security": world.services.settings.security.model_copy(
                    update={"logins_per_hour": 100_000, "logins_per_hour_per_address": 100_000}
                )
            }
        )
        services = Services(**{**vars(world.services), "settings": generous})
        made = make_world(services, world.clock)
        async with made.http:
            yield made


async def end_sessions(world: World, token: str, because: str) -> None:
    """End the sessions of whoever has this token."""
    async with transaction(world.services, System()) as work:
        caller = await sessions.find(work, token)
        assert await sessions.end_all(work, caller.user.id, because) == 1
