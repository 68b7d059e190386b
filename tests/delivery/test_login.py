"""Logging in without sending the password: what it opens, what it refuses, and what it gives away."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pyotp
import pytest
from sqlalchemy import Engine, event, select, update

from ddsctl.delivery import login as client
from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.contract.delivery import Cost, SecondFactorWanted
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import KdfCost, MasterSplit
from ddsd.secret import SecretText
from ddsd.users.tables import Session, User
from ddsd.work import Services, reading, transaction
from tests.delivery.client import Login, call, derivation, knock, log_in, project_key
from tests.services import CHEAP
from tests.v1.people import begin_maintenance, change, deactivate, mails, use_app
from tests.v1.test_login import everything, set_password
from tests.world import PASSWORD, World, make_world

WRONG = {"code": "not_authenticated", "message": "Missing or incorrect credentials", "facts": {}}
NEW_PASSWORD = "Another-horse-2"
DEARER = KdfCost(memory_kib=8192, iterations=2, lanes=1)


class NoArgon2(Deriver):
    """A deriver that must not be asked: this login is derived at the client."""

    async def derive(self, password: SecretText, salt: bytes, cost: KdfCost) -> MasterSplit:
        raise AssertionError("the service ran Argon2id")


def restarted(world: World, **replacements: Any) -> World:
    """Return the same world with something of the process exchanged."""
    return make_world(Services(**{**vars(world.services), **replacements}), world.clock)


def from_address(world: World, address: str) -> World:
    """Return the same world as seen from another address."""
    transport = httpx.ASGITransport(world.app, client=(address, 4711))  # type: ignore[arg-type]
    http = httpx.AsyncClient(transport=transport, base_url="http://ddsd.test")
    return World(world.services, world.clock, world.app, http, world.tokens)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what is asked of the database until the block ends."""
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@contextmanager
def captured(world: World) -> Iterator[list[bytes]]:
    """Collect everything that is sent to the service until the block ends: address, headers, body."""
    sent: list[bytes] = []

    async def note(request: httpx.Request) -> None:
        headers = b"\n".join(name + b": " + value for name, value in request.headers.raw)
        sent.append(str(request.url).encode() + b"\n" + headers + b"\n\n" + request.content)

    world.http.event_hooks["request"].append(note)
    yield sent
    world.http.event_hooks["request"].remove(note)


def spellings(secret: bytes) -> set[bytes]:
    return {
        secret,
        secret.hex().encode(),
        secret.hex().upper().encode(),
        base64.b64encode(secret),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
        json.dumps(secret.decode("latin-1"))[1:-1].encode(),
    }


async def sessions_of(world: World, username: str) -> list[Session]:
    async with reading(world.services, System()) as work:
        found = await work.session.execute(
            select(Session)
            .join(User, User.columns().id == Session.columns().user_id)
            .where(User.columns().username == username)
        )
        return list(found.scalars())


async def user_of(world: World, username: str) -> User:
    async with reading(world.services, System()) as work:
        found = await work.session.execute(select(User).where(User.columns().username == username))
        return found.scalar_one()


async def released_project(world: World) -> str:
    project = await world.project("admin1", "researcher1")
    await world.release(project)
    return project


