"""Measured about people: logging in both ways, registering, a page's first byte, and units with many members."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx

from ddsctl.delivery import login
from ddsd.contract.delivery import Derivation
from tests.bench import filling
from tests.bench.client import Answer, Client, median_ms, per_second
from tests.web.pages import Page
from tests.web.people import GOOD, code_of, invite
from tests.world import EMAIL, PASSWORD, World, basic

MANY = 10_000
_WHO = "admin1"
Figures = Iterator[tuple[str, float]]


def logins(client: Client, pid: int, times: int) -> Figures:
    """Measure the first step of a login, with the password and without sending it, alone and with 8 clients."""
    sending = partial(client.call, "GET", "/user/encrypted_token", basic(_WHO, PASSWORD))
    sending()
    yield "login, 8 clients (per s)", per_second(8, [sending] * 8 * times)
    yield "login, 8 clients (MiB resident at most)", peak_mib(pid)
    proving = _proof(client)
    yield "login without the password (ms)", median_ms(times, proving)
    yield "login without the password, 8 clients (per s)", per_second(8, [proving] * 40 * times)


async def registrations(world: World, client: Client, times: int) -> Figures:
    """Measure the last step of accepting an invite: one Argon2id run, the account, its keys."""
    codes = [code_of(await invite(world, f"new{number}")) for number in range(times)]
    with httpx.Client(base_url=f"http://127.0.0.1:{client.port}") as http:
        seconds = [_register(http, code, f"new{number}") for number, code in enumerate(codes)]
    return iter([("registration (ms)", statistics.median(seconds) * 1000)])


def resets(client: Client, times: int) -> Figures:
    """Measure asking for a new password: it must not tell whether the address has an account."""
    with httpx.Client(base_url=f"http://127.0.0.1:{client.port}") as http:
        for whose, email in (("known", EMAIL.format(_WHO)), ("unknown", EMAIL.format("nobody"))):
            seconds = [_ask_for_reset(http, email) for _ in range(times * 5)]
            yield f"reset asked, {whose} address (ms)", statistics.median(seconds) * 1000


def pages(client: Client, times: int) -> Figures:
    """Measure when the first byte of a page is there."""
    web = replace(client, prefix="")

    def first_byte() -> Answer:
        answer = web.call("GET", "/login", "")
        return replace(answer, seconds=answer.first_byte_s)

    yield "page, first byte (ms)", median_ms(times * 5, first_byte)


async def many_members(world: World, client: Client, times: int) -> Figures:
    """Measure listing, finding and inviting where a unit has very many members."""
    await filling.members(world.services, "unit1", MANY)
    bearer = f"Bearer {await world.login(_WHO)}"
    super_admin = f"Bearer {await world.login('super')}"
    return iter(
        [
            (f"users of a unit, {MANY} (ms)", _median(times, client, "GET", "/users", bearer)),
            (
                f"user/find among {MANY} (ms)",
                median_ms(times * 5, lambda: _find(client, super_admin)),
            ),
            (f"user/add, an invite, {MANY} users (ms)", _invites(client, bearer, times)),
            (
                f"user/invites, {MANY} users (ms)",
                _median(times, client, "GET", "/user/invites", bearer),
            ),
        ]
    )


def peak_mib(pid: int) -> float:
    """Return the most memory that a process has had resident since it began."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _proof(client: Client) -> Callable[[], Answer]:
    ours = replace(client, prefix="/api/delivery/1")
    start = partial(ours.call, "POST", "/login/start", "", {"username": _WHO})
    keys = login.derive(PASSWORD, Derivation.model_validate_json(start().body))
    body = login.prove(_WHO, keys).model_dump(mode="json")

    def both() -> Answer:
        asked = start()
        proven = ours.call("POST", "/login/proof", "", body)
        return replace(proven, seconds=asked.seconds + proven.seconds)

    return both


def _register(http: httpx.Client, code: str, username: str) -> float:
    form = Page(http.get("/register").text).fields
    opened = Page(http.post("/register/open", data=form | {"code": code}).text).fields
    filled = {"name": "New Comer", "username": username, "password": GOOD, "again": GOOD}
    begun = time.perf_counter()
    answer = http.post("/register", data=opened | filled)
    seconds = time.perf_counter() - begun
    if "Your account is made" not in answer.text:
        raise RuntimeError(f"no account: {answer.status_code} {answer.text[:2000]}")
    return seconds


def _ask_for_reset(http: httpx.Client, email: str) -> float:
    form = Page(http.get("/forgot-password").text).fields | {"email": email}
    begun = time.perf_counter()
    answer = http.post("/forgot-password", data=form)
    seconds = time.perf_counter() - begun
    answer.raise_for_status()
    return seconds


def _invites(client: Client, bearer: str, times: int) -> float:
    numbers = itertools.count()

    def once() -> Answer:
        body = {"email": EMAIL.format(f"invited{next(numbers)}"), "role": "Unit Personnel"}
        return client.call("POST", "/user/add", bearer, body)

    return median_ms(times * 5, once)


def _find(client: Client, bearer: str) -> Answer:
    return client.call("GET", "/user/find", bearer, {"username": "member05000"})


def _median(times: int, client: Client, method: str, path: str, bearer: str) -> float:
    return median_ms(times, lambda: client.call(method, path, bearer))
