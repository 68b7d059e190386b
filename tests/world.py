"""A small world for tests of the planes: two units with people, a client that speaks the stock wire, their tokens."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import httpx
from litestar import Litestar
from sqlalchemy import select

from ddsd.access import Role, System
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import KdfCost, MasterSplit, new_salt
from ddsd.mail import outbox
from ddsd.secret import SecretText
from ddsd.storage.memory import MemoryStore
from ddsd.users import login, passwords, sessions
from ddsd.users.tables import User
from ddsd.work import Services, reading, transaction
from tests import apps
from tests.builders import SettableClock, a_unit, a_user

PASSWORD = "Correct-horse-1"
VERSION = "2.15.1"
PEOPLE: dict[str, tuple[Role, str | None]] = {
    "super": (Role.SUPER_ADMIN, None),
    "admin1": (Role.UNIT_ADMIN, "unit1"),
    "admin1b": (Role.UNIT_ADMIN, "unit1"),
    "admin1c": (Role.UNIT_ADMIN, "unit1"),
    "staff1": (Role.UNIT_PERSONNEL, "unit1"),
    "admin2": (Role.UNIT_ADMIN, "unit2"),
    "admin2b": (Role.UNIT_ADMIN, "unit2"),
    "staff2": (Role.UNIT_PERSONNEL, "unit2"),
    "researcher1": (Role.RESEARCHER, None),
    "researcher2": (Role.RESEARCHER, None),
}
EMAIL = "{}@example.org"
PROJECT = {"title": "A title", "description": "What it is", "pi": "pi@example.org"}
CONTENT = b"stored bytes"
AGENT = "python-requests/2.33.0"
_SALT = new_salt()
_derived: dict[KdfCost, MasterSplit] = {}


@dataclass
class World:
    """Everything a test of a plane needs. ``tokens`` are session tokens by user name, made on demand."""

    services: Services
    clock: SettableClock
    app: Litestar
    http: httpx.AsyncClient
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> MemoryStore:
        """The store in memory."""
        assert isinstance(self.services.store, MemoryStore)
        return self.services.store

    async def call(
        self,
        method: str,
        path: str,
        who: str | None = None,
        *,
        json: Any = None,
        token: str | None = None,
        edition: str = "v1",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Send one request as the stock client would; ``who`` is logged in first if need be."""
        sent = {"X-CLI-Version": VERSION} | (headers or {})
        if who is not None:
            token = await self.token_of(who)
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if json is not None:
            options["json"] = json
        return await self.http.request(method, f"/api/{edition}{path}", headers=sent, **options)

    async def token_of(self, who: str) -> str:
        """Return a session token of somebody with :data:`PASSWORD`, made once.

        It is the one that a login would give, made without the requests, the mail and the records of a login.
        """
        if who not in self.tokens:
            async with transaction(self.services, System()) as work:
                found = await work.session.execute(
                    select(User).where(User.columns().username == who)
                )
                user = found.scalar_one()
                unlocked = login.unlock(user, await _split(self.services, user))
                partial = await sessions.start(work, user, unlocked, "127.0.0.1", agent=AGENT)
                self.tokens[who] = await sessions.complete(work, await sessions.find(work, partial))
        return self.tokens[who]

    async def partial_token(self, who: str, password: str = PASSWORD) -> str:
        """Give the password; return the token for the second step."""
        answer = await self.http.get(
            "/api/v1/user/encrypted_token",
            headers={"X-CLI-Version": VERSION, "Authorization": basic(who, password)},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    async def login(self, who: str, password: str = PASSWORD) -> str:
        """Log in through both steps; return the session token."""
        partial = await self.partial_token(who, password)
        answer = await self.call(
            "GET", "/user/second_factor", token=partial, json={"HOTP": await self.code_of(who)}
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    async def code_of(self, who: str) -> str:
        """Return the code last mailed to somebody."""
        text = await self.newest_mail(EMAIL.format(who), "one_time_code")
        return next(word for word in text.split() if len(word) == 8 and word.isdigit())

    async def newest_mail(self, address: str, kind: str) -> str:
        """Return the text of the newest mail of a kind to an address."""
        async with reading(self.services, System()) as work:
            mails = await outbox.listing(work, 100, address)
            newest = next(mail for mail in mails if mail.kind == kind)
            view = await outbox.show(work, newest.id)
        assert view.text is not None
        return view.text

    async def project(self, who: str = "admin1", *people: str) -> str:
        """Make a project with these researchers in it; return its public id."""
        wanted = [{"email": EMAIL.format(one), "role": "Researcher"} for one in people]
        body = PROJECT | {"users_to_add": wanted, "force": True}
        answer = await self.call("POST", "/proj/create", who, json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["project_id"])

    async def add_file(self, project: str, name: str, who: str = "admin1", **changes: Any) -> None:
        """Register a file."""
        answer = await self.call(
            "POST", f"/file/new?project={project}", who, json=file_body(name, **changes)
        )
        assert answer.status_code == 200, answer.text

    async def release(self, project: str, who: str = "admin1", **changes: Any) -> None:
        """Make a project available."""
        answer = await self.call(
            "POST",
            f"/proj/status?project={project}",
            who,
            json={"new_status": "Available"} | changes,
        )
        assert answer.status_code == 200, answer.text


def basic(username: str, password: str) -> str:
    """Return Basic credentials as the stock client encodes them."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode("latin-1")).decode()


def file_body(name: str, **changes: Any) -> dict[str, Any]:
    """Return what the stock client registers a file with."""
    return {
        "name": name,
        "name_in_bucket": f"key-of-{name.replace('/', '-')}",
        "subpath": name.rpartition("/")[0] or ".",
        "size": 1000,
        "size_processed": 500,
        "compressed": True,
        "salt": "A" * 32,
        "public_key": "B" * 64,
        "checksum": "c" * 64,
    } | changes


async def populate(services: Services) -> None:
    """Make the units and people of :data:`PEOPLE`, all with :data:`PASSWORD`."""
    cost = services.deriver.cost
    async with transaction(services, System()) as work:
        units = {
            name: await a_unit(work.session, public_id=name, name=name, internal_ref=name)
            for name in ("unit1", "unit2")
        }
        for username, (role, unit) in PEOPLE.items():
            user: User = await a_user(
                work.session,
                username=username,
                name=username.title(),
                email=EMAIL.format(username),
                role=role,
                unit_id=units[unit].id if unit else None,
            )
            passwords.set_first(work, user, await _everybodys(cost), _SALT, cost)


async def _split(services: Services, user: User) -> MasterSplit:
    cost = KdfCost(user.kdf_memory_kib, user.kdf_iterations, user.kdf_lanes)
    if user.kdf_salt == _SALT:
        return await _everybodys(cost)
    return await services.deriver.derive(SecretText(PASSWORD), user.kdf_salt or b"", cost)


async def _everybodys(cost: KdfCost) -> MasterSplit:
    """Return what follows from the password and the salt that everybody has; derived once for all tests."""
    if cost not in _derived:
        _derived[cost] = await Deriver(cost).derive(SecretText(PASSWORD), _SALT, cost)
    return _derived[cost]


def make_world(services: Services, clock: SettableClock, client: str = "127.0.0.1") -> World:
    """Return a world on these services, whose requests come from ``client``; call :func:`populate` before."""
    app = apps.take(services)
    transport = httpx.ASGITransport(app, client=(client, 123))  # type: ignore[arg-type]  # two spellings of ASGI
    http = httpx.AsyncClient(transport=transport, base_url="http://ddsd.test")
    return World(services, clock, app, http)