class TestBothWays:
    """The same account, with and without sending the password."""

    async def test_both_ways_of_login_open_the_same_project_key(self, world: World) -> None:
        project = await released_project(world)
        opened = await project_key(world, project, await log_in(world, "researcher1"))
        sent = await world.call("GET", f"/proj/private?project={project}", "researcher1")
        assert sent.json()["private"] == opened.hex().upper()

    @pytest.mark.parametrize("who", ["super", "admin1", "staff1", "researcher1"])
    async def test_every_role_logs_in_and_opens_its_own_key(self, world: World, who: str) -> None:
        me = await log_in(world, who)
        assert me.answer.account.username == who
        assert me.private.public_key().public_bytes_raw() == me.answer.public_key

    async def test_a_session_that_sent_the_password_may_fetch_wraps_too(self, world: World) -> None:
        project = await released_project(world)
        me = await log_in(world, "researcher1")
        other = await world.token_of("researcher1")
        by = Login(me.answer.model_copy(update={"token": other}), me.keys, me.private)
        assert await project_key(world, project, by) == await project_key(world, project, me)

    async def test_the_service_cannot_open_a_key_for_a_session_without_it(
        self, world: World
    ) -> None:
        project = await released_project(world)
        me = await log_in(world, "researcher1")
        answer = await world.call("GET", f"/proj/private?project={project}", token=me.answer.token)
        assert answer.status_code == 403
        assert answer.json()["message"].startswith("You logged in without sending your password")

    async def test_what_needs_no_private_key_works_on_the_stock_wire(self, world: World) -> None:
        me = await log_in(world, "admin1")
        body = {"title": "A title", "description": "D", "pi": "pi@example.org", "force": True}
        made = await world.call("POST", "/proj/create", token=me.answer.token, json=body)
        assert made.status_code == 200, made.text
        assert len(await project_key(world, made.json()["project_id"], me)) == 32

    async def test_the_stock_second_factor_completes_it_as_a_session_without_the_key(
        self, world: World
    ) -> None:
        answer, _ = await knock(world, "researcher1")
        code = await world.code_of("researcher1")
        done = await world.call(
            "GET", "/user/second_factor", token=answer.json()["token"], json={"HOTP": code}
        )
        assert done.status_code == 200
        [row] = await sessions_of(world, "researcher1")
        assert row.sealed_private_key is None


class TestSecrets:
    """What leaves the client, and what stays at the service."""

    async def test_neither_password_nor_what_opens_anything_is_ever_sent(
        self, world: World
    ) -> None:
        project = await released_project(world)
        await set_password(world, "researcher2", "Blåbärsöl 2026!")
        with captured(world) as sent:
            plain = await log_in(world, "researcher1")
            key = await project_key(world, project, plain)
            accented = await log_in(world, "researcher2", "Blåbärsöl 2026!")
        assert len(sent) >= 7
        secrets = [PASSWORD.encode(), "Blåbärsöl 2026!".encode(), "Blåbärsöl 2026!".encode("latin-1"), key]  # fmt: skip
        for me in (plain, accented):
            secrets += [me.keys.kek, me.private.private_bytes_raw()]
        everything_sent = b"\n".join(sent)
        assert plain.keys.auth.hex().encode() in everything_sent
        for secret in secrets:
            assert not any(spelled in everything_sent for spelled in spellings(secret))

    async def test_nothing_stored_leads_to_password_or_private_key(self, world: World) -> None:
        project = await released_project(world)
        me = await log_in(world, "researcher1")
        key = await project_key(world, project, me)
        code = await world.code_of("researcher1")
        secrets = {
            "password": PASSWORD.encode(),
            "auth": me.keys.auth,
            "kek": me.keys.kek,
            "private key": me.private.private_bytes_raw(),
            "project key": key,
            "token": me.answer.token.encode(),
            "code": code.encode(),
        }
        columns = await everything(world)
        assert len(columns) > 300
        for name, secret in secrets.items():
            for spelled in spellings(secret):
                assert not [where for where, value in columns if spelled in value], name

    async def test_neither_session_row_holds_the_private_key(self, world: World) -> None:
        answer, _ = await knock(world, "researcher1")
        assert answer.status_code == 200
        [partial] = await sessions_of(world, "researcher1")
        assert partial.sealed_private_key is None
        await log_in(world, "researcher1")
        rows = await sessions_of(world, "researcher1")
        assert [row.sealed_private_key for row in rows] == [None, None]

    async def test_the_sealed_key_is_not_given_before_the_second_factor(self, world: World) -> None:
        answer, _ = await knock(world, "researcher1")
        assert set(answer.json()) == {"token", "second_factor"}
        for path in ("/session", "/sessions"):
            refused = await call(world, "GET", path, answer.json()["token"])
            assert (refused.status_code, refused.json()["code"]) == (401, "second_factor_required")

    async def test_the_service_derives_nothing(self, world: World) -> None:
        project = await released_project(world)
        idle = restarted(world, deriver=NoArgon2(CHEAP))
        async with idle.http:
            me = await log_in(idle, "researcher1")
            assert await project_key(idle, project, me)
            assert (await knock(idle, "nobody-at-all"))[0].status_code == 401


