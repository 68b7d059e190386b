"""Logging in over the stock wire: every text, every limit, and what the rows of the database give away."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from sqlalchemy import select, text

from ddsd.access import System
from ddsd.db.engine import Database
from ddsd.errors import MailRefused, MailUnavailable
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import KdfCost, MasterSplit
from ddsd.mail.port import Letter
from ddsd.secret import SecretText
from ddsd.tables import METADATA
from ddsd.users import passwords
from ddsd.users.tables import OneTimeCode, Session, User
from ddsd.work import Services, reading, transaction
from tests.builders import SettableClock
from tests.services import CHEAP, make_services
from tests.v1.people import begin_maintenance, change, deactivate, mails, use_app
from tests.world import PASSWORD, VERSION, World, basic, make_world, populate

WRONG = (401, {"message": "Missing or incorrect credentials"})
TOO_MANY = {"message": "Too many authentication requests in one hour"}
INVALID = (401, {"message": "Invalid one-time authentication code."})
EXPIRED = (401, {"message": "One-time authentication code has expired."})
NONE_ISSUED = (401, {"message": "No one-time authentication code currently issued."})
TOO_SOON = (
    401,
    {"message": "Authentications with time-based token need to be at least 90 seconds apart."},
)
APP_SECRET = b"\x07" * 20


class CountingDeriver(Deriver):
    """The real one, which also counts how often and at what cost it is asked."""

    def __init__(self, cost: KdfCost = CHEAP) -> None:
        super().__init__(cost)
        self.runs: list[KdfCost] = []

    async def derive(self, password: SecretText, salt: bytes, cost: KdfCost) -> MasterSplit:
        self.runs.append(cost)
        return await super().derive(password, salt, cost)


class BrokenPost:
    """A mail server that takes nothing while ``broken`` is set, and keeps what it takes."""

    sends = True

    def __init__(self) -> None:
        self.broken: Exception | None = None
        self.letters: list[Letter] = []

    async def send(self, letter: Letter) -> None:
        if self.broken:
            raise self.broken
        self.letters.append(letter)

    def code(self) -> str:
        words = self.letters[-1].text.split()
        return next(word for word in words if len(word) == 8 and word.isdigit())


async def knock(
    world: World, username: str, password: str = PASSWORD, edition: str = "v1"
) -> httpx.Response:
    """Give name and password, whatever comes of it."""
    return await world.http.get(
        f"/api/{edition}/user/encrypted_token",
        headers={"X-CLI-Version": VERSION, "Authorization": basic(username, password)},
    )


def said(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json()


async def give(world: World, token: str, **body: Any) -> httpx.Response:
    """Give the second factor, whatever comes of it."""
    return await world.call("GET", "/user/second_factor", token=token, json=body)


def other_code(code: str) -> str:
    return f"{(int(code) + 1) % 10**8:08d}"


@pytest.fixture
async def counted(database: Database, clock: SettableClock, tmp_path: Path) -> AsyncIterator[World]:
    """A world that counts its Argon2id runs."""
    services = make_services(database, clock, tmp_path, deriver=CountingDeriver())
    await populate(services)
    made = make_world(services, clock)
    runs(made).clear()
    async with made.http:
        yield made


def runs(world: World) -> list[KdfCost]:
    assert isinstance(world.services.deriver, CountingDeriver)
    return world.services.deriver.runs


class TestPassword:
    """The first step."""

    @pytest.mark.parametrize("edition", ["v1", "v3"])
    async def test_the_right_one_is_answered_as_the_stock_client_expects(
        self, world: World, edition: str
    ) -> None:
        answer = await knock(world, "researcher1", edition=edition)
        assert answer.status_code == 200
        assert answer.json() == {
            "message": "Please take this token to /user/second_factor to authenticate with MFA!",
            "token": answer.json()["token"],
            "secondfactor_method": "HOTP",
        }
        assert len(answer.json()["token"].split(".")) == 5

    @pytest.mark.parametrize(
        "credentials",
        [
            None,
            "Basic",
            "Basic !!!",
            "Basic " + base64.b64encode(b"nocolon").decode(),
            "Bearer " + base64.b64encode(b"researcher1:Correct-horse-1").decode(),
            basic("", ""),
            basic("researcher1", ""),
            basic("researcher1", "Correct-horse-1\x00"),
            basic("researcher1\x00", PASSWORD),
            basic("RESEARCHER1", PASSWORD),
            basic("researcher1 ", PASSWORD),
            basic("researcher1@example.org", PASSWORD),
            basic("researcher1", PASSWORD.upper()),
            basic("researcher1", PASSWORD * 1000),
            basic("x" * 5000, PASSWORD),
        ],
    )
    async def test_anything_else_is_refused_alike(
        self, world: World, credentials: str | None
    ) -> None:
        headers = {"X-CLI-Version": VERSION}
        if credentials is not None:
            headers["Authorization"] = credentials
        answer = await world.http.get("/api/v1/user/encrypted_token", headers=headers)
        assert said(answer) == WRONG

    async def test_one_argon2_run_whether_or_not_the_account_exists(self, counted: World) -> None:
        await change(counted, "staff2", auth_verifier=None, kdf_salt=None, kdf_memory_kib=0)
        for username, password in (
            ("researcher1", PASSWORD),
            ("researcher1", "Wrong-horse-1"),
            ("nobody-of-this-name", PASSWORD),
            ("staff2", PASSWORD),
        ):
            runs(counted).clear()
            await knock(counted, username, password)
            assert runs(counted) == [CHEAP], username

    async def test_no_argon2_run_after_the_login(self, counted: World) -> None:
        project = await counted.project("admin1")
        runs(counted).clear()
        assert (await counted.call("GET", f"/proj/private?project={project}", "admin1")).is_success
        assert runs(counted) == []

    async def test_an_account_without_a_password_lets_nobody_in(self, world: World) -> None:
        await change(world, "staff2", auth_verifier=None, kdf_salt=None, wrapped_private_key=None)
        assert said(await knock(world, "staff2")) == WRONG
        assert said(await knock(world, "staff2", "")) == WRONG

    async def test_a_deactivated_person_hears_so_after_the_right_password_only(
        self, world: World
    ) -> None:
        await deactivate(world, "researcher1")
        assert said(await knock(world, "researcher1", "Wrong-horse-1")) == WRONG
        message = "Your account has been deactivated. You cannot use the DDS."
        assert said(await knock(world, "researcher1")) == (403, {"message": message})
        assert await mails(world, "researcher1") == []

    async def test_maintenance_is_said_after_the_right_password_and_not_to_super_admins(
        self, world: World
    ) -> None:
        await begin_maintenance(world)
        assert said(await knock(world, "staff1", "Wrong-horse-1")) == WRONG
        closed = (503, {"message": "Maintenance of DDS is ongoing."})
        for who in ("admin1", "staff1", "researcher1"):
            assert said(await knock(world, who)) == closed
        assert (await knock(world, "super")).status_code == 200

    async def test_a_password_in_utf8_and_one_in_latin1_are_the_same(self, world: World) -> None:
        password = "Räksmörgås-1"
        await set_password(world, "researcher1", password)
        for encoding in ("latin-1", "utf-8"):
            pair = f"researcher1:{password}".encode(encoding)
            headers = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
            answer = await world.http.get("/api/v3/user/encrypted_token", headers=headers)
            assert answer.status_code == 200, encoding

    async def test_colons_belong_to_the_password(self, world: World) -> None:
        await set_password(world, "researcher1", "Correct:horse:1")
        assert (await knock(world, "researcher1", "Correct:horse:1")).status_code == 200


class TestLimits:
    """Attempts are counted in the database."""

    async def test_the_eleventh_attempt_in_an_hour_is_refused(self, world: World) -> None:
        for _ in range(10):
            assert said(await knock(world, "researcher1", "Wrong-horse-1")) == WRONG
        refused = await knock(world, "researcher1")
        assert said(refused) == (429, TOO_MANY)
        assert refused.headers["Retry-After"] == "3600"
        world.clock.advance(seconds=3599)
        assert (await knock(world, "researcher1")).headers["Retry-After"] == "1"

    async def test_ten_right_ones_pass_too(self, world: World) -> None:
        statuses = [(await knock(world, "researcher1")).status_code for _ in range(11)]
        assert statuses == [200] * 10 + [429]

    async def test_the_refusal_comes_before_argon2(self, counted: World) -> None:
        for _ in range(10):
            await knock(counted, "nobody-of-this-name")
        runs(counted).clear()
        assert (await knock(counted, "nobody-of-this-name")).status_code == 429
        assert runs(counted) == []

    async def test_the_hour_passes(self, world: World) -> None:
        for _ in range(11):
            await knock(world, "researcher1")
        world.clock.advance(hours=1)
        assert (await knock(world, "researcher1")).status_code == 200

    async def test_others_are_not_shut_out(self, world: World) -> None:
        for _ in range(11):
            await knock(world, "researcher1")
        assert (await knock(world, "researcher2")).status_code == 200

    async def test_it_holds_across_a_restart(self, world: World) -> None:
        for _ in range(10):
            await knock(world, "researcher1")
        services = Services(**{**vars(world.services), "deriver": Deriver(CHEAP)})
        restarted = make_world(services, world.clock)
        async with restarted.http:
            assert (await knock(restarted, "researcher1")).status_code == 429

    async def test_it_holds_against_attempts_at_the_same_moment(self, world: World) -> None:
        answers = await asyncio.gather(*(knock(world, "researcher1", "Wrong-1") for _ in range(14)))
        assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 4

    async def test_an_address_has_a_budget_over_all_accounts(
        self, database: Database, clock: SettableClock, tmp_path: Path
    ) -> None:
        services = make_services(database, clock, tmp_path)
        security = services.settings.security.model_copy(update={"logins_per_hour_per_address": 5})
        settings = services.settings.model_copy(update={"security": security})
        world = make_world(Services(**{**vars(services), "settings": settings}), clock)
        async with world.http:
            answers = [await knock(world, f"nobody{number}") for number in range(6)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429]
        assert answers[-1].json() == TOO_MANY


class TestMailedCode:
    """The second step with the code that was mailed."""

    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("edition", ["v1", "v3"])
    async def test_the_right_one_gives_a_token(
        self, world: World, method: str, edition: str
    ) -> None:
        partial = await world.partial_token("researcher1")
        answer = await world.call(
            method,
            "/user/second_factor",
            token=partial,
            json={"HOTP": await world.code_of("researcher1")},
            edition=edition,
        )
        assert answer.status_code == 200
        assert list(answer.json()) == ["token"]

    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            ({"HOTP": "1234567"}, {"HOTP": ["Length must be between 8 and 8."]}),
            ({"HOTP": "123456789"}, {"HOTP": ["Length must be between 8 and 8."]}),
            ({"HOTP": ""}, {"HOTP": ["Length must be between 8 and 8."]}),
            (
                {"HOTP": "1234567a"},
                {
                    "HOTP": [
                        "One or more of the choices you made was not in: "
                        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9."
                    ]
                },
            ),
            (
                {"HOTP": "１２３４５６７８"},
                {
                    "HOTP": [
                        "One or more of the choices you made was not in: "
                        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9."
                    ]
                },
            ),
            ({"HOTP": 12345678}, {"HOTP": ["Not a valid string."]}),
            ({"HOTP": ["1"] * 8}, {"HOTP": ["Not a valid string."]}),
            ({"HOTP": {}}, {"HOTP": ["Not a valid string."]}),
            ({"TOTP": "12345"}, {"TOTP": ["Length must be between 6 and 6."]}),
            ({"HOTP": None}, {"message": "MFA method not supplied"}),
            ({"other": "12345678"}, {"message": "MFA method not supplied"}),
            ({}, {"message": "MFA method not supplied"}),
            (["HOTP"], {"message": "MFA method not supplied"}),
            (None, {"message": "MFA method not supplied"}),
            (
                {"TOTP": "123456"},
                {
                    "message": "Your account is setup to use one-time authentication code via email, "
                    "you cannot authenticate with time-based one-time authentication codes."
                },
            ),
        ],
    )
    async def test_what_is_no_code_is_refused(self, world: World, body: Any, answer: Any) -> None:
        partial = await world.partial_token("researcher1")
        refused = await world.call("GET", "/user/second_factor", token=partial, json=body)
        joined = {"message": "; ".join(f"{name}: {' '.join(why)}" for name, why in answer.items())}
        assert said(refused) == (400, answer if "message" in answer else answer | joined)

    async def test_a_wrong_one(self, world: World) -> None:
        partial = await world.partial_token("researcher1")
        code = await world.code_of("researcher1")
        assert said(await give(world, partial, HOTP=other_code(code))) == INVALID
        assert (await give(world, partial, HOTP=code)).status_code == 200

    async def test_somebody_elses(self, world: World) -> None:
        partial = await world.partial_token("researcher1")
        await world.partial_token("researcher2")
        theirs = await world.code_of("researcher2")
        assert said(await give(world, partial, HOTP=theirs)) == INVALID

    async def test_it_is_good_once(self, world: World) -> None:
        first = await world.partial_token("researcher1")
        second = await world.partial_token("researcher1")
        code = await world.code_of("researcher1")
        assert (await give(world, first, HOTP=code)).status_code == 200
        assert said(await give(world, second, HOTP=code)) == NONE_ISSUED

    async def test_used_twice_at_the_same_moment_it_is_good_once(self, world: World) -> None:
        partials = [await world.partial_token("researcher1") for _ in range(4)]
        code = await world.code_of("researcher1")
        answers = await asyncio.gather(*(give(world, token, HOTP=code) for token in partials))
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
        async with reading(world.services, System()) as work:
            found = await work.session.execute(
                select(Session).where(Session.columns().second_factor_at.is_not(None))
            )
            assert len(found.all()) == 1

    async def test_one_token_completed_twice_at_the_same_moment_is_completed_once(
        self, world: World
    ) -> None:
        partial = await world.partial_token("researcher1")
        code = await world.code_of("researcher1")
        answers = await asyncio.gather(*(give(world, partial, HOTP=code) for _ in range(4)))
        assert sorted(answer.status_code < 400 for answer in answers) == [False] * 3 + [True]
        assert {answer.status_code for answer in answers} <= {200, 401, 403}

    async def test_it_expires_after_a_quarter_of_an_hour(self, world: World) -> None:
        partial = await world.partial_token("researcher1")
        code = await world.code_of("researcher1")
        world.clock.advance(seconds=15 * 60)
        assert said(await give(world, partial, HOTP=code)) == EXPIRED

    async def test_it_is_good_until_the_last_second(self, world: World) -> None:
        partial = await world.partial_token("researcher1")
        code = await world.code_of("researcher1")
        world.clock.advance(seconds=15 * 60 - 1)
        assert (await give(world, partial, HOTP=code)).status_code == 200

    async def test_an_old_one_is_no_good_once_a_new_one_was_mailed(self, world: World) -> None:
        await world.partial_token("researcher1")
        old = await world.code_of("researcher1")
        world.clock.advance(seconds=15 * 60)
        partial = await world.partial_token("researcher1")
        assert said(await give(world, partial, HOTP=old)) == INVALID

    async def test_logging_in_again_mails_no_second_code(self, world: World) -> None:
        await world.partial_token("researcher1")
        await world.partial_token("researcher1")
        assert len(await mails(world, "researcher1")) == 1

    async def test_logging_in_twice_at_the_same_moment_mails_one_code(self, world: World) -> None:
        await world.login("researcher1")
        await asyncio.gather(*(knock(world, "researcher1") for _ in range(4)))
        assert len(await mails(world, "researcher1")) == 2

    async def test_guessing_is_stopped(self, world: World) -> None:
        partial = await world.partial_token("researcher1")
        code = await world.code_of("researcher1")
        for _ in range(10):
            assert said(await give(world, partial, HOTP=other_code(code))) == INVALID
        stopped = await give(world, partial, HOTP=code)
        assert stopped.status_code == 429
        assert stopped.json() == {
            "message": "Too many one-time codes were tried. Wait 15 minutes and log in again."
        }
        assert int(stopped.headers["Retry-After"]) == 15 * 60

    async def test_guessing_is_stopped_over_several_logins_too(self, world: World) -> None:
        tokens = [await world.partial_token("researcher1") for _ in range(5)]
        code = await world.code_of("researcher1")
        statuses = [
            (await give(world, token, HOTP=other_code(code))).status_code
            for token in tokens
            for _ in range(3)
        ]
        assert statuses == [401] * 10 + [429] * 5

    async def test_a_code_of_the_wrong_form_is_no_attempt(self, world: World) -> None:
        partial = await world.partial_token("researcher1")
        for _ in range(12):
            await give(world, partial, HOTP="1")
        assert (
            await give(world, partial, HOTP=await world.code_of("researcher1"))
        ).status_code == 200


class TestMailFailure:
    """A code that could not be mailed is withdrawn."""

    @pytest.fixture
    async def posted(
        self, database: Database, clock: SettableClock, tmp_path: Path
    ) -> AsyncIterator[tuple[World, BrokenPost]]:
        """A world whose mail server can be broken."""
        post = BrokenPost()
        services = make_services(database, clock, tmp_path, post=post)
        await populate(services)
        made = make_world(services, clock)
        async with made.http:
            yield made, post

    @pytest.mark.parametrize("why", [MailUnavailable("away"), MailRefused("no such mailbox")])
    async def test_it_is_said_and_the_next_login_mails_a_new_code(
        self, posted: tuple[World, BrokenPost], why: Exception
    ) -> None:
        world, post = posted
        post.broken = why
        message = "We could not send your one-time code right now. Please try again in a moment."
        assert said(await knock(world, "researcher1")) == (503, {"message": message})
        async with reading(world.services, System()) as work:
            assert (await work.session.execute(select(OneTimeCode.columns().used))).scalar_one()
        post.broken = None
        partial = await world.partial_token("researcher1")
        assert (await give(world, partial, HOTP=post.code())).status_code == 200

    async def test_a_reminder_that_cannot_be_mailed_says_so(
        self, posted: tuple[World, BrokenPost]
    ) -> None:
        world, post = posted
        partial = await world.partial_token("researcher1")
        world.clock.advance(seconds=15 * 60)
        post.broken = MailUnavailable("away")
        assert (await world.call("GET", "/user/info", token=partial)).status_code == 503


class TestApp:
    """The second step with an authenticator app."""

    @pytest.fixture
    async def partial(self, world: World) -> str:
        """A partial token of somebody with an app."""
        await use_app(world, "researcher1", APP_SECRET)
        return await world.partial_token("researcher1")

    def code(self, world: World, seconds: int = 0) -> str:
        app = pyotp.TOTP(base64.b32encode(APP_SECRET).decode())
        return app.at(world.clock.now() + timedelta(seconds=seconds))

    async def test_the_login_says_which_factor_it_is_and_mails_nothing(self, world: World) -> None:
        await use_app(world, "researcher1", APP_SECRET)
        assert (await knock(world, "researcher1")).json()["secondfactor_method"] == "TOTP"
        assert await mails(world, "researcher1") == []

    @pytest.mark.parametrize("seconds", [-30, 0, 30])
    async def test_a_clock_half_a_minute_off_is_forgiven(
        self, world: World, partial: str, seconds: int
    ) -> None:
        assert (await give(world, partial, TOTP=self.code(world, seconds))).status_code == 200

    @pytest.mark.parametrize("seconds", [-60, 60, 3600])
    async def test_one_further_off_is_not(self, world: World, partial: str, seconds: int) -> None:
        answer = await give(world, partial, TOTP=self.code(world, seconds))
        assert said(answer) == (401, {"message": "Invalid time-based token."})

    async def test_a_mailed_code_is_the_wrong_method(self, world: World, partial: str) -> None:
        message = (
            "Your account is setup to use time-based one-time authentication codes, "
            "but you entered a one-time authentication code from email."
        )
        assert said(await give(world, partial, HOTP="12345678")) == (400, {"message": message})

    async def test_it_is_good_once(self, world: World, partial: str) -> None:
        other = await world.partial_token("researcher1")
        code = self.code(world)
        assert (await give(world, partial, TOTP=code)).status_code == 200
        assert said(await give(world, other, TOTP=code)) == TOO_SOON

    @pytest.mark.parametrize("ahead", [0, 30])
    async def test_it_can_never_be_used_again(self, world: World, partial: str, ahead: int) -> None:
        other = await world.partial_token("researcher1")
        code = self.code(world, ahead)
        assert (await give(world, partial, TOTP=code)).status_code == 200
        for _ in range(8):
            world.clock.advance(seconds=30)
            assert (await give(world, other, TOTP=code)).status_code == 401

    async def test_the_next_login_has_to_wait_a_minute_and_a_half(
        self, world: World, partial: str
    ) -> None:
        other = await world.partial_token("researcher1")
        await give(world, partial, TOTP=self.code(world))
        world.clock.advance(seconds=89)
        assert said(await give(world, other, TOTP=self.code(world))) == TOO_SOON
        world.clock.advance(seconds=1)
        assert (await give(world, other, TOTP=self.code(world))).status_code == 200

    async def test_used_twice_at_the_same_moment_it_is_good_once(
        self, world: World, partial: str
    ) -> None:
        partials = [partial, *[await world.partial_token("researcher1") for _ in range(3)]]
        code = self.code(world)
        answers = await asyncio.gather(*(give(world, token, TOTP=code) for token in partials))
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]

    async def test_guessing_is_stopped(self, world: World, partial: str) -> None:
        wrong = f"{(int(self.code(world)) + 1) % 10**6:06d}"
        statuses = [(await give(world, partial, TOTP=wrong)).status_code for _ in range(11)]
        assert statuses == [401] * 10 + [429]


class TestCost:
    """Argon2id's cost is the account's own, and follows the setting at login."""

    DEARER = KdfCost(memory_kib=16384, iterations=1, lanes=1)

    @pytest.fixture
    async def dearer(self, world: World) -> AsyncIterator[World]:
        """The same service, restarted with a higher cost."""
        services = Services(**{**vars(world.services), "deriver": CountingDeriver(self.DEARER)})
        made = make_world(services, world.clock)
        async with made.http:
            yield made

    async def test_an_old_one_is_raised_at_login_and_the_keys_still_open(
        self, world: World, dearer: World
    ) -> None:
        project = await world.project("admin1", "researcher1")
        await world.release(project)
        before = await world.call("GET", f"/proj/private?project={project}", "researcher1")
        token = await dearer.login("researcher1")
        assert runs(dearer) == [CHEAP, self.DEARER]
        after = await dearer.call("GET", f"/proj/private?project={project}", token=token)
        assert after.json() == before.json()
        runs(dearer).clear()
        await dearer.login("researcher1")
        assert runs(dearer) == [self.DEARER]
        old_session = await dearer.call("GET", f"/proj/private?project={project}", "researcher1")
        assert old_session.json() == before.json()

    async def test_a_wrong_password_raises_nothing(self, dearer: World) -> None:
        assert said(await knock(dearer, "researcher1", "Wrong-horse-1")) == WRONG
        assert runs(dearer) == [CHEAP]

    async def test_two_logins_at_the_same_moment_both_succeed(self, dearer: World) -> None:
        answers = await asyncio.gather(*(knock(dearer, "researcher1") for _ in range(3)))
        assert [answer.status_code for answer in answers] == [200] * 3
        assert (await knock(dearer, "researcher1")).status_code == 200


class TestToken:
    """What the stock client reads of a token, and what nobody can."""

    async def test_its_header_says_when_it_ends_as_the_stock_client_reads_it(
        self, world: World
    ) -> None:
        token = await world.login("researcher1")
        header = json.loads(opened(token.split(".")[0]))
        assert header["exp"] == "2026-03-09T12:00:00.000000"

    async def test_the_second_factor_does_not_prolong_it(self, world: World) -> None:
        partial = await world.partial_token("researcher1")
        code = await world.code_of("researcher1")
        world.clock.advance(seconds=600)
        token = (await give(world, partial, HOTP=code)).json()["token"]
        assert json.loads(opened(token.split(".")[0]))["exp"] == "2026-03-09T12:00:00.000000"

    async def test_it_holds_no_password_and_no_key(self, world: World) -> None:
        project = await world.project("admin1")
        answer = await world.call("GET", f"/proj/private?project={project}", "admin1")
        secrets = [PASSWORD.encode(), bytes.fromhex(answer.json()["private"])]
        for token in (await world.partial_token("admin1"), await world.token_of("admin1")):
            readable = b"".join(map(opened, token.split("."))) + token.encode()
            for secret in secrets:
                assert secret not in readable
                assert base64.b64encode(secret) not in readable
                assert secret.hex().encode() not in readable.lower()


class TestRows:
    """The database alone opens nothing: no column holds a password, a code, a token or a key in clear."""

    async def test_no_secret_of_a_delivery_is_in_any_column(self, world: World) -> None:
        people = [
            {"email": "researcher1@example.org", "role": "Researcher"},
            {"email": "new@example.org", "role": "Researcher"},
        ]
        body = {"title": "A", "description": "B", "pi": "pi@example.org", "users_to_add": people}
        made = await world.call("POST", "/proj/create", "admin1", json=body)
        project = made.json()["project_id"]
        await world.release(project)
        world.tokens["researcher1"] = await world.login("researcher1")
        key = await world.call("GET", f"/proj/private?project={project}", "researcher1")
        partial = await world.partial_token("researcher2")
        invite = await world.newest_mail("new@example.org", "invite")
        link = invite.split("/register#")[1].split()[0]
        secrets = {
            "password": PASSWORD.encode(),
            "project key": bytes.fromhex(key.json()["private"]),
            "code": (await world.code_of("researcher2")).encode(),
            "used code": (await world.code_of("researcher1")).encode(),
            "link": link.encode(),
            "link's secret": base64.urlsafe_b64decode(link + "="),
            "partial token": partial.encode(),
            **{f"token of {who}": token.encode() for who, token in world.tokens.items()},
            **{f"payload of {who}": token.split(".")[3].encode() for who, token in world.tokens.items()},
        }  # fmt: skip
        columns = await everything(world)
        assert len(columns) > 500
        for name, secret in secrets.items():
            for spelled in (secret, secret.hex().encode(), base64.b64encode(secret)):
                found = [where for where, value in columns if spelled in value]
                assert not found, name


async def everything(world: World) -> list[tuple[str, bytes]]:
    """Return every value in every column of every table, as bytes."""
    found: list[tuple[str, bytes]] = []
    async with reading(world.services, System()) as work:
        for table in METADATA.sorted_tables:
            result = await work.session.execute(text(f'SELECT * FROM "{table.name}"'))
            for row in result.mappings():
                for column, value in row.items():
                    raw = value if isinstance(value, bytes) else str(value).encode()
                    found.append((f"{table.name}.{column}", raw))
    return found


async def set_password(world: World, username: str, password: str) -> None:
    """Give an account another password and key pair."""
    split, salt, cost = await passwords.derive_new(world.services, SecretText(password))
    async with transaction(world.services, System()) as work:
        found = await work.session.execute(select(User).where(User.columns().username == username))
        passwords.set_first(work, found.scalar_one(), split, salt, cost)


def opened(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
