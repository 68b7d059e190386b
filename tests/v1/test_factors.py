"""A super admin lets somebody who lost their app log in with mailed codes (wire contract, section 2.4)."""

from __future__ import annotations

from typing import Any

import pytest

from ddsd.users.tables import SecondFactor
from tests.v1.people import change, use_app
from tests.world import EMAIL, World

SECRET = b"\x07" * 20


async def test_the_person_logs_in_with_a_mailed_code_and_is_told(world: World) -> None:
    token = await world.token_of("researcher1")
    await use_app(world, "researcher1", SECRET)
    answer = await world.call(
        "PUT", "/user/totp/deactivate", "super", json={"username": "researcher1"}
    )
    assert (answer.status_code, answer.json()["message"]) == (
        200,
        "TOTP has been deactivated for user: researcher1. "
        "They can now use 2FA via email during authentication.",
    )
    assert (await world.call("GET", "/user/info", token=token)).status_code == 401
    assert await world.newest_mail(EMAIL.format("researcher1"), "second_factor_reset")
    assert await world.login("researcher1")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"username": "nobody-1234"}, "The user doesn't exist: nobody-1234"),
        ({"username": "researcher1"}, "TOTP is already deactivated for this user."),
        ({"username": ""}, "Username required to reset 2FA to HOTP"),
        ({"username": 5}, "Username required to reset 2FA to HOTP"),
        ({"other": "x"}, "Username required to reset 2FA to HOTP"),
        ({}, "Required data missing from request!"),
    ],
)
async def test_what_does_not_fit_is_told(world: World, body: dict[str, Any], message: str) -> None:
    answer = await world.call("PUT", "/user/totp/deactivate", "super", json=body)
    assert (answer.status_code, answer.json()) == (400, {"message": message})


@pytest.mark.parametrize("who", ["admin1", "staff1", "researcher1"])
async def test_nobody_else_may(world: World, who: str) -> None:
    await use_app(world, "researcher2", SECRET)
    answer = await world.call("PUT", "/user/totp/deactivate", who, json={"username": "researcher2"})
    assert (answer.status_code, answer.json()) == (403, {"message": "Insufficient credentials"})


@pytest.mark.parametrize("who", ["super", "admin1", "staff1", "researcher1"])
@pytest.mark.parametrize("edition", ["v1", "v3"])
async def test_every_role_may_ask_for_an_app(world: World, who: str, edition: str) -> None:
    answer = await world.call("POST", "/user/totp/activate", who, edition=edition)
    assert answer.status_code == 200
    assert "/activate-app#" in await world.newest_mail(EMAIL.format(who), "activate_app")


async def test_asking_for_an_app_needs_both_factors(world: World) -> None:
    partial = await world.partial_token("researcher1")
    assert (await world.call("POST", "/user/totp/activate", token=partial)).status_code == 401


async def test_a_deactivated_account_gets_no_link(world: World) -> None:
    await change(world, "researcher1", second_factor=SecondFactor.APP, active=False)
    answer = await world.http.post(
        "/api/v1/user/hotp/activate",
        headers={"X-CLI-Version": "2.15.1"},
        auth=("researcher1", "Correct-horse-1"),
    )
    assert (answer.status_code, answer.json()["message"]) == (
        403,
        "Your account has been deactivated. You cannot use the DDS.",
    )