class TestStrangers:
    """Whether an account exists is not to be seen."""

    async def test_a_wrong_password_and_an_unknown_name_are_answered_alike(
        self, world: World
    ) -> None:
        wrong, _ = await knock(world, "researcher1", "Wrong-horse-1")
        unknown, _ = await knock(world, "nobody", "Wrong-horse-1")
        other_case, _ = await knock(world, "RESEARCHER1")
        for answer in (wrong, unknown, other_case):
            assert (answer.status_code, answer.json()) == (401, WRONG)
        assert dict(wrong.headers) == dict(unknown.headers)

    async def test_an_unknown_name_is_answered_in_the_same_shape_and_always_the_same(
        self, world: World
    ) -> None:
        known = await call(world, "POST", "/login/start", json={"username": "researcher1"})
        first = await call(world, "POST", "/login/start", json={"username": "nobody"})
        again = await call(world, "POST", "/login/start", json={"username": "nobody"})
        assert first.json() == again.json()
        assert first.json()["cost"] == known.json()["cost"]
        assert len(first.json()["salt"]) == len(known.json()["salt"])
        assert dict(first.headers) == dict(known.headers)

    async def test_two_unknown_names_have_different_salts_that_nobody_else_has(
        self, world: World
    ) -> None:
        salts = {(await derivation(world, f"nobody{number}")).salt for number in range(5)}
        stored = {(await user_of(world, who)).kdf_salt for who in ("super", "researcher1")}
        assert len(salts) == 5
        assert not salts & stored

    async def test_costs_of_unknown_names_are_spread_as_those_of_accounts(
        self, world: World
    ) -> None:
        await self._give_every_second_account_an_older_cost(world)
        costs = [
            (await derivation(from_address(world, f"192.0.2.{n}"), f"nobody{n}")).cost.iterations
            for n in range(40)
        ]
        assert {costs.count(1) > 5, costs.count(2) > 5} == {True}

    async def test_an_unknown_name_changes_with_an_account_and_with_nothing_else(
        self, world: World
    ) -> None:
        names = [f"nobody{n}" for n in range(8)]
        before = [(await derivation(world, name)).salt for name in names]
        for who in ("super", "admin1", "admin1b", "admin1c", "staff1", "admin2", "admin2b",
                    "staff2", "researcher1", "researcher2"):  # fmt: skip
            await set_password(world, who, NEW_PASSWORD)
        after = [(await derivation(world, name)).salt for name in names]
        assert not set(before) & set(after)
        assert [(await derivation(world, name)).salt for name in names] == after

    async def test_an_account_without_a_password_is_answered_as_nobody(self, world: World) -> None:
        await change(world, "researcher2", kdf_salt=None, auth_verifier=None)
        answer, _ = await knock(world, "researcher2")
        assert (answer.status_code, answer.json()) == (401, WRONG)

    @pytest.mark.parametrize("step", ["start", "proof"])
    async def test_the_same_is_asked_of_the_database_for_a_stranger(
        self, world: World, step: str
    ) -> None:
        body = {} if step == "start" else {"auth": "00" * 32}
        asked = []
        for username in ("researcher1", "nobody", "researcher2"):
            with statements() as seen:
                await call(world, "POST", f"/login/{step}", json={"username": username} | body)
            asked.append(seen)
        assert asked[0]
        assert asked[0] == asked[1] == asked[2]

    @staticmethod
    async def _give_every_second_account_an_older_cost(world: World) -> None:
        async with transaction(world.services, System()) as work:
            users = list((await work.session.execute(select(User))).scalars())
            for number, user in enumerate(users):
                # Spread over the whole range, as uids are in earnest.
                uid = f"{number * (256 // len(users)):02x}" + "0" * 30
                await work.session.execute(
                    update(User)
                    .where(User.columns().id == user.id)
                    .values(uid=uid, kdf_iterations=1 + number % 2)
                )


