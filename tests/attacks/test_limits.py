"""Ways around the limits on guessing."""

from __future__ import annotations

import httpx
import pytest

from ddsd.errors import TooManyRequests
from ddsd.users import password_reset, proof
from ddsd.users.limits import network_of
from ddsd.work import Services
from tests.world import VERSION, World, basic


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_an_attempt_is_charged_to_the_network_a_client_has_to_itself(
    address: str, network: str
) -> None:
    assert network_of(address) == network


async def test_a_new_ipv6_address_for_each_guess_is_no_new_budget(world: World) -> None:
    statuses = []
    for guess in range(world.services.settings.security.logins_per_hour + 1):
        transport = httpx.ASGITransport(world.app, client=(f"2001:db8::{guess:x}", 1))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://ddsd.test") as stranger:
            answer = await stranger.get(
                "/api/v1/user/encrypted_token",
                headers={"X-CLI-Version": VERSION, "Authorization": basic("staff1", "wrong")},
            )
        statuses.append(answer.status_code)
    assert statuses[:-1] == [401] * (len(statuses) - 1)
    assert statuses[-1] == 429


async def test_a_new_ipv6_address_for_each_question_is_no_new_budget(services: Services) -> None:
    limit = services.settings.security.logins_per_hour
    for guess in range(limit):
        await proof.derivation(services, "staff1", f"2001:db8::{guess:x}")
        await password_reset.request(services, "a@example.org", address=f"2001:db8::{guess:x}")
    with pytest.raises(TooManyRequests):
        await proof.derivation(services, "staff1", "2001:db8::ffff")
    with pytest.raises(TooManyRequests):
        await password_reset.request(services, "a@example.org", address="2001:db8::ffff")
