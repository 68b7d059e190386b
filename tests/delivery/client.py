"""A client of the delivery API: the reference derivation of ddsctl over the world's HTTP, every request kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ddsctl.delivery import login
from ddsctl.delivery.login import PasswordKeys
from ddsd.contract.delivery import Derivation, LoggedIn, ProjectKey, SecondFactorWanted
from tests.world import PASSWORD, World


@dataclass(frozen=True)
class Login:
    """A complete login: what the service answered, and what stays with the client."""

    answer: LoggedIn
    keys: PasswordKeys
    private: X25519PrivateKey


async def call(
    world: World, method: str, path: str, token: str | None = None, **options: Any
) -> httpx.Response:
    """Send one request of the delivery API."""
    return await world.call(method, path, token=token, edition="delivery/1", **options)


async def derivation(world: World, username: str) -> Derivation:
    """Ask what to derive with."""
    answer = await call(world, "POST", "/login/start", json={"username": username})
    assert answer.status_code == 200, answer.text
    return Derivation.model_validate_json(answer.content)


async def knock(
    world: World, username: str, password: str = PASSWORD
) -> tuple[httpx.Response, PasswordKeys]:
    """Derive and prove, whatever comes of it."""
    keys = login.derive(password, await derivation(world, username))
    asked = login.prove(username, keys).model_dump(mode="json")
    return await call(world, "POST", "/login/proof", json=asked), keys


async def log_in(world: World, username: str, password: str = PASSWORD) -> Login:
    """Log in through all steps, and open the private key."""
    answer, keys = await knock(world, username, password)
    assert answer.status_code == 200, answer.text
    partial = SecondFactorWanted.model_validate_json(answer.content)
    complete = await call(
        world,
        "POST",
        "/login/second-factor",
        partial.token,
        json={"code": await world.code_of(username)},
    )
    assert complete.status_code == 200, complete.text
    logged_in = LoggedIn.model_validate_json(complete.content)
    return Login(logged_in, keys, login.open_private_key(logged_in, keys))


async def project_key(world: World, project: str, by: Login) -> bytes:
    """Fetch a project's wrap and open it; return the 32-byte private key."""
    answer = await call(world, "GET", f"/projects/{project}/key", by.answer.token)
    assert answer.status_code == 200, answer.text
    wrap = ProjectKey.model_validate_json(answer.content)
    return login.open_project_key(wrap, by.private).private_bytes_raw()