class TestLimits:
    """Guessing is counted, whichever way it is done."""

    async def test_guessing_is_stopped_even_for_the_right_password(self, world: World) -> None:
        for _ in range(10):
            wrong = await call(
                world, "POST", "/login/proof", json={"username": "admin1", "auth": "00" * 32}
            )
            assert wrong.status_code == 401
        keys = client.derive(PASSWORD, await derivation(world, "admin1"))
        body = client.prove("admin1", keys).model_dump(mode="json")
        stopped = await call(world, "POST", "/login/proof", json=body)
        assert (stopped.status_code, stopped.json()["code"]) == (429, "too_many_requests")
        assert int(stopped.headers["Retry-After"]) == stopped.json()["facts"]["retry_after_s"]
        assert stopped.json()["facts"]["retry_after_s"] <= 3600

    async def test_both_ways_share_one_budget(self, world: World) -> None:
        wrong = {"X-CLI-Version": "2.15.1", "Authorization": "Basic YWRtaW4xOngK"}
        for _ in range(10):
            await world.http.get("/api/v1/user/encrypted_token", headers=wrong)
        assert (await knock(world, "admin1"))[0].status_code == 429

    async def test_an_unknown_name_is_stopped_alike(self, world: World) -> None:
        statuses = {
            who: [
                (
                    await call(
                        world, "POST", "/login/proof", json={"username": who, "auth": "00" * 32}
                    )
                ).status_code
                for _ in range(12)
            ]
            for who in ("admin1", "nobody")
        }
        assert statuses["admin1"] == statuses["nobody"] == [401] * 10 + [429] * 2

    async def test_questions_for_the_salt_are_limited_too(self, world: World) -> None:
        statuses = [
            (await call(world, "POST", "/login/start", json={"username": "admin1"})).status_code
            for _ in range(12)
        ]
        assert statuses == [200] * 10 + [429] * 2

    async def test_questions_from_one_address_are_limited_over_all_names(
        self, world: World
    ) -> None:
        statuses = [
            (await call(world, "POST", "/login/start", json={"username": f"n{n}"})).status_code
            for n in range(102)
        ]
        assert statuses == [200] * 100 + [429] * 2

    async def test_a_guesser_locks_nobody_out_who_comes_from_elsewhere(self, world: World) -> None:
        guesser = from_address(world, "203.0.113.9")
        body = {"username": "researcher1", "auth": "00" * 32}
        statuses = [
            (await call(guesser, "POST", "/login/proof", json=body)).status_code for _ in range(12)
        ]
        assert statuses[-1] == 429
        assert (await log_in(world, "researcher1")).answer.token


