"""Passkeys in the domain: added, used as the second factor, removed; and every answer that must not get in."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.errors import (
    AlreadyExists,
    Conflict,
    DdsError,
    InvalidFields,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    TooManyRequests,
)
from ddsd.settings import Instance
from ddsd.users import ceremonies, passkeys, sessions
from ddsd.users.ceremonies import NotGood, RelyingParty, relying_party
from ddsd.users.passkeys import MOST
from ddsd.users.tables import Passkey, User
from ddsd.work import Services, reading
from tests.builders import SettableClock
from tests.users.logins import caller_of, calling, fully_in, half_in, newest_letter
from tests.users.people import somebody
from tests.users.security_key import SecurityKey, encoded

NAME = "Key at the lab"


async def begin(services: Services, token: str) -> str:
    async with calling(services, token) as (work, caller):
        return await passkeys.begin_adding(work, caller)


async def finish(services: Services, token: str, answer: str, name: str = NAME) -> Passkey:
    async with calling(services, token) as (work, caller):
        return await passkeys.add(work, caller, answer, name)


async def added(services: Services, user: User, key: SecurityKey, name: str = NAME) -> Passkey:
    token = await fully_in(services, user)
    return await finish(services, token, key.create(await begin(services, token)), name)


async def log_in(services: Services, user: User, key: SecurityKey) -> str:
    token = await half_in(services, user)
    return await passkeys.log_in(
        services, token, key.get(await passkeys.begin_login(services, token))
    )


async def listed(services: Services, user: User) -> list[Passkey]:
    async with reading(services, System()) as work:
        return list(await passkeys.listing(work, user.id))


async def test_a_passkey_is_added_and_logs_in(services: Services, clock: SettableClock) -> None:
    eva, key = await somebody(services), SecurityKey()
    await added(services, eva, key)
    clock.advance(hours=1)
    session = await caller_of(services, await log_in(services, eva, key))
    sessions.require_second_factor(session)
    [passkey] = await listed(services, eva)
    assert (passkey.name, passkey.sign_count, passkey.used_at) == (NAME, 1, clock.now())


async def test_an_account_has_several_each_of_which_logs_in(services: Services) -> None:
    eva, one, other = await somebody(services), SecurityKey(), SecurityKey(counts=False)
    await added(services, eva, one, "One")
    await added(services, eva, other, "Other")
    for key in (one, other, other, one):
        assert await log_in(services, eva, key)
    assert [passkey.name for passkey in await listed(services, eva)] == ["One", "Other"]


async def test_the_options_name_the_service_the_person_and_what_they_have(
    services: Services,
) -> None:
    eva, key = await somebody(services), SecurityKey()
    await added(services, eva, key)
    asked = json.loads(await begin(services, await fully_in(services, eva)))
    assert asked["rp"] == {"name": "Data Delivery System", "id": "localhost"}
    assert (asked["user"]["name"], asked["user"]["displayName"]) == (eva.username, eva.name)
    assert bytes.fromhex(eva.uid) == base64.urlsafe_b64decode(asked["user"]["id"] + "==")
    assert asked["authenticatorSelection"]["userVerification"] == "preferred"
    assert asked["attestation"] == "none"
    assert len(asked["excludeCredentials"]) == 1
    half = await half_in(services, eva)
    wanted = json.loads(await passkeys.begin_login(services, half))
    assert wanted["allowCredentials"] == asked["excludeCredentials"]
    assert wanted["challenge"] != asked["challenge"]


async def test_a_removed_passkey_is_refused(services: Services) -> None:
    eva, key, other = await somebody(services), SecurityKey(), SecurityKey()
    passkey = await added(services, eva, key)
    await added(services, eva, other, "Other")
    async with calling(services, await fully_in(services, eva)) as (work, caller):
        await passkeys.remove(work, caller, passkey.id)
    with pytest.raises(NotAuthenticated, match="is not good"):
        await log_in(services, eva, key)
    assert await log_in(services, eva, other)


async def test_nobody_removes_the_passkey_of_another(services: Services) -> None:
    eva, ola, key = await somebody(services), await somebody(services), SecurityKey()
    passkey = await added(services, eva, key)
    async with calling(services, await fully_in(services, ola)) as (work, caller):
        with pytest.raises(NotFound, match="no such passkey"):
            await passkeys.remove(work, caller, passkey.id)
    assert await log_in(services, eva, key)


async def test_without_a_passkey_no_login_with_one_begins(services: Services) -> None:
    eva = await somebody(services)
    with pytest.raises(NotFound, match="has no passkey"):
        await passkeys.begin_login(services, await half_in(services, eva))


async def test_a_passkey_of_another_account_is_refused(services: Services) -> None:
    eva, ola = await somebody(services), await somebody(services)
    key, others = SecurityKey(), SecurityKey()
    await added(services, eva, key)
    await added(services, ola, others)
    with pytest.raises(NotAuthenticated, match="is not good"):
        await log_in(services, eva, others)


async def test_a_user_handle_of_another_account_is_refused(services: Services) -> None:
    eva, ola, key = await somebody(services), await somebody(services), SecurityKey()
    await added(services, eva, key)
    key.user_handle = bytes.fromhex(ola.uid)
    with pytest.raises(NotAuthenticated, match="is not good"):
        await log_in(services, eva, key)
    key.user_handle = bytes.fromhex(eva.uid)
    assert await log_in(services, eva, key)


async def test_a_key_with_the_same_name_but_another_secret_is_refused(services: Services) -> None:
    eva, key = await somebody(services), SecurityKey()
    await added(services, eva, key)
    with pytest.raises(NotAuthenticated, match="is not good"):
        await log_in(services, eva, SecurityKey(credential_id=key.credential_id))


@pytest.mark.parametrize(
    "origin",
    [
        "https://localhost:5000",
        "http://localhost:5001",
        "http://127.0.0.1:5000",
        "https://evil.example",
    ],
)
async def test_answers_given_on_another_page_are_refused(services: Services, origin: str) -> None:
    eva, key = await somebody(services), SecurityKey()
    token = await fully_in(services, eva)
    stray = replace(key, origin=origin)
    with pytest.raises(InvalidInput, match="could not be added"):
        await finish(services, token, stray.create(await begin(services, token)))
    await added(services, eva, key)
    key.origin = origin
    with pytest.raises(NotAuthenticated, match="is not good"):
        await log_in(services, eva, key)


async def test_nobody_present_is_nobody_proven(services: Services) -> None:
    eva, key = await somebody(services), SecurityKey()
    await added(services, eva, key)
    key.flags = 0
    with pytest.raises(NotAuthenticated, match="is not good"):
        await log_in(services, eva, key)


async def test_a_counter_that_goes_back_tells_of_a_copy(services: Services) -> None:
    eva, key = await somebody(services), SecurityKey()
    await added(services, eva, key)
    assert await log_in(services, eva, key)
    for counter in (0, -1):
        key.counter, key.counts = max(counter, 0), False
        with pytest.raises(NotAuthenticated, match="may have been copied"):
            await log_in(services, eva, key)
    key.counter, key.counts = 1, True
    assert await log_in(services, eva, key)


async def test_a_challenge_is_good_once(services: Services) -> None:
    eva, key = await somebody(services), SecurityKey()
    token = await fully_in(services, eva)
    answer = key.create(await begin(services, token))
    await finish(services, token, answer)
    with pytest.raises(InvalidInput, match="took too long"):
        await finish(services, token, SecurityKey().create(_options_of(answer)))


def _options_of(answer: str) -> str:
    """Return options with the challenge that ``answer`` has answered."""
    client = json.loads(answer)["response"]["clientDataJSON"]
    challenge = json.loads(base64.urlsafe_b64decode(client + "=="))["challenge"]
    return json.dumps({"rp": {"id": "localhost"}, "challenge": challenge})


async def test_a_challenge_of_another_session_is_refused(services: Services) -> None:
    eva, key = await somebody(services), SecurityKey()
    await added(services, eva, key)
    one, other = await half_in(services, eva), await half_in(services, eva)
    answer = key.get(await passkeys.begin_login(services, one))
    await passkeys.begin_login(services, other)
    with pytest.raises(NotAuthenticated, match="is not good"):
        await passkeys.log_in(services, other, answer)
    assert await passkeys.log_in(services, one, answer)


async def test_an_answer_is_good_for_five_minutes(services: Services, clock: SettableClock) -> None:
    eva, key = await somebody(services), SecurityKey()
    await added(services, eva, key)
    token = await half_in(services, eva)
    answer = key.get(await passkeys.begin_login(services, token))
    clock.advance(seconds=301)
    with pytest.raises(NotAuthenticated, match="took too long"):
        await passkeys.log_in(services, token, answer)
    answer = key.get(await passkeys.begin_login(services, token))
    clock.advance(seconds=300)
    assert await passkeys.log_in(services, token, answer)


async def test_of_two_answers_at_once_one_gets_in(services: Services) -> None:
    eva, key = await somebody(services), SecurityKey(counts=False)
    await added(services, eva, key)
    token = await half_in(services, eva)
    answer = key.get(await passkeys.begin_login(services, token))
    outcomes = await asyncio.gather(
        *(passkeys.log_in(services, token, answer) for _ in range(2)), return_exceptions=True
    )
    assert len([one for one in outcomes if isinstance(one, str)]) == 1
    assert len([one for one in outcomes if isinstance(one, DdsError)]) == 1


async def test_of_two_who_add_one_passkey_at_once_one_succeeds(services: Services) -> None:
    eva, ola, key = await somebody(services), await somebody(services), SecurityKey()
    tokens = [await fully_in(services, one) for one in (eva, ola)]
    answers = [key.create(await begin(services, token)) for token in tokens]
    outcomes = await asyncio.gather(
        *(finish(services, *one) for one in zip(tokens, answers, strict=True)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in outcomes) == [AlreadyExists.__name__, "Passkey"]


async def test_an_account_has_twenty_at_most(services: Services, clock: SettableClock) -> None:
    eva = await somebody(services)
    token = await fully_in(services, eva)
    for number in range(MOST):
        answer = SecurityKey().create(await begin(services, token))
        await finish(services, token, answer, f"Key {number}")
    with pytest.raises(Conflict, match="Remove one"):
        await begin(services, token)
    assert len(await listed(services, eva)) == MOST == 20


@pytest.mark.parametrize("name", ["", "  \n ", "x" * 101])
async def test_a_name_that_cannot_be_used_leaves_the_answer_good(
    services: Services, name: str
) -> None:
    eva = await somebody(services)
    token = await fully_in(services, eva)
    answer = SecurityKey().create(await begin(services, token))
    with pytest.raises(InvalidFields, match="1 to 100 characters"):
        await finish(services, token, answer, name)
    assert (await finish(services, token, answer, f" {'ä' * 100}\n")).name == "ä" * 100


async def test_guesses_are_counted_together_with_codes(services: Services) -> None:
    eva, key = await somebody(services), SecurityKey()
    await added(services, eva, key)
    token = await half_in(services, eva)
    with pytest.raises(TooManyRequests):
        for _ in range(services.settings.security.codes_per_window + 1):
            with pytest.raises(NotAuthenticated):
                await passkeys.log_in(services, token, "{}")


async def test_the_person_is_told_and_it_is_recorded(services: Services) -> None:
    eva, key = await somebody(services), SecurityKey()
    passkey = await added(services, eva, key, "Evas “Key”")
    assert "The passkey “Evas “Key”” was added." in await newest_letter(services, "security_notice")
    token = await log_in(services, eva, key)
    async with calling(services, token) as (work, caller):
        await passkeys.remove(work, caller, passkey.id)
    assert "was removed." in await newest_letter(services, "security_notice")
    async with reading(services, System()) as work:
        entries = (await work.session.execute(select(AuditEntry))).scalars().all()
    actions = [(entry.action, json.loads(entry.facts)) for entry in entries[-3:]]
    assert actions == [
        ("passkey.add", {"name": "Evas “Key”"}),
        ("session.start", {"address": "192.0.2.7", "factor": "passkey"}),
        ("passkey.remove", {"name": "Evas “Key”"}),
    ]


@pytest.mark.parametrize(
    ("public_url", "party"),
    [
        ("https://dds.example.org", ("dds.example.org", "https://dds.example.org")),
        ("https://dds.example.org:8443", ("dds.example.org", "https://dds.example.org:8443")),
        ("http://localhost:5000", ("localhost", "http://localhost:5000")),
        ("http://127.0.0.1:5000", ("localhost", "http://localhost:5000")),
        ("http://[::1]:5000", ("localhost", "http://localhost:5000")),
        ("http://127.0.0.1", ("localhost", "http://localhost")),
        ("http://dds.example.org", None),
        ("https://192.0.2.7", None),
        ("https://[2001:db8::1]:443", None),
        ("https://DDS.example.org:443", ("dds.example.org", "https://dds.example.org")),
    ],
)
def test_passkeys_are_for_the_host_of_the_public_address(
    public_url: str, party: tuple[str, str] | None
) -> None:
    instance = Instance(public_url=public_url, facility="The Core")
    assert relying_party(instance) == (RelyingParty(*party, "The Core") if party else None)


async def test_where_browsers_offer_no_passkeys_it_says_so(services: Services) -> None:
    eva = await somebody(services)
    token = await fully_in(services, eva)
    instance = services.settings.instance.model_copy(update={"public_url": "https://192.0.2.7"})
    bare = replace(services, settings=services.settings.model_copy(update={"instance": instance}))
    with pytest.raises(InvalidInput, match="HTTPS and have a name"):
        await begin(bare, token)


KEY = SecurityKey()
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
_FIELDS = ("id", "rawId", "type", "response", "authenticatorAttachment")
_INNER = ("clientDataJSON", "authenticatorData", "signature", "attestationObject", "userHandle")


@dataclass(frozen=True)
class _Change:
    """Replaces a field by ``value``, or some bytes from ``start`` of what it encodes by ``put``."""

    field: str
    value: object
    start: int | None
    put: bytes

    def made_in(self, answer: str) -> str:
        whole = json.loads(answer)
        place = whole["response"] if self.field in _INNER else whole
        own = place.get(self.field)
        place[self.field] = (
            self._with_other_bytes(own)
            if self.start is not None and isinstance(own, str)
            else self.value
        )
        return json.dumps(whole)

    def _with_other_bytes(self, own: str) -> str:
        content = bytearray(base64.urlsafe_b64decode(own + "=="))
        start = (self.start or 0) % (len(content) + 1)
        content[start : start + len(self.put)] = self.put
        return encoded(bytes(content))


_CHANGES = st.builds(
    _Change,
    st.sampled_from(_FIELDS + _INNER),
    _JSON,
    st.none() | st.integers(0, 400),
    st.binary(max_size=4),
)


def _refused_or_good(answer: str, login: bool) -> None:
    party, challenge = RelyingParty("localhost", "http://localhost:5000", "The Core"), b"\x00" * 3
    with suppress(NotGood):
        if login:
            ceremonies.check_signed(
                party, challenge, ceremonies.read_signed(answer), KEY.public_key
            )
        else:
            ceremonies.check_made(party, challenge, answer)


class TestMangled:
    """Whatever is sent, the answer is a refusal and never a crash."""

    @given(_CHANGES, st.booleans())
    @settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_answers_are_refused(self, change: _Change, login: bool) -> None:
        options = json.dumps({"rp": {"id": "localhost"}, "rpId": "localhost", "challenge": "AAAA"})
        answer = KEY.get(options) if login else KEY.create(options)
        _refused_or_good(change.made_in(answer), login)

    @given(st.text(max_size=300) | st.integers(0, 6000).map(lambda depth: "[" * depth))
    @settings(max_examples=200, deadline=None)
    def test_what_is_no_answer_is_refused(self, answer: str) -> None:
        _refused_or_good(answer, True)
        _refused_or_good(answer, False)