class TestRefusals:
    """The right password, and yet."""

    async def test_a_deactivated_account_is_told_after_the_proof_only(self, world: World) -> None:
        await deactivate(world, "researcher1")
        assert (await knock(world, "researcher1", "Wrong-horse-1"))[0].status_code == 401
        refused, _ = await knock(world, "researcher1")
        assert refused.status_code == 403
        assert "deactivated" in refused.json()["message"]
        assert await sessions_of(world, "researcher1") == []

    async def test_during_maintenance_only_super_admins_get_in(self, world: World) -> None:
        await begin_maintenance(world)
        refused, _ = await knock(world, "researcher1")
        assert (refused.status_code, refused.json()["code"]) == (503, "under_maintenance")
        assert (await log_in(world, "super")).answer.token

    async def test_a_password_that_was_changed_in_between_does_not_log_in(
        self, world: World
    ) -> None:
        keys = client.derive(PASSWORD, await derivation(world, "researcher1"))
        await set_password(world, "researcher1", NEW_PASSWORD)
        body = client.prove("researcher1", keys).model_dump(mode="json")
        refused = await call(world, "POST", "/login/proof", json=body)
        assert (refused.status_code, refused.json()) == (401, WRONG)
        assert (await log_in(world, "researcher1", NEW_PASSWORD)).answer.token

    async def test_the_verifier_of_the_database_does_not_log_in(self, world: World) -> None:
        stolen = (await user_of(world, "researcher1")).auth_verifier
        assert stolen is not None
        body = {"username": "researcher1", "auth": stolen.hex()}
        assert (await call(world, "POST", "/login/proof", json=body)).status_code == 401

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"username": "researcher1"},
            {"username": "researcher1", "auth": "00" * 31},
            {"username": "researcher1", "auth": "00" * 33},
            {"username": "researcher1", "auth": "0 " * 32},
            {"username": "researcher1", "auth": "zz" * 32},
            {"username": "researcher1", "auth": 7},
            {"username": "researcher1", "auth": None},
            {"username": "researcher1", "auth": "00" * 32, "password": PASSWORD},
            {"username": "a\x00b", "auth": "00" * 32},
            {"username": "x" * 256, "auth": "00" * 32},
            {"username": "", "auth": "00" * 32},
            [],
            "text",
        ],
    )
    async def test_a_body_of_another_form_is_refused_without_quoting_it(
        self, world: World, body: Any
    ) -> None:
        refused = await call(world, "POST", "/login/proof", json=body)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")
        assert PASSWORD not in refused.text
        assert "00000000" not in refused.text


class TestSecondFactor:
    """The second step."""

    async def test_a_code_is_mailed_and_works_once(self, world: World) -> None:
        answer, _ = await knock(world, "researcher1")
        assert answer.json()["second_factor"] == "mail"
        token, code = answer.json()["token"], await world.code_of("researcher1")
        twice = await asyncio.gather(
            *(
                call(world, "POST", "/login/second-factor", token, json={"code": code})
                for _ in range(3)
            )
        )
        assert sorted(one.status_code for one in twice) == [200, 401, 401]

    async def test_a_wrong_code_is_refused_and_guessing_is_stopped(self, world: World) -> None:
        answer, _ = await knock(world, "researcher1")
        token, code = answer.json()["token"], await world.code_of("researcher1")
        other = f"{(int(code) + 1) % 10**8:08d}"
        statuses = [
            (
                await call(world, "POST", "/login/second-factor", token, json={"code": one})
            ).status_code
            for one in [other] * 10 + [code]
        ]
        assert statuses == [401] * 10 + [429]

    async def test_an_authenticator_app_is_asked_for_and_nothing_is_mailed(
        self, world: World
    ) -> None:
        await use_app(world, "researcher1", b"\x07" * 20)
        answer, _ = await knock(world, "researcher1")
        assert answer.json()["second_factor"] == "app"
        assert await mails(world, "researcher1", "one_time_code") == []
        code = pyotp.TOTP(base64.b32encode(b"\x07" * 20).decode()).at(world.clock.now())
        done = await call(
            world, "POST", "/login/second-factor", answer.json()["token"], json={"code": code}
        )
        assert done.status_code == 200
        assert done.json()["account"]["username"] == "researcher1"

    @pytest.mark.parametrize("token", [None, "", "rubbish", "a.b.c.d.e"])
    async def test_without_a_good_token_no_code_is_looked_at(
        self, world: World, token: str | None
    ) -> None:
        await knock(world, "researcher1")
        body = {"code": await world.code_of("researcher1")}
        refused = await call(world, "POST", "/login/second-factor", token, json=body)
        assert (refused.status_code, refused.json()["code"]) == (401, "not_authenticated")

    async def test_it_is_recorded(self, world: World) -> None:
        await log_in(from_address(world, "192.0.2.7"), "researcher1")
        async with reading(world.services, System()) as work:
            entries = (await work.session.execute(select(AuditEntry))).scalars().all()
        assert [(one.action, one.subject) for one in entries] == [("session.start", "researcher1")]
        assert json.loads(entries[0].facts) == {"address": "192.0.2.7", "factor": "HOTP"}


class TestCost:
    """The client follows a new cost; the service could not."""

    @pytest.fixture
    async def dearer(self, world: World) -> AsyncIterator[World]:
        """The same service, restarted with a higher cost."""
        made = restarted(world, deriver=Deriver(DEARER))
        async with made.http:
            yield made

    async def _upgrade(self, world: World, me: Login, **changes: Any) -> httpx.Response:
        wanted = me.answer.wanted_cost or Cost(memory_kib=8192, iterations=2, lanes=1)
        asked, _ = client.upgrade(PASSWORD, me.keys, me.answer, wanted)
        body = asked.model_dump(mode="json") | changes
        return await call(world, "POST", "/login/upgrade", me.answer.token, json=body)

    async def test_nothing_is_wanted_while_the_cost_is_the_configured_one(
        self, world: World
    ) -> None:
        me = await log_in(world, "researcher1")
        assert me.answer.wanted_cost is None
        refused = await self._upgrade(world, me)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")

    async def test_it_is_raised_and_both_ways_open_the_same_keys(self, dearer: World) -> None:
        project = await released_project(dearer)
        me = await log_in(dearer, "researcher1")
        before = await project_key(dearer, project, me)
        assert me.answer.wanted_cost == Cost(memory_kib=8192, iterations=2, lanes=1)
        done = await self._upgrade(dearer, me)
        assert (done.status_code, done.content) == (204, b"")
        assert await project_key(dearer, project, me) == before
        again = await log_in(dearer, "researcher1")
        assert again.answer.wanted_cost is None
        assert (await derivation(dearer, "researcher1")).cost.iterations == 2
        assert await project_key(dearer, project, again) == before
        sent = await dearer.call("GET", f"/proj/private?project={project}", "researcher1")
        assert bytes.fromhex(sent.json()["private"]) == before

    async def test_it_is_recorded(self, dearer: World) -> None:
        await self._upgrade(dearer, await log_in(dearer, "researcher1"))
        async with reading(dearer.services, System()) as work:
            entries = (await work.session.execute(select(AuditEntry))).scalars().all()
        assert entries[-1].action == "user.follow_cost"
        assert entries[-1].actor == "user researcher1"

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"auth_before": "00" * 32}, 401),
            ({"cost": {"memory_kib": 8192, "iterations": 1, "lanes": 1}}, 400),
            ({"cost": {"memory_kib": 1024, "iterations": 2, "lanes": 1}}, 400),
            ({"salt": "00" * 15}, 400),
            ({"wrapped_private_key": "0102" + "00" * 60}, 400),
            ({"wrapped_private_key": "0101" + "00" * 59}, 400),
        ],
    )
    async def test_what_does_not_fit_is_refused_and_changes_nothing(
        self, dearer: World, changes: dict[str, Any], status: int
    ) -> None:
        me = await log_in(dearer, "researcher1")
        before = (await user_of(dearer, "researcher1")).wrapped_private_key
        assert (await self._upgrade(dearer, me, **changes)).status_code == status
        assert (await user_of(dearer, "researcher1")).wrapped_private_key == before
        assert (await log_in(dearer, "researcher1")).answer.token

    async def test_of_two_at_once_one_is_stored_and_the_password_still_opens(
        self, dearer: World
    ) -> None:
        me = await log_in(dearer, "researcher1")
        answers = await asyncio.gather(*(self._upgrade(dearer, me) for _ in range(3)))
        assert sorted(one.status_code for one in answers) == [204, 401, 401]
        assert (await log_in(dearer, "researcher1")).answer.token

    async def test_a_partial_token_upgrades_nothing(self, dearer: World) -> None:
        me = await log_in(dearer, "researcher1")
        answer, _ = await knock(dearer, "researcher1")
        partial = SecondFactorWanted.model_validate_json(answer.content).token
        by = Login(me.answer.model_copy(update={"token": partial}), me.keys, me.private)
        assert (await self._upgrade(dearer, by)).status_code == 401
